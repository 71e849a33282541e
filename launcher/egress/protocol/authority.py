"""host:port as a job writes it, in CONNECT, absolute-form, Host, SOCKS5 and SNI.

    authority = host [ ":" port ]
    host      = name / IPv4 / "[" IPv6 "]"
    name      = label *( "." label ) [ "." ]
    label     = 1*63( ALPHA / DIGIT / "-" / "_" ), no "-" at either end
    port      = %x31-39 *4DIGIT, at most 65535

Bytes outside the grammar are refused before any comparison: NUL in a SOCKS5 name passed a suffix match and was cut off
by getaddrinfo (Claude Code 2.0.24 to 2.1.89), TAB disappears in urlsplit, int() reads `+443`, `4_43` and Arabic digits.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from launcher.egress.protocol import addresses
from launcher.egress.protocol.malformed import Malformed

MAX_NAME = 253  # RFC 1035: 255 octets on the wire
MAX_LABEL = 63

NAME = "name"
LITERAL = "literal"  # a canonical IPv4 or IPv6 literal
NUMERIC = "numeric"  # what a C resolver would read as an address, in another spelling

_LABEL = re.compile(rb"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?")
_PORT = re.compile(rb"[1-9][0-9]{0,4}")
_NUMERIC = re.compile(rb"([0-9]+|0x[0-9a-f]*)")
_V6_TEXT = re.compile(rb"[0-9a-f:.]+")
_ZONED = re.compile(rb"[0-9a-f:.]+%[!-~]+")


@dataclass(frozen=True, slots=True)
class Host:
    """A host in canonical form: lower case, no trailing dot, literals as inet_ntop writes them."""

    text: str
    kind: str = NAME


@dataclass(frozen=True, slots=True)
class Authority:
    """A host and a port (0 where none was written and none is implied)."""

    host: Host
    port: int

    def __str__(self) -> str:
        name = f"[{self.host.text}]" if ":" in self.host.text else self.host.text
        return f"{name}:{self.port}"


def parse_host(raw: bytes) -> Host:
    """A name or a literal without brackets. Raises Malformed."""
    if not raw:
        raise Malformed("empty host")
    lowered = raw.lower()
    if b":" in lowered:
        return _v6(lowered)
    bare = lowered.removesuffix(b".")
    _check_name(bare)
    labels = bare.split(b".")
    # A trailing dot does not make a number a name: getaddrinfo("127.0.0.1.") is loopback in some resolvers.
    if _NUMERIC.fullmatch(labels[-1]):
        packed = addresses.parse(lowered.decode("ascii"))
        return Host(bare.decode("ascii"), LITERAL if packed else NUMERIC)
    return Host(bare.decode("ascii"))


def _check_name(bare: bytes) -> None:
    if len(bare) > MAX_NAME:
        raise Malformed("name too long")
    for label in bare.split(b"."):
        if not label:
            raise Malformed("empty label")
        if len(label) > MAX_LABEL:
            raise Malformed("label too long")
        if not _LABEL.fullmatch(label):
            raise Malformed("invalid host")


def _v6(raw: bytes) -> Host:
    if _V6_TEXT.fullmatch(raw):
        packed = addresses.parse(raw.decode("ascii"))
        if packed:
            return Host(addresses.text(packed), LITERAL)
    if _ZONED.fullmatch(raw):
        return Host(raw.decode("ascii"), NUMERIC)
    raise Malformed("invalid IPv6 literal")


def parse_port(raw: bytes) -> int:
    """1 to 65535 in plain decimal without sign, blank, zero in front or underscore. Raises Malformed."""
    if not _PORT.fullmatch(raw) or int(raw) > 65535:
        raise Malformed("invalid port")
    return int(raw)


@lru_cache(maxsize=256)  # pure; a client repeats its few authorities
def parse_authority(raw: bytes, default_port: int = 0) -> Authority:
    """`host:port`; without a port it is `default_port`, and Malformed when that is 0."""
    if b"@" in raw:
        raise Malformed("userinfo in authority")
    host, port = _split(raw)
    if port is None and not default_port:
        raise Malformed("no port")
    return Authority(host, default_port if port is None else parse_port(port))


def _split(raw: bytes) -> tuple[Host, bytes | None]:
    if raw.startswith(b"["):
        inside, bracket, rest = raw[1:].partition(b"]")
        if not bracket or (rest and not rest.startswith(b":")) or b":" not in inside:
            # `[allowed.test]` is no literal (smokescreen CVE-2022-24825)
            raise Malformed("invalid brackets")
        return parse_host(inside), rest[1:] if rest else None
    host, colon, port = raw.partition(b":")
    if b":" in port:
        raise Malformed("two ports")
    return parse_host(host), port if colon else None
