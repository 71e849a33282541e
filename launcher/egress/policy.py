"""What a job may reach: names, connections, requests and database sessions judged against its grants. Pure.

Deny wins, nothing granted is nothing allowed, and every verdict carries the rule that decided. Strings are compared by
`launcher.capability` alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from launcher.capability.hosts import HostPattern
from launcher.capability.ports import EVERY_PORT, parse_ports, port_ranges, ports_hold
from launcher.egress.ports import without
from launcher.egress.protocol import addresses
from launcher.egress.protocol.authority import LITERAL, NAME, NUMERIC, Host
from launcher.egress.rule import DATABASE, HTTP, HTTPS, NEVER, POSTGRESQL, TCP, Rule, rules_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from launcher.capability.glob import Interval
    from launcher.capability.grant import Grant

NOT_LISTED = "not in allowlist"
LITERAL_REFUSED = "ip literal not allowed"
PORT_REFUSED = "port not allowed"
SCHEME_REFUSED = "scheme not allowed"
PATH_REFUSED = "path not allowed"
METHOD_REFUSED = "method not allowed"
DENIED = "denied by a rule"
NOT_CANONICAL = "non-canonical IPv4 literal"
DATABASE_REFUSED = "database not allowed"
MAX_REMEMBERED = 512  # openings; a job that asks for more starts over


@dataclass(frozen=True, slots=True)
class Verdict:
    """`rule` decided; without one nothing matched. `missing` is the capability that would allow it, in string notation.

    `status` is what an HTTP client is told: 403 for policy, 400 for what is refused as malformed.
    """

    allowed: bool
    reason: str = ""
    rule: Rule | None = None
    missing: str = ""
    status: int = 403


@dataclass(frozen=True, slots=True)
class Opening:
    """What may be spoken on a connection to a host and port: the rules that match both."""

    verdict: Verdict
    rules: tuple[Rule, ...] = ()

    @property
    def schemes(self) -> frozenset[str]:
        return frozenset(rule.scheme for rule in self.rules)

    def of(self, scheme: str) -> tuple[Rule, ...]:
        return tuple(rule for rule in self.rules if rule.scheme == scheme)


class _Deny:
    """A deny: its schemes, its pattern (None for every host), its ports and methods (none for all)."""

    __slots__ = ("grant", "methods", "pattern", "ports", "schemes")

    def __init__(self, grant: Grant, text: str | None) -> None:
        self.grant = grant
        self.pattern = HostPattern(text) if text is not None else None
        self.schemes = frozenset(grant.operations)
        self.ports = self._ports(grant)
        self.methods = frozenset(str(method).upper() for method in grant.constraints.get("methods") or ())

    def _ports(self, grant: Grant) -> tuple[Interval, ...]:
        if self.pattern is not None:
            return port_ranges(self.pattern, grant, "", broad=True)
        return parse_ports(grant.constraints["ports"]) if "ports" in grant.constraints else EVERY_PORT

    @property
    def partial(self) -> bool:
        """Whether it takes away only some requests to a host, which shows inside TLS alone."""
        return bool(self.methods or (self.pattern is not None and self.pattern.path))

    def hits(self, scheme: str, host: Host, port: int) -> bool:
        return self.hits_host(scheme, host) and ports_hold(self.ports, port, broad=False)

    def hits_host(self, scheme: str, host: Host) -> bool:
        return scheme in self.schemes and (self.pattern is None or self.pattern.matches_host(host.text))

    def hits_request(self, method: str, path: str) -> bool:
        if self.methods and method not in self.methods:
            return False
        return self.pattern is None or self.pattern.matches_path(path)


class Rules:
    """Compiled egress grants and denies. `generation` goes into every audit record.

    Raises DocumentError for a grant that cannot be enforced.
    """

    def __init__(self, grants: Sequence[Grant], denies: Iterable[Grant] = (), generation: int = 0) -> None:
        self.generation = generation
        self.grants = tuple(grants)
        self.deny_grants = tuple(grant for grant in denies if grant.type == "network")
        self.rules = tuple(rule for grant in grants for rule in rules_of(grant))
        self.denies = tuple(deny for grant in self.deny_grants for deny in _denies(grant))
        self.expires = min((rule.expires for rule in self.rules), default=NEVER)
        self._openings: dict[tuple[Host, int], Opening] = {}  # answers given before: the rules do not change
        self._literals = any(rule.pattern.block is not None for rule in self.rules)
        self._everything = any(rule.pattern.host == "*" for rule in self.rules)
        self._exact = {rule.pattern.host for rule in self.rules if not rule.wildcard}

    def at(self, now: float) -> Rules:
        """The rules that hold at a time (seconds since the epoch): these, or fewer where some grant has expired."""
        if now < self.expires:
            return self
        left = [grant for grant in self.grants if float(grant.constraints.get("expires_at") or NEVER) > now]
        return Rules(left, self.deny_grants, self.generation)

    @property
    def intercepts(self) -> bool:
        """Whether a job under these rules needs a certificate authority."""
        partial = any(deny.partial and HTTPS in deny.schemes for deny in self.denies)
        return any(rule.intercept or (partial and rule.scheme == HTTPS) for rule in self.rules)

    # ---- names

    def resolves(self, host: Host) -> bool:
        """Whether the job may know that this name exists: some grant for it is not denied on every port."""
        return host.kind == NAME and any(self._open_ports(rule, host) for rule in self.rules if rule.matches_host(host))

    def _open_ports(self, rule: Rule, host: Host) -> tuple[Interval, ...]:
        left = rule.ports
        for deny in self.denies:
            if not deny.partial and deny.hits_host(rule.scheme, host):
                left = without(left, deny.ports)
        return left

    def by_wildcard(self, host: Host) -> bool:
        """Whether only a wildcard grants this name, so that it carries bytes the job chose.

        Not under `*`: who may reach every host has wider channels than a name.
        """
        return host.text not in self._exact and not self._everything

    # ---- connections

    def opening(self, host: Host, port: int) -> Opening:
        """What a connection to host and port may carry."""
        known = self._openings.get((host, port))
        if known is None:
            if len(self._openings) >= MAX_REMEMBERED:
                self._openings.clear()
            known = self._openings[host, port] = self._open(host, port)
        return known

    def _open(self, host: Host, port: int) -> Opening:
        named = [rule for rule in self.rules if rule.matches_host(host)]
        if not named:
            return Opening(self._unknown(host, port))
        fitting = [rule for rule in named if rule.matches_port(port)]
        if not fitting:
            return Opening(Verdict(False, PORT_REFUSED, missing=_missing(TCP, host, port)))
        left = tuple(rule for rule in fitting if not self._denied(rule.scheme, host, port))
        if not left:
            return Opening(Verdict(False, DENIED, fitting[0]))
        return Opening(Verdict(True, rule=left[0]), left)

    def _unknown(self, host: Host, port: int) -> Verdict:
        if host.kind == NUMERIC and self._literals:
            # Somebody granted an address: another spelling of one is a mistake or a trick, not a missing grant.
            return Verdict(False, NOT_CANONICAL, status=400)
        reason = NOT_LISTED if host.kind == NAME else LITERAL_REFUSED
        return Verdict(False, reason, missing=_missing(_scheme_of(port), host, port))

    def _denied(self, scheme: str, host: Host, port: int) -> bool:
        return any(deny.hits(scheme, host, port) and not deny.partial for deny in self.denies)

    def intercepted(self, opening: Opening, host: Host, port: int) -> bool:
        """Whether TLS on this connection is opened, because some rule is about what is inside."""
        if any(rule.intercept for rule in opening.of(HTTPS)):
            return True
        return any(deny.partial and deny.hits(HTTPS, host, port) for deny in self.denies)

    # ---- requests

    def request(self, scheme: str, host: Host, port: int, method: str, path: str) -> Verdict:
        """One HTTP request. `path` is canonical, `*` for `OPTIONS *`."""
        named = [rule for rule in self.rules if rule.matches_host(host)]
        if not named:
            return self._unknown(host, port)
        missing = _missing(scheme, host, port, path)
        candidates, reason = named, ""
        for test, refusal in (
            (lambda rule: rule.scheme == scheme, SCHEME_REFUSED),
            (lambda rule: rule.matches_port(port), PORT_REFUSED),
            (lambda rule: rule.pattern.matches_path(path), PATH_REFUSED),
            (lambda rule: not rule.methods or method in rule.methods, METHOD_REFUSED),
        ):
            candidates = [rule for rule in candidates if test(rule)]
            reason = reason or ("" if candidates else refusal)
        if reason:
            return Verdict(False, reason, missing=missing)
        if any(deny.hits(scheme, host, port) and deny.hits_request(method, path) for deny in self.denies):
            return Verdict(False, DENIED, candidates[0])
        # Where several rules allow it, the one that injects a secret speaks for the request.
        return Verdict(True, rule=max(candidates, key=lambda rule: bool(rule.injections)))

    # ---- databases

    def session(self, rules: Iterable[Rule], user: str, database: str) -> Verdict:
        """A PostgreSQL session on a connection that `rules` opened."""
        for rule in rules:
            if rule.url is not None and rule.url.matches(_session_url(rule, user, database)):
                return Verdict(True, rule=rule)
        return Verdict(False, DATABASE_REFUSED, missing=f"database:{database}")

    # ---- addresses

    @staticmethod
    def address_refusal(rules: Iterable[Rule], packed: bytes, *, own: bool) -> str:
        """Empty where `packed` may be dialled under one of `rules`, else what kind of address it is."""
        packed = addresses.unmapped(packed)
        kind = addresses.classify(packed)
        if own and kind != addresses.LOOPBACK:
            kind = addresses.SELF
        return "" if any(rule.permits(packed, kind) for rule in rules) else kind


def _session_url(rule: Rule, user: str, database: str) -> str:
    server = rule.url.base.partition("://")[2].partition("/")[0] if rule.url else ""
    return f"{POSTGRESQL}://{user}@{server}/{database}"


def _denies(grant: Grant) -> list[_Deny]:
    return [_Deny(grant, str(text)) for text in grant.patterns] if grant.patterns else [_Deny(grant, None)]


def _scheme_of(port: int) -> str:
    return {443: HTTPS, 80: HTTP}.get(port, TCP)


def _missing(scheme: str, host: Host, port: int, path: str = "") -> str:
    shown = f"[{host.text}]" if host.kind == LITERAL and ":" in host.text else host.text
    implied = {HTTPS: 443, HTTP: 80}.get(scheme)
    return (
        f"network.{scheme}:{shown}" + ("" if port == implied else f":{port}") + (path if path not in {"", "*"} else "")
    )


__all__ = ["DATABASE", "HTTP", "HTTPS", "POSTGRESQL", "TCP", "Opening", "Rules", "Verdict"]
