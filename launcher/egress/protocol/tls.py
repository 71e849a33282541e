"""The ClientHello: reassembled over records and segments, and the alerts that refuse it.

RFC 8446 sections 4.1.2 and 5.1, RFC 6066 section 3 (SNI). Nothing else of TLS is read here.
"""

from __future__ import annotations

from dataclasses import dataclass

from launcher.egress.protocol.authority import NAME, parse_host
from launcher.egress.protocol.malformed import Malformed

MAX_HELLO = (
    65536  # post-quantum key shares make about 1.8 KiB; 64 KiB leaves room and bounds what a job can make us hold
)
MAX_RECORD = 16384  # RFC 8446 section 5.1

HANDSHAKE = 22
CLIENT_HELLO = 1
EXT_SERVER_NAME = 0
EXT_ALPN = 16
EXT_ECH = 0xFE0D

ACCESS_DENIED = 49
DECODE_ERROR = 50
INTERNAL_ERROR = 80
UNRECOGNIZED_NAME = 112
NO_APPLICATION_PROTOCOL = 120

NOT_TLS = "not a TLS 1.x ClientHello"
SNI_INVALID = "SNI invalid"


def alert(description: int) -> bytes:
    """A fatal alert record, as a server may send it before any key is agreed."""
    return bytes((21, 3, 3, 0, 2, 2, description))


@dataclass(frozen=True, slots=True)
class ClientHello:
    """What a first flight shows: the name (None without SNI), the ALPN names, and whether an ECH extension is there."""

    sni: str | None
    alpn: tuple[bytes, ...]
    ech: bool


class HelloReader:
    """Collects records until the ClientHello is whole. `buffer` holds every byte fed, to be forwarded unchanged."""

    __slots__ = ("_handshake", "_offset", "buffer")

    def __init__(self) -> None:
        self.buffer = bytearray()
        self._handshake = bytearray()
        self._offset = 0

    def feed(self, data: bytes) -> ClientHello | None:
        """The hello once it is complete, None while bytes are missing. Raises Malformed."""
        self.buffer += data
        if len(self.buffer) > MAX_HELLO:
            raise Malformed("ClientHello too large")
        while self._take_record():
            hello = self._complete()
            if hello is not None:
                return hello
        return None

    def _take_record(self) -> bool:
        head = self.buffer[self._offset : self._offset + 5]
        # Judge each byte of the record head as soon as it is there: other protocols must not wait for five.
        if (head[:1] and head[0] != HANDSHAKE) or (len(head) > 1 and head[1] != 3) or (len(head) > 2 and head[2] > 4):
            raise Malformed(NOT_TLS)
        if len(head) < 5:
            return False
        length = head[3] << 8 | head[4]
        if not 0 < length <= MAX_RECORD:
            raise Malformed(NOT_TLS)
        end = self._offset + 5 + length
        if len(self.buffer) < end:
            return False
        self._handshake += self.buffer[self._offset + 5 : end]
        self._offset = end
        return True

    def _complete(self) -> ClientHello | None:
        if self._handshake[0] != CLIENT_HELLO:
            raise Malformed(NOT_TLS)
        if len(self._handshake) < 4:
            return None
        length = int.from_bytes(self._handshake[1:4], "big")
        if length > MAX_HELLO:
            raise Malformed("ClientHello too large")
        if len(self._handshake) < 4 + length:
            return None
        if len(self._handshake) > 4 + length:
            # RFC 8446 section 5.1: no message may follow the hello in its record before the server answers.
            raise Malformed(NOT_TLS)
        return parse_hello(bytes(self._handshake[4:]))


class _Cursor:
    """Length-prefixed vectors over bytes. Running out of bytes is Malformed."""

    __slots__ = ("data", "offset")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.offset = 0

    def take(self, count: int) -> bytes:
        piece = self.data[self.offset : self.offset + count]
        if len(piece) != count:
            raise Malformed(NOT_TLS)
        self.offset += count
        return piece

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int) -> bytes:
        return self.take(self.number(size))

    @property
    def done(self) -> bool:
        return self.offset == len(self.data)


def parse_hello(body: bytes) -> ClientHello:
    """The body of a ClientHello handshake message. Raises Malformed."""
    cursor = _Cursor(body)
    if cursor.number(2) >> 8 != 3:
        raise Malformed(NOT_TLS)
    cursor.take(32)
    if len(cursor.vector(1)) > 32:
        raise Malformed(NOT_TLS)
    if len(cursor.vector(2)) % 2:
        raise Malformed(NOT_TLS)
    cursor.vector(1)
    extensions = {} if cursor.done else _extensions(cursor.vector(2))
    if not cursor.done:
        raise Malformed(NOT_TLS)
    sni = _server_name(extensions[EXT_SERVER_NAME]) if EXT_SERVER_NAME in extensions else None
    return ClientHello(sni, _alpn(extensions.get(EXT_ALPN)), EXT_ECH in extensions)


def _extensions(data: bytes) -> dict[int, bytes]:
    cursor, found = _Cursor(data), {}
    while not cursor.done:
        kind = cursor.number(2)
        if kind in found:
            # RFC 8446 section 4.2; two SNI extensions would let us read one name and the server the other.
            raise Malformed(SNI_INVALID if kind == EXT_SERVER_NAME else "duplicate extension")
        found[kind] = cursor.vector(2)
    return found


def _server_name(data: bytes) -> str:
    try:
        names = _Cursor(data)
        entries = _Cursor(names.vector(2))
        kind, raw = entries.number(1), entries.vector(2)
        host = parse_host(raw)
    except Malformed as error:
        raise Malformed(SNI_INVALID) from error
    if kind or not entries.done or not names.done or host.kind != NAME:
        # One host_name only; literal addresses are not permitted in SNI (RFC 6066 section 3).
        raise Malformed(SNI_INVALID)
    return host.text


def _alpn(data: bytes | None) -> tuple[bytes, ...]:
    if data is None:
        return ()
    outer = _Cursor(data)
    cursor, names = _Cursor(outer.vector(2)), []
    while not cursor.done:
        names.append(cursor.vector(1))
    return tuple(names)
