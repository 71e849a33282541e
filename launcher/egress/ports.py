"""Which ports a grant opens. On the launch path: the listeners of a job are planned from it. Pure."""

from __future__ import annotations

from launcher.capability.databases import DEFAULT_PORTS as DATABASE_PORTS
from launcher.capability.databases import split_connection
from launcher.capability.hosts import HostPattern
from launcher.capability.kinds import DEFAULT_PORTS
from launcher.errors import DocumentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from launcher.capability.grant import Grant

LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
EGRESS_OPERATIONS = ("http", "https", "tcp")


def network_ports(pattern: HostPattern, grant: Grant, operation: str) -> frozenset[int]:
    """The ports of one pattern under one operation. Raises DocumentError for `tcp` without any."""
    if pattern.port is not None:
        return frozenset({pattern.port})
    ports = frozenset([int(port) for port in grant.constraints.get("ports") or ()])
    if ports or operation in DEFAULT_PORTS:
        return ports or frozenset({DEFAULT_PORTS[operation]})
    hint = f"write {pattern.text}:PORT, or ports: [...]"
    raise DocumentError("network.tcp must name ports", hint=hint, place=str(grant.place))


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


def opened_ports(grants: Iterable[Grant]) -> tuple[frozenset[int], frozenset[int]]:
    """All ports that the grants open, and those of them that reach a service of the host itself."""
    everywhere: set[int] = set()
    local: set[int] = set()
    for grant in grants:
        for host, ports in _servers(grant):
            everywhere |= ports
            if host in LOCAL_HOSTS:
                local |= ports
    return frozenset(everywhere), frozenset(local)


def _servers(grant: Grant) -> list[tuple[str, frozenset[int]]]:
    texts = [str(text) for text in grant.patterns]
    if grant.type == "database":
        found = [database_server(text, grant) for text in texts if not is_file_database(text)]
        return [(pattern.host, frozenset({port})) for _, pattern, port in found]
    patterns = [HostPattern(text) for text in texts]
    used = [operation for operation in grant.operations if operation in EGRESS_OPERATIONS]
    return [(pattern.host, network_ports(pattern, grant, operation)) for pattern in patterns for operation in used]
