"""Which addresses are the outside world.

An own table, because `ipaddress.is_global` changes between patch releases and calls NAT64, 6to4 and IPv4-compatible
forms of loopback and of metadata services global (measured with 3.11.7). Embedded IPv4 is unwrapped first.
"""

from __future__ import annotations

from _socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from functools import lru_cache

PUBLIC = "public"
LOOPBACK = "loopback"
PRIVATE = "private"
LINK_LOCAL = "link-local"
METADATA = "metadata"
EMBEDDED = "embedded v4"
SELF = "self"


def parse(text: str) -> bytes | None:
    """The 4 or 16 bytes of a literal in canonical form; None for every other spelling (octal, hex, short, zoned)."""
    family = AF_INET6 if ":" in text else AF_INET
    try:
        packed = inet_pton(family, text)
    except (OSError, ValueError, UnicodeEncodeError):
        return None
    if family == AF_INET and inet_ntop(AF_INET, packed) != text:
        return None
    return packed


def text(packed: bytes) -> str:
    """The canonical text of 4 or 16 bytes."""
    return inet_ntop(AF_INET if len(packed) == 4 else AF_INET6, packed)


class Network:
    """A prefix. `bits` is the length in bits, `packed` the address with 4 or 16 bytes."""

    __slots__ = ("bits", "packed", "shift", "value")

    def __init__(self, packed: bytes, bits: int) -> None:
        self.packed = packed
        self.bits = bits
        self.shift = len(packed) * 8 - bits
        self.value = int.from_bytes(packed, "big") >> self.shift

    def __contains__(self, packed: bytes) -> bool:
        return len(packed) == len(self.packed) and int.from_bytes(packed, "big") >> self.shift == self.value


def network(cidr: str) -> Network:
    """`10.0.0.0/8` or a single address. Raises ValueError for anything else."""
    address, slash, length = cidr.partition("/")
    packed = parse(address)
    if packed is None:
        raise ValueError(f"not an address: {cidr}")
    bits = int(length) if slash and length.isascii() and length.isdigit() else len(packed) * 8
    if (slash and not length.isdigit()) or bits > len(packed) * 8:
        raise ValueError(f"not a prefix length: {cidr}")
    return Network(packed, bits)


# The first row that holds the address decides. IANA special-purpose registries (RFC 6890 and successors) and the
# metadata services of the large clouds, which answer credentials to whoever asks.
_V4 = (
    ("169.254.169.254/32", METADATA),  # AWS, GCP, Azure, OpenStack, DigitalOcean
    ("169.254.170.2/32", METADATA),  # AWS ECS task credentials
    ("169.254.170.23/32", METADATA),  # AWS EKS pod identity
    ("100.100.100.200/32", METADATA),  # Alibaba Cloud
    ("168.63.129.16/32", METADATA),  # Azure wire server: a public number that is the hypervisor
    ("192.0.0.192/32", METADATA),  # Oracle Cloud
    ("0.0.0.0/8", "unspecified"),  # Linux connects 0.0.0.0 to loopback
    ("127.0.0.0/8", LOOPBACK),
    ("10.0.0.0/8", PRIVATE),
    ("172.16.0.0/12", PRIVATE),
    ("192.168.0.0/16", PRIVATE),
    ("100.64.0.0/10", PRIVATE),  # carrier NAT, RFC 6598; used inside clusters and overlay networks
    ("169.254.0.0/16", LINK_LOCAL),
    ("192.0.0.0/24", "reserved"),
    ("192.0.2.0/24", "documentation"),
    ("198.51.100.0/24", "documentation"),
    ("203.0.113.0/24", "documentation"),
    ("192.88.99.0/24", "reserved"),  # 6to4 relay anycast
    ("198.18.0.0/15", "benchmark"),  # our own synthetic pool
    ("224.0.0.0/4", "multicast"),
    ("240.0.0.0/4", "reserved"),  # with 255.255.255.255
)
_V6 = (
    ("fd00:ec2::254/128", METADATA),  # AWS
    ("fd20:ce::254/128", METADATA),  # GCP
    ("::1/128", LOOPBACK),
    ("::/128", "unspecified"),
    ("fc00::/7", PRIVATE),
    ("fe80::/10", LINK_LOCAL),
    ("fec0::/10", PRIVATE),  # site-local, deprecated by RFC 3879 and still routed by some
    ("ff00::/8", "multicast"),
    ("2001:db8::/32", "documentation"),
    ("3fff::/20", "documentation"),
    ("2001::/23", "reserved"),  # Teredo, ORCHID, benchmarking, AS112
    ("5f00::/16", "reserved"),
    ("2000::/3", PUBLIC),
)
_TABLE = {
    4: tuple((network(cidr), kind) for cidr, kind in _V4),
    16: tuple((network(cidr), kind) for cidr, kind in _V6),
}
_DEFAULT = {4: PUBLIC, 16: "reserved"}  # IPv6 outside 2000::/3 is not allocated

# Where IPv6 forms carry an IPv4 address: prefix and offset of the four bytes.
_CARRIERS = (
    (network("64:ff9b::/96"), 12),  # NAT64, RFC 6052
    (network("64:ff9b:1::/48"), 12),  # local NAT64, RFC 8215
    (network("::ffff:0:0:0/96"), 12),  # SIIT
    (network("2002::/16"), 2),  # 6to4
    (network("2001::/32"), 12),  # Teredo: the client, inverted; never public to us, the row above refuses it
    (network("::/96"), 12),  # IPv4-compatible
)
_MAPPED = network("::ffff:0:0/96")
_NAT64 = network("64:ff9b::/96")
_ISATAP = (b"\x00\x00\x5e\xfe", b"\x02\x00\x5e\xfe")


def unmapped(packed: bytes) -> bytes:
    """`::ffff:a.b.c.d` is the IPv4 address itself: that is what the kernel dials."""
    return packed[12:] if packed in _MAPPED else packed


@lru_cache(maxsize=1024)  # a connection asks for the same few again and again
def classify(packed: bytes) -> str:
    """The kind of an address: `public`, or why it is not. IPv4 inside IPv6 counts as what it carries."""
    packed = unmapped(packed)
    kind = next((kind for net, kind in _TABLE[len(packed)] if packed in net), _DEFAULT[len(packed)])
    if len(packed) == 4 or kind in {LOOPBACK, "unspecified", METADATA}:
        return kind
    return _carried(packed, kind)


def _carried(packed: bytes, kind: str) -> str:
    """NAT64 of a public address is public (an IPv6-only host has no other way); every other carrier is refused."""
    if packed in _NAT64 and classify(packed[12:]) == PUBLIC:
        return PUBLIC
    if any(packed in net for net, _ in _CARRIERS):
        return EMBEDDED
    if packed[8:12] in _ISATAP and classify(packed[12:]) != PUBLIC:
        return EMBEDDED
    return kind
