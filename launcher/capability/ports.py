"""Ports of network rules: absent ones are the scheme's default, on both sides of a comparison (kernel-facts 27)."""

from __future__ import annotations

from launcher.capability.kinds import DEFAULT_PORTS
from launcher.errors import DocumentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from launcher.capability.glob import Interval
    from launcher.capability.grant import Grant
    from launcher.capability.hosts import HostPattern

EVERY_PORT: tuple[Interval, ...] = ((1, 65535),)


def port_ranges(pattern: HostPattern, grant: Grant, operation: str, *, broad: bool = False) -> tuple[Interval, ...]:
    """The ports that the pattern means: its own, else the grant's `ports`, else the scheme's; of a deny, else all."""
    if pattern.port is not None:
        return ((pattern.port, pattern.port),)
    if "ports" in grant.constraints:
        return parse_ports(grant.constraints["ports"])
    if broad:
        return EVERY_PORT
    default = DEFAULT_PORTS.get(operation)
    return ((default, default),) if default else ()


def ports_hold(ranges: tuple[Interval, ...], port: int | None, *, broad: bool) -> bool:
    """Whether the port is among the ranges; one that nobody knows is only in a deny."""
    if port is None:
        return broad and bool(ranges)
    return any(low <= port <= high for low, high in ranges)


def parse_ports(value: Any) -> tuple[Interval, ...]:
    """`443`, `[80, 443]`, `["8000-8010"]` as intervals. Raises DocumentError."""
    items = value if isinstance(value, (list, tuple)) else [value]
    return tuple([_parse_port(item) for item in items])


def _parse_port(item: Any) -> Interval:
    if isinstance(item, int) and item.bit_length() > 16:  # str() of a very long one may raise
        raise DocumentError("a port has at most 16 bits", hint="ports are 1 to 65535, or a range 8000-8010")
    first, dash, last = str(item).partition("-")
    low = _number(first, item)
    high = _number(last, item) if dash else low
    if high < low:
        raise DocumentError(f"the port range {item!r} runs backwards", hint=f"write {high}-{low}")
    return low, high


def _number(text: str, item: Any) -> int:
    if isinstance(item, bool) or not (text.isascii() and text.isdigit() and len(text) < 6 and 0 < int(text) < 65536):
        raise DocumentError(f"{str(item)[:40]!r} is not a port", hint="ports are 1 to 65535, or a range 8000-8010")
    return int(text)
