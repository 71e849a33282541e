"""The keys of a grant besides its patterns and operations: one reader a key, in one table.

Values become plain JSON: bytes, counts, seconds since the epoch, lists and mappings of text.
"""

from __future__ import annotations

import datetime as dt

from launcher.capability.addresses import parse_block
from launcher.capability.hosts import HostPattern
from launcher.capability.limits import SIZE, parse_quantity
from launcher.capability.ports import parse_ports
from launcher.policy import reading
from launcher.policy.document import INTEGER, LIST, TEXT, Node
from launcher.policy.patterns import check_command, located
from launcher.policy.reading import refuse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from launcher.capability.grant import Place

MOST_USES = 1 << 53  # JSON's exact integers
MOST_PORTS = 1024
# RFC 9110 section 5.6.2: a method is a token; the registered ones are upper case, and methods are case-sensitive.
_METHOD = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ-_")
_FIELD = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")
RATE_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
TLS = ("intercept", "tunnel")
# Headers that decide where a request goes or how long it is: injecting one would undo what the proxy checked.
_NOT_INJECTED = frozenset(
    [
        "host",
        "content-length",
        "transfer-encoding",
        "connection",
        "upgrade",
        "te",
        "trailer",
        "expect",
        "proxy-connection",
    ]
)


def _size(node: Node, what: str) -> int:
    if node.kind not in {INTEGER, TEXT}:
        refuse(node.place, f"{what} must be a size", "write it like 10MiB, 10MB or 10485760")
    return parse_quantity(what, node.value, SIZE, node.place)


def _count(node: Node, what: str) -> int:
    return reading.integer(node, what, 0, MOST_USES)


def _ports(node: Node, what: str) -> list[int | str]:
    """A list of ports, or of ranges `8000-8010`."""
    found = [_port(item) for item in reading.items(node, what)]
    if len(found) > MOST_PORTS:
        refuse(node.place, f"{what} has more than {MOST_PORTS} items", "write ranges: 8000-8999")
    return list(dict.fromkeys(found))


def _port(node: Node) -> int | str:
    if node.kind == INTEGER:
        return reading.integer(node, "a port", 1, 65535)
    text = reading.text(node, "a port")
    located(lambda: parse_ports([text]), node.place)
    return text


def _methods(node: Node, what: str) -> list[str]:
    methods = reading.texts(node, what)
    for item, method in zip(reading.items(node, what), methods, strict=True):
        if not _METHOD.issuperset(method):
            hint = f"did you mean {method.upper()!r}?" if _METHOD.issuperset(method.upper()) else ""
            refuse(item.place, f"{method!r} is not an HTTP method", hint)
    return list(dict.fromkeys(methods))


def _rate(node: Node, what: str) -> dict[str, int]:
    """rate = count "/" ( "s" | "m" | "h" | "d" )"""
    count, slash, unit = reading.text(node, what).partition("/")
    if (
        not slash
        or unit not in RATE_UNITS
        or not (count.isascii() and count.isdigit())
        or not 0 < int(count[:10]) < 10**9
    ):
        refuse(node.place, f"{node.value!r} is not a rate", "write it like 10/s, 100/m, 1000/h or 5000/d")
    return {"count": int(count), "seconds": RATE_UNITS[unit]}


def _moment(node: Node, what: str) -> int:
    """ISO 8601 with a zone; a bare date is its first moment in UTC. Returns seconds since the epoch."""
    text = reading.text(node, what)
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        refuse(node.place, f"{text!r} is not a moment", "write it like 2026-12-31T18:00:00Z or 2026-12-31")
    if moment.tzinfo is None:
        if "T" in text or " " in text:
            refuse(node.place, f"{text!r} has no time zone", f"write {text}Z for UTC")
        moment = moment.replace(tzinfo=dt.UTC)
    return int(moment.timestamp())


def _inject(node: Node, what: str) -> list[dict[str, str]]:
    """One mapping, or a list of them for several headers."""
    entries = node.items if node.kind == LIST else [node]
    return [_injection(entry, what) for entry in entries]


