"""What a request asks for, in the one reading that is judged and forwarded. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from launcher.egress.policy import HTTP, HTTPS
from launcher.egress.protocol.authority import Authority, parse_authority
from launcher.egress.protocol.malformed import Malformed
from launcher.egress.protocol.paths import canonical_path, split_target

if TYPE_CHECKING:
    from launcher.egress.protocol.http1 import Request

PORTS = {HTTP: 80, HTTPS: 443}


@dataclass(frozen=True, slots=True)
class Target:
    """`raw` goes on the wire, `path` is judged (`*` for OPTIONS *), `host_field` is the Host that is sent."""

    method: str
    raw: bytes
    path: str
    host_field: bytes


def read_target(request: Request, scheme: str, name: Authority) -> Target:
    """The target of a request on a connection to `name`, which Host and an absolute target must agree with.

    Raises Malformed: 400, 403 for another host on a plain connection, 421 inside TLS (RFC 9110 section 15.5.20).
    """
    target = request.target
    if request.method == b"CONNECT":
        raise Malformed("CONNECT inside a connection to one host", 403)
    if b"://" in target.partition(b"?")[0]:
        asked, target = split_absolute(target)
        _agree(asked, name, scheme)
    for host in request.values(b"host"):
        _agree(parse_authority(host, PORTS[scheme]), name, scheme)
    return _target(request, target, name, scheme)


def split_absolute(target: bytes) -> tuple[Authority, bytes]:
    """`http://host[:port]/path` as authority and origin-form. Raises Malformed for other schemes."""
    scheme, _, rest = target.partition(b"://")
    if scheme.lower() != b"http":
        raise Malformed("scheme not supported")
    ends = [at for at in (rest.find(mark) for mark in (b"/", b"?", b"#")) if at >= 0]
    cut = min(ends, default=len(rest))
    path = rest[cut:]
    return parse_authority(rest[:cut], PORTS[HTTP]), path if path.startswith(b"/") else b"/" + path


def absolute_target(request: Request) -> tuple[Authority, Target]:
    """The target of a request to a forward proxy: only absolute-form. Raises Malformed."""
    if b"://" not in request.target.partition(b"?")[0]:
        raise Malformed("not a proxy request: the target has no host")
    name, path = split_absolute(request.target)
    return name, _target(request, path, name, HTTP)


def connect_target(request: Request) -> Authority:
    """The authority of a CONNECT. Raises Malformed."""
    if request.length:
        raise Malformed("CONNECT with a body")
    return parse_authority(request.target)


def host_agrees(request: Request, name: Authority) -> bool:
    """Whether the Host field of a proxy request, where there is one, says what the target says. Raises Malformed."""
    return all(parse_authority(host, name.port) == name for host in request.values(b"host"))


def _target(request: Request, raw: bytes, name: Authority, scheme: str) -> Target:
    if raw == b"*" and request.method == b"OPTIONS":
        return Target("OPTIONS", raw, "*", _host_field(name, scheme))
    path, query = split_target(raw)
    return Target(request.method.decode("ascii"), path + query, canonical_path(path), _host_field(name, scheme))


def _host_field(name: Authority, scheme: str) -> bytes:
    whole = str(name).encode("ascii")
    return whole.rpartition(b":")[0] if name.port == PORTS[scheme] else whole


def _agree(asked: Authority, name: Authority, scheme: str) -> None:
    if asked.host != name.host:
        if scheme == HTTPS:
            raise Malformed("Host does not match SNI", 421)
        raise Malformed("Host does not match connection name", 403)
    if asked.port != name.port:
        raise Malformed("Host port does not match")
