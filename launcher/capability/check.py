"""What is checked once, when a document is read: every pattern and constraint of a rule, with its place.

Not on the launch path of a cached policy: the public suffix list costs 60 ms to load, and is loaded only when a grant
has a wildcard host.
"""

from __future__ import annotations

from launcher.capability.addresses import METADATA, parse_address, show_address
from launcher.capability.grant import Grant, did_you_mean
from launcher.capability.hosts import HostPattern
from launcher.capability.kinds import HOST, KINDS
from launcher.capability.limits import COUNT, SIZE, parse_quantity
from launcher.capability.ports import parse_ports, port_ranges
from launcher.capability.rules import parsed
from launcher.capability.scope import Scope
from launcher.errors import DocumentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

# Patterns are read in some scope; which one makes no difference to whether they are well formed.
_ANY_SCOPE = Scope("/home/user", "/home/user/workspace")
_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "QUERY"]


def check_grant(grant: Grant, *, deny: bool = False) -> None:
    """Raises DocumentError, with the place of the rule, unless every pattern and constraint is well formed and safe.

    Of a grant, not of a deny: a wildcard on a public suffix (`*.co.uk` is everybody's), a metadata address without
    `allow_private`, `tcp` without a port, and a URL path beside `tls: tunnel` are refused.
    """
    try:
        _check_constraints(grant)
        for pattern, _ in parsed([grant], _ANY_SCOPE):
            if isinstance(pattern, HostPattern) and not deny:
                _check_host(pattern, grant)
        if grant.operations == ("loopback",) and grant.patterns:
            raise DocumentError("network.loopback takes no hosts", hint="it is the job's own loopback")
    except DocumentError as error:
        raise DocumentError(error.message, hint=error.hint, place=error.place or str(grant.place)) from None


def _check_host(pattern: HostPattern, grant: Grant) -> None:
    if "tcp" in grant.operations and not port_ranges(pattern, grant, "tcp"):
        raise DocumentError(f"network.tcp {pattern.text} names no port", hint="add `ports: [5432]` or write host:5432")
    if pattern.path and grant.constraints.get("tls") == "tunnel":
        message = f"host {pattern.text!r} has a path, which nobody can see inside a TLS tunnel"
        raise DocumentError(message, hint="drop the path, or `tls: tunnel`")
    if pattern.block is not None:
        _check_metadata(pattern, grant)
    elif "*" in pattern.host and pattern.host != "*":
        _check_suffix(pattern)


def _check_metadata(pattern: HostPattern, grant: Grant) -> None:
    bits, first, last = pattern.block or (0, 0, 0)
    for text in METADATA:
        known = parse_address(text)
        if known and known[0] == bits and first <= known[1] <= last and not grant.constraints.get("allow_private"):
            message = f"host {pattern.text!r} holds {show_address(*known)}, where clouds hand out credentials"
            raise DocumentError(message, hint="say `allow_private: true` if that is meant")


def _check_suffix(pattern: HostPattern) -> None:
    """Below a public suffix anybody may register a name. Private suffixes of the list (`github.io`) count as well."""
    from publicsuffixlist import PublicSuffixList

    suffix = pattern.host.partition("*.")[2]
    if PublicSuffixList().is_public(suffix):
        message = f"host {pattern.text!r} is a wildcard on the public suffix {suffix!r}: anybody can have a name there"
        raise DocumentError(message, hint=f"name the domain: *.example.{suffix}")


# --- constraints ----------------------------------------------------------------------------------------------------


def _check_constraints(grant: Grant) -> None:
    known = KINDS[grant.type].constraints
    for name, value in grant.constraints.items():
        if name not in known:
            hint = did_you_mean(name, known)
            raise DocumentError(f"{grant.type} takes no constraint {name!r}", hint=hint)
        check = _CHECKS.get(name)
        if check is not None:
            check(name, value)
    if KINDS[grant.type].pattern == HOST and grant.constraints.get("ports") == []:
        raise DocumentError("ports: the list is empty", hint="leave it out for the scheme's default port")


def _is_size(name: str, value: Any) -> None:
    parse_quantity(name, value, SIZE)


def _is_count(name: str, value: Any) -> None:
    parse_quantity(name, value, COUNT)


def _is_switch(name: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise DocumentError(f"{name}: {str(value)[:40]!r} is neither true nor false", hint="write true or false")


def _are_ports(_name: str, value: Any) -> None:
    parse_ports(value)


def _are_methods(name: str, value: Any) -> None:
    words = value if isinstance(value, (list, tuple)) else [value]
    for word in words:
        if str(word).upper() not in _METHODS:
            raise DocumentError(f"{name}: {str(word)[:40]!r} is no HTTP method", hint=did_you_mean(str(word), _METHODS))


def _is_tls(name: str, value: Any) -> None:
    if value not in {"tunnel", "intercept"}:
        raise DocumentError(f"{name}: {str(value)[:40]!r}", hint="one of: tunnel intercept")


def _is_commit(name: str, value: Any) -> None:
    if value not in {"always", "success"}:
        raise DocumentError(f"{name}: {str(value)[:40]!r}", hint="one of: always success")


_CHECKS: dict[str, Callable[[str, Any], None]] = {
    "max_file_size": _is_size,
    "max_bytes": _is_size,
    "max_requests": _is_count,
    "max_rows": _is_count,
    "max_uses": _is_count,
    "live": _is_switch,
    "allow_private": _is_switch,
    "allow_loopback": _is_switch,
    "ports": _are_ports,
    "methods": _are_methods,
    "tls": _is_tls,
    "commit": _is_commit,
}
