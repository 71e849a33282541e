"""One egress rule: a grant's pattern with its constraints read. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from launcher.capability.databases import UrlPattern
from launcher.capability.hosts import HostPattern
from launcher.capability.limits import Limits
from launcher.capability.ports import ports_hold
from launcher.egress import lint
from launcher.egress.ports import EGRESS_OPERATIONS, LOCAL_HOSTS, database_server, is_file_database, network_ports
from launcher.egress.protocol import addresses
from launcher.egress.protocol.authority import LITERAL, Host
from launcher.errors import DocumentError

if TYPE_CHECKING:
    from launcher.capability.glob import Interval
    from launcher.capability.grant import Grant

HTTP, HTTPS, TCP, POSTGRESQL, DATABASE = "http", "https", "tcp", "postgresql", "database"
NEVER = float("inf")
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True, slots=True)
class Injection:
    """A credential that the proxy adds. `template` has `{}` where the secret goes if the job sent no such header."""

    header: bytes
    secret: str
    template: str


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """`expires` is in seconds since the epoch, infinite for never.

    `private` is True for every private address, or the networks that are allowed; `url` is there for databases only.
    """

    grant: Grant
    scheme: str
    pattern: HostPattern
    ports: tuple[Interval, ...]
    methods: frozenset[str] = frozenset()
    intercept: bool = False
    private: bool = False
    networks: tuple[addresses.Network, ...] = ()
    loopback: bool = False
    injections: tuple[Injection, ...] = ()
    url: UrlPattern | None = None

    @property
    def decider(self) -> str:
        """`policy.yaml:12:7`, or the policy's handle where there is no place."""
        return str(self.grant.place) or self.grant.policy

    @property
    def expires(self) -> float:
        return float(self.grant.constraints.get("expires_at") or NEVER)

    @property
    def wildcard(self) -> bool:
        return "*" in self.pattern.host

    def matches_host(self, host: Host) -> bool:
        if (self.pattern.block is not None) != (host.kind == LITERAL):
            return False
        return self.pattern.matches_host(host.text)

    def matches_port(self, port: int) -> bool:
        return ports_hold(self.ports, port, broad=False)

    def permits(self, packed: bytes, kind: str) -> bool:
        """Whether an address of that kind may be dialled under this rule."""
        if kind == addresses.PUBLIC:
            return True
        if kind in {addresses.LOOPBACK, addresses.SELF}:
            return self.loopback
        if kind == addresses.METADATA:
            # Only an address that is named one by one: a /16 that happens to hold it is no decision.
            return any(packed in net and not net.shift for net in self.networks) or (self.private and self._is(packed))
        if any(packed in net for net in self.networks):
            return True
        return kind == addresses.PRIVATE and (self.private or self._named(packed))

    def _is(self, packed: bytes) -> bool:
        """The grant's host is exactly this address."""
        block = self.pattern.block
        return block is not None and block[1] == block[2] == int.from_bytes(packed, "big")

    def _named(self, packed: bytes) -> bool:
        """The grant writes this private address, or a range that is private throughout, as its host."""
        block = self.pattern.block
        if block is None or block[0] != len(packed) * 8:
            return False
        edges = [edge.to_bytes(block[0] // 8, "big") for edge in block[1:]]
        return all(addresses.classify(edge) == addresses.PRIVATE for edge in edges)


def rules_of(grant: Grant) -> list[Rule]:
    """The rules of a network or database grant. Raises DocumentError for constraints that cannot be enforced."""
    if grant.type == "database":
        return [rule for text in grant.patterns for rule in _database(grant, str(text))]
    return [
        _network(grant, operation, str(text))
        for text in grant.patterns
        for operation in grant.operations
        if operation in EGRESS_OPERATIONS
    ]


def _network(grant: Grant, operation: str, text: str) -> Rule:
    pattern = HostPattern(text)
    limits = grant.constraints
    private, networks = _private(grant)
    lint.check_pattern(pattern, grant, networks)
    methods = frozenset(str(method).upper() for method in limits.get("methods") or ())
    injections = _injections(grant, operation)
    return Rule(
        grant,
        operation,
        pattern,
        network_ports(pattern, grant, operation),
        methods,
        _intercepts(pattern, grant, operation, needed=bool(methods or injections)),
        private,
        networks,
        bool(limits.get("allow_loopback")),
        injections,
    )


def _intercepts(pattern: HostPattern, grant: Grant, operation: str, *, needed: bool) -> bool:
    """Whether TLS to this host is opened: where the rule says so, or cannot hold otherwise (then not `tls: tunnel`)."""
    mode = grant.constraints.get("tls")
    if mode not in {None, "intercept", "tunnel"}:
        raise DocumentError(f"tls: {mode!r}", hint="one of: intercept tunnel", place=str(grant.place))
    needed = operation == HTTPS and (needed or bool(pattern.path))
    if needed and mode == "tunnel":
        hint = "drop `tls: tunnel`, or the path, methods and inject"
        raise DocumentError("a rule on what is inside TLS cannot hold in a tunnel", hint=hint, place=str(grant.place))
    return needed or (operation == HTTPS and mode == "intercept")


def _private(grant: Grant) -> tuple[bool, tuple[addresses.Network, ...]]:
    value = grant.constraints.get("allow_private")
    if not isinstance(value, (list, tuple)):
        return bool(value), ()
    try:
        return False, tuple(addresses.network(str(cidr)) for cidr in value)
    except ValueError as error:
        raise DocumentError(f"allow_private: {error}", place=str(grant.place)) from error


def _injections(grant: Grant, operation: str) -> tuple[Injection, ...]:
    value = grant.constraints.get("inject")
    if not value:
        return ()
    if operation != HTTPS:
        hint = "grant https alone: on http the secret would cross the network readable"
        raise DocumentError("inject needs https", hint=hint, place=str(grant.place))
    entries = value if isinstance(value, (list, tuple)) else [value]
    return tuple(_injection(entry, grant) for entry in entries)


def _injection(entry: Any, grant: Grant) -> Injection:
    if not isinstance(entry, dict) or not {"header", "secret"} <= set(entry) <= {"header", "secret", "format"}:
        hint = "write inject: {header: Authorization, secret: NAME}"
        raise DocumentError("inject has another form", hint=hint, place=str(grant.place))
    header = str(entry["header"]).lower().encode("ascii", "replace")
    template = str(entry.get("format", "Bearer {}" if header == b"authorization" else "{}"))
    return Injection(header, str(entry["secret"]), template)


def _database(grant: Grant, text: str) -> list[Rule]:
    if is_file_database(text):
        return []
    scheme, pattern, port = database_server(text, grant)
    private, networks = _private(grant)
    # A database is where an administrator says it is, so its address may be private; the host's own stays closed
    # unless it is what the URL names.
    return [
        Rule(
            grant,
            POSTGRESQL if scheme == POSTGRESQL else DATABASE,
            pattern,
            ((port, port),),
            private=private or "allow_private" not in grant.constraints,
            networks=networks,
            loopback=pattern.host in LOCAL_HOSTS,
            url=UrlPattern(text),
        )
    ]


def byte_limit(grant: Grant) -> int | None:
    """`max_bytes` of a grant in bytes. Raises DocumentError."""
    value = grant.constraints.get("max_bytes")
    return None if value is None else Limits.parse("max_disk", value, grant.place)


def request_rate(grant: Grant) -> tuple[float, float] | None:
    """`rate` of a grant as requests a second and how many at once: as policies are read `{count, seconds}`; a number,
    or `10/s`, `600/m`. Raises DocumentError.
    """
    value = grant.constraints.get("rate")
    if value is None:
        return None
    if isinstance(value, dict):
        return float(value["count"]) / float(value["seconds"]), float(value["count"])
    count, _, unit = str(value).partition("/")
    try:
        return float(count) / _SECONDS[unit.strip() or "s"], float(count)
    except (ValueError, KeyError) as error:
        raise DocumentError(f"rate: {value!r}", hint="write 10/s, 600/m or 5000/h", place=str(grant.place)) from error