def _injection(node: Node, what: str) -> dict[str, str]:
    """{header: NAME, secret: NAME, format: "Bearer {}"}; without a format the proxy knows what the header needs."""
    members = reading.mapping(node, what, ("header", "secret", "format"))
    for key in ("header", "secret"):
        if key not in members:
            refuse(node.place, f"{what} needs a {key}", "write {header: Authorization, secret: NAME}")
    header = reading.text(members["header"], "header")
    if not _FIELD.issuperset(header) or header.lower() in _NOT_INJECTED:
        refuse(members["header"].place, f"the header {header!r} cannot be injected")
    found = {"header": header, "secret": reading.line(members["secret"], "secret")}
    if "format" in members:
        found["format"] = reading.line(members["format"], "format")
        if found["format"].count("{}") != 1 or found["format"].count("{") != 1:
            refuse(members["format"].place, "a format holds {} once, where the secret goes", 'write "Bearer {}"')
    return found


def _private(node: Node, what: str) -> bool | list[str]:
    """true for every private address, or the list of networks that are meant."""
    if node.kind != LIST:
        return reading.boolean(node, what)
    for item in node.items:
        block = reading.text(item, f"an item of {what}")
        if parse_block(block) is None:
            refuse(item.place, f"{block!r} is not a network", "write a CIDR: 10.1.0.0/16")
    return list(reading.texts(node, what))


def _uses(node: Node, what: str) -> list[str]:
    programs = reading.texts(node, what)
    for item, program in zip(reading.items(node, what), programs, strict=True):
        check_command(program, item.place)
    return list(programs)


def _commit(node: Node, what: str) -> str:
    return reading.word(node, what, ("always", "success"))


def _tls(node: Node, what: str) -> str:
    return reading.word(node, what, TLS)


def _danger(node: Node, what: str) -> list[str]:
    """Names of entries of the danger list; whether they are there is seen when all documents are read."""
    return list(reading.texts(node, what))


def _tables(node: Node, what: str) -> list[str]:
    return [reading.line(item, "a table") for item in reading.items(node, what)]


READERS: dict[str, Callable[[Node, str], Any]] = {
    "max_file_size": _size,
    "max_bytes": _size,
    "live": reading.boolean,
    "allow_danger": _danger,
    "commit": _commit,
    "ports": _ports,
    "methods": _methods,
    "tls": _tls,
    "max_requests": _count,
    "max_rows": _count,
    "max_uses": _count,
    "rate": _rate,
    "expires_at": _moment,
    "allow_private": _private,
    "allow_loopback": reading.boolean,
    "inject": _inject,
    "tables": _tables,
    "uses": _uses,
}


def check_together(
    kind: str, operations: tuple[str, ...], patterns: list[tuple[str, Place]], found: dict[str, Any]
) -> None:
    """What no key can say alone. Raises DocumentError."""
    for wanted, check in _TOGETHER.items():
        if wanted == kind:
            for text, place in patterns:
                check(operations, text, place, found)


def _check_network(operations: tuple[str, ...], text: str, place: Place, found: dict[str, Any]) -> None:
    host = HostPattern(text)
    if "tcp" in operations and host.port is None and "ports" not in found:
        refuse(place, f"network.tcp to {text!r} names no port", "add `ports: [5432]`, or write host:port")
    if host.path and "tcp" in operations:
        refuse(place, f"{text!r} has a path, which plain tcp has not")
    if "inject" in found and operations != ("https",):
        refuse(
            place,
            "a secret is injected into https alone",
            "on http it would cross the network readable: grant https apart",
        )
    needs_look = bool(host.path) or "methods" in found or "inject" in found
    if needs_look and "https" in operations and found.get("tls") == "tunnel":
        refuse(place, "a path, method or injected header cannot be enforced inside a tunnel", "write `tls: intercept`")


def _check_file(_operations: tuple[str, ...], text: str, place: Place, found: dict[str, Any]) -> None:
    if not found.get("live"):
        return
    directory = text.removesuffix("/**")
    if directory == text or any(c in directory for c in "*?["):
        refuse(place, f"only a whole directory can be live, not {text!r}", "write it like @base/output/**")


_TOGETHER: dict[str, Callable[[tuple[str, ...], str, Place, dict[str, Any]], None]] = {
    "network": _check_network,
    "file": _check_file,
    "path": _check_file,
}
