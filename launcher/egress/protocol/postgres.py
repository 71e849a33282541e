"""The first packets of the PostgreSQL protocol (version 3.0, "Message Formats" in its manual) and a FATAL answer."""

from __future__ import annotations

from dataclasses import dataclass

from launcher.egress.protocol.malformed import Malformed

MAX_STARTUP = 10000  # MAX_STARTUP_PACKET_LENGTH of the server: it accepts no more either

_SSL_REQUEST = 80877103
_GSS_REQUEST = 80877104
_CANCEL = 80877102
_MISMATCH = "protocol mismatch"
_CODES = {_SSL_REQUEST: 8, _GSS_REQUEST: 8, _CANCEL: 16}

NO_ENCRYPTION = b"N"


@dataclass(frozen=True, slots=True)
class EncryptionRequest:
    """SSLRequest or GSSENCRequest; the answer is one byte."""

    kind: str


@dataclass(frozen=True, slots=True)
class Cancel:
    """CancelRequest: names a session by a secret, not by a database."""


@dataclass(frozen=True, slots=True)
class Startup:
    """StartupMessage. The database is the user's name where none is given, as the server reads it."""

    user: str
    database: str
    replication: bool


Event = Startup | EncryptionRequest | Cancel


class StartupReader:
    """feed() gives one event for each packet before the session starts. `packet` is the last one, whole."""

    __slots__ = ("_buffer", "packet")

    def __init__(self) -> None:
        self._buffer = b""
        self.packet = b""

    @property
    def rest(self) -> bytes:
        """What follows the last packet."""
        return self._buffer

    def take(self) -> bytes:
        """What follows the last packet, to be fed again."""
        data, self._buffer = self._buffer, b""
        return data

    def feed(self, data: bytes) -> Event | None:
        """The next event, None while bytes are missing. Raises Malformed for another protocol."""
        self._buffer += data
        if len(self._buffer) < 4:
            # No start-up packet reaches 64 KiB: another first byte than zero is another protocol.
            if self._buffer[:1] not in (b"", b"\x00"):
                raise Malformed(_MISMATCH)
            return None
        length = int.from_bytes(self._buffer[:4], "big")
        if not 8 <= length <= MAX_STARTUP:
            raise Malformed(_MISMATCH)
        if len(self._buffer) < length:
            return None
        self.packet, self._buffer = self._buffer[:length], self._buffer[length:]
        return _event(self.packet)


def _event(packet: bytes) -> Event:
    code = int.from_bytes(packet[4:8], "big")
    if code in _CODES and len(packet) != _CODES[code]:
        raise Malformed(_MISMATCH)
    if code == _CANCEL:
        return Cancel()
    if code in _CODES:
        return EncryptionRequest("ssl" if code == _SSL_REQUEST else "gss")
    if code >> 16 != 3:
        raise Malformed(_MISMATCH)
    return _startup(packet[8:])


def _startup(body: bytes) -> Startup:
    if not body.endswith(b"\0\0") and body != b"\0":
        raise Malformed(_MISMATCH)
    fields = body[:-1].split(b"\0")[:-1]
    if len(fields) % 2:
        raise Malformed(_MISMATCH)
    options: dict[bytes, bytes] = {}
    for name, value in zip(fields[::2], fields[1::2], strict=True):
        if not name or name in options:
            # The server takes the last of two equal names; an earlier one must not be what was judged.
            raise Malformed(_MISMATCH)
        options[name] = value
    if not options.get(b"user"):
        raise Malformed(_MISMATCH)
    user = _text(options[b"user"])
    database = _text(options.get(b"database", b"")) or user
    # `replication=false` is what libpq may send for an ordinary session.
    replication = options.get(b"replication", b"false").lower() not in (b"false", b"off", b"no", b"0")
    return Startup(user, database, replication)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def fatal(message: str, hint: str = "") -> bytes:
    """ErrorResponse with severity FATAL and SQLSTATE 28000 (invalid_authorization_specification)."""
    fields = [("S", "FATAL"), ("V", "FATAL"), ("C", "28000"), ("M", message), ("H", hint)]
    body = b"".join(kind.encode() + _clean(value) + b"\0" for kind, value in fields if value) + b"\0"
    return b"E" + (len(body) + 4).to_bytes(4, "big") + body


def _clean(value: str) -> bytes:
    return value.encode("utf-8", "backslashreplace").replace(b"\0", b"")
