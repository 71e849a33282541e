"""IP literals and CIDRs as ranges of integers. Strict forms only: what a C resolver reads from `0x7f.1` is refused."""

from __future__ import annotations

from _socket import AF_INET, AF_INET6, inet_ntop, inet_pton

from launcher.errors import DocumentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    # Bits (32 or 128), first and last address.
    Block = tuple[int, int, int]

# Where clouds hand out credentials to whoever asks from the machine (AWS, GCP, Azure; Alibaba; AWS over IPv6).
METADATA = ("169.254.169.254", "100.100.100.200", "fd00:ec2::254")
_MAPPED = 0xFFFF << 32  # ::ffff:0:0/96


def parse_address(text: str) -> tuple[int, int] | None:
    """(bits, number) of a canonical IPv4 or IPv6 literal, or None. An IPv4-mapped IPv6 address is the IPv4 one.

    `inet_pton` takes four decimal numbers without leading zeros, and no zone (`%eth0`), unlike `getaddrinfo`.
    """
    try:
        if ":" not in text:
            return 32, int.from_bytes(inet_pton(AF_INET, text), "big")
        number = int.from_bytes(inet_pton(AF_INET6, text), "big")
    except (OSError, UnicodeEncodeError, ValueError):
        return None
    return (32, number & 0xFFFFFFFF) if number >> 32 == _MAPPED >> 32 else (128, number)


def parse_block(text: str) -> Block | None:
    """An address or `ADDRESS/LENGTH`; None when it is neither. Raises DocumentError for bits beyond the prefix."""
    address, slash, length = text.partition("/")
    parsed = parse_address(address.strip("[]") if ":" in address else address)
    if parsed is None:
        return None
    bits, first = parsed
    if not slash:
        return bits, first, first
    if not (length.isascii() and length.isdigit() and len(length) < 4 and int(length) <= bits):
        return None
    host = (1 << (bits - int(length))) - 1
    if first & host:
        hint = f"write {show_address(bits, first & ~host)}/{length}"
        raise DocumentError(f"host pattern {text!r}: the address has bits beyond its prefix", hint=hint)
    return bits, first, first | host


def show_address(bits: int, number: int) -> str:
    """The canonical text of an address."""
    family = AF_INET if bits == 32 else AF_INET6
    return inet_ntop(family, number.to_bytes(bits // 8, "big"))


def looks_numeric(host: str) -> bool:
    """Whether a C resolver would read `host` as an address: the last label is digits, or 0x and hexadecimal digits."""
    last = host.rpartition(".")[2]
    if last.isdigit():
        return True
    return last[:2].lower() == "0x" and all(char in "0123456789abcdefABCDEF" for char in last[2:])
