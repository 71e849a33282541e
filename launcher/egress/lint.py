"""Patterns that read like security and are none, refused when a policy is compiled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher.egress.protocol import addresses
from launcher.errors import DocumentError

if TYPE_CHECKING:
    from launcher.capability.grant import Grant
    from launcher.capability.hosts import HostPattern
    from launcher.egress.protocol.addresses import Network

# RFC 6761 and 6762: names that no public resolver answers, or that resolve to the machine itself.
SPECIAL_SUFFIXES = ("localhost", "localdomain", "local", "onion", "invalid")


def check_pattern(pattern: HostPattern, grant: Grant, networks: tuple[Network, ...]) -> None:
    """Raise DocumentError for a pattern that cannot mean what it says.

    Wildcards over public suffixes are refused when the policy is read (launcher.capability.check).
    """
    if pattern.block is not None:
        _check_literal(pattern, grant, networks)
        return
    last = pattern.host.rpartition(".")[2]
    if last in SPECIAL_SUFFIXES and not grant.constraints.get("allow_loopback"):
        hint = "names of the machine itself need allow_loopback: true and a port" if last == "localhost" else ""
        raise DocumentError(f"host {pattern.text!r} ends in a special-use name", hint=hint, place=str(grant.place))


def _check_literal(pattern: HostPattern, grant: Grant, networks: tuple[Network, ...]) -> None:
    bits, first, last = pattern.block or (32, 0, 0)
    packed = first.to_bytes(bits // 8, "big")
    if (
        first != last
        or addresses.classify(packed) != addresses.METADATA
        or grant.constraints.get("allow_private") is True
    ):
        return
    if not any(packed in net and not net.shift for net in networks):
        hint = "it hands out the machine's credentials; if that is meant, add allow_private: true"
        raise DocumentError(f"host {pattern.text!r} is a metadata service", hint=hint, place=str(grant.place))
