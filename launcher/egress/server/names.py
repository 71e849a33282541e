"""Synthetic addresses: one for each name that this job asked for, never used for another while it lives.

198.18.0.0/15 is for benchmarks (RFC 2544), so nothing real is there. Re-using an address after a while sent traffic to
the wrong host in other tools (clash #345); 131,000 addresses are more than the limit on names.
"""

from __future__ import annotations

from launcher.egress.protocol.addresses import network

POOL = network("198.18.0.0/15")
FIRST = int.from_bytes(POOL.packed, "big") + 5  # the network's own address and four spare ones stay unassigned
MAX_NAMES = 4096  # of one job, wildcards included
MAX_WILDCARD_NAMES = 256  # distinct names below the wildcards of one job: each is a message to the domain's owner
MAX_WILDCARD_LENGTH = 100  # bytes in front of the pattern's suffix; a content hash in hex (64) still fits


class NameTable:
    """name <-> address of one job."""

    def __init__(self) -> None:
        self._address: dict[str, bytes] = {}
        self._name: dict[bytes, str] = {}
        self._wild = 0

    def address(self, name: str, *, wildcard: bool) -> bytes | None:
        """The address of a granted name, None when the job has used up its names."""
        known = self._address.get(name)
        if known is not None:
            return known
        if len(self._address) >= MAX_NAMES or (wildcard and self._wild >= MAX_WILDCARD_NAMES):
            return None
        self._wild += wildcard
        packed = (FIRST + len(self._address)).to_bytes(4, "big")
        self._address[name] = packed
        self._name[packed] = name
        return packed

    def known(self, name: str) -> bytes:
        """The address that a name has. Raises KeyError for one that was never asked for."""
        return self._address[name]

    def name(self, packed: bytes) -> str:
        """The name behind an address; empty for an address that this job was never given."""
        return self._name.get(packed, "")


def is_synthetic(packed: bytes) -> bool:
    """Whether an address is from the pool."""
    return packed in POOL


def reverse_name(name: str) -> bytes | None:
    """The address that `5.0.18.198.in-addr.arpa` asks for."""
    labels = name.removesuffix(".in-addr.arpa").split(".")
    if not name.endswith(".in-addr.arpa") or len(labels) != 4:
        return None
    if not all(label.isascii() and label.isdigit() and int(label) < 256 for label in labels):
        return None
    return bytes(int(label) for label in reversed(labels))
