"""Which ports a grant opens. On the launch path: the listeners of a job are planned from it. Pure."""

from __future__ import annotations

from launcher.capability.databases import DEFAULT_PORTS as DATABASE_PORTS
from launcher.capability.databases import split_connection
from launcher.capability.hosts import HostPattern
from launcher.capability.ports import port_ranges
from launcher.errors import DocumentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from launcher.capability.glob import Interval
    from launcher.capability.grant import Grant

LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
EGRESS_OPERATIONS = ("http", "https", "tcp")


def network_ports(pattern: HostPattern, grant: Grant, operation: str) -> tuple[Interval, ...]:
    """The ports of one pattern under one operation. Raises DocumentError for `tcp` without any."""
    ranges = port_ranges(pattern, grant, operation)
    if ranges:
        return ranges
    hint = f"write {pattern.text}:PORT, or ports: [...]"
    raise DocumentError("network.tcp must name ports", hint=hint, place=str(grant.place))


def without(ranges: tuple[Interval, ...], gone: tuple[Interval, ...]) -> tuple[Interval, ...]:
    """`ranges` less every port of `gone`."""
    for low, high in gone:
        kept = [(start, min(end, low - 1)) for start, end in ranges] + [
            (max(start, high + 1), end) for start, end in ranges
        ]
        ranges = tuple([piece for piece in kept if piece[0] <= piece[1]])
    return ranges


def ports_in(ranges: Iterable[Interval], most: int) -> list[int] | None:
    """Every port, sorted; None where they are more than `most`."""
    ranges = list(ranges)
    if sum([high - low + 1 for low, high in ranges]) > most * 4:
        return None  # also with all overlaps taken off it would be too many, or is not worth finding out
    found = {port for low, high in ranges for port in range(low, high + 1)}
    return sorted(found) if len(found) <= most else None


def database_server(text: str, grant: Grant) -> tuple[str, HostPattern, int]:
    """Scheme, host and port of a connection URL. Raises DocumentError where no port is known."""
    _, base = split_connection(text)
    scheme, _, rest = base.partition("://")
    pattern = HostPattern(rest.partition("/")[0])
    port = pattern.port or DATABASE_PORTS.get(scheme)
    if port is None:
        hint = f"write {scheme}://HOST:PORT/"
        raise DocumentError(f"connection {text!r} names no port", hint=hint, place=str(grant.place))
    return scheme, pattern, port


def is_file_database(text: str) -> bool:
    """A database in a file is judged by the file grants."""
    return text.partition("://")[0].lower() == "sqlite"


def opened_ports(grants: Iterable[Grant]) -> tuple[list[Interval], list[Interval]]:
    """The ports that the grants open, and those of them that reach a service of the host itself."""
    everywhere: list[Interval] = []
    local: list[Interval] = []
    for grant in grants:
        for host, ranges in _servers(grant):
            everywhere += ranges
            local += ranges if host in LOCAL_HOSTS else ()
    return everywhere, local


def _servers(grant: Grant) -> list[tuple[str, tuple[Interval, ...]]]:
    texts = [str(text) for text in grant.patterns]
    if grant.type == "database":
        found = [database_server(text, grant) for text in texts if not is_file_database(text)]
        return [(pattern.host, ((port, port),)) for _, pattern, port in found]
    patterns = [HostPattern(text) for text in texts]
    used = [operation for operation in grant.operations if operation in EGRESS_OPERATIONS]
    return [(pattern.host, network_ports(pattern, grant, operation)) for pattern in patterns for operation in used]
