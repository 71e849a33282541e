"""HTTP/1.x heads: parsed strictly, framed explicitly, written anew.

RFC 9112. What is forwarded is never what was received but a re-serialisation of what was understood, so that the
server cannot understand something else. h11 accepts CL+TE and bare LF, llhttp two Host fields: hence an own parser.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from launcher.egress.protocol.malformed import Malformed

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_HEAD = 65536  # bytes of one head; common servers take 8 to 64 KiB
MAX_FIELDS = 200  # fields of one head
MAX_METHOD = 32
REMEMBERED = (
    128  # heads and first lines that were parsed; with SHORT and MAX_HEAD a bound on what a job can make us keep
)
SHORT = 1024  # bytes of a head that is worth remembering

_METHOD = re.compile(rb"[A-Z][A-Z_-]{0,31}")
_METHOD_START = re.compile(rb"[A-Z][A-Z_-]{0,31} ?|")
_REFLECTING = (b"TRACE", b"TRACK")  # the answer would show the job the credential that the proxy added
_VERSION = re.compile(rb"HTTP/1\.[01]")
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(rb"[\t -~\x80-\xff]*")
_LENGTH = re.compile(rb"[0-9]{1,18}")
_STATUS_LINE = re.compile(rb"(HTTP/1\.[01]) ([1-9][0-9]{2})(?: ([\t -~\x80-\xff]*))?")

# RFC 9110 section 7.6.1, and what never leaves a proxy.
HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer upgrade "
    b"transfer-encoding".split()
)
# A client must not be able to have a proxy strip these by naming them in Connection (abusing-hop-by-hop, 2019).
_END_TO_END = frozenset(
    b"host content-length authorization cookie content-type content-encoding expect cache-control x-forwarded-for "
    b"transfer-encoding".split()
)
METHOD_OVERRIDES = frozenset(b"x-http-method-override x-http-method x-method-override".split())

NO_BODY = 0
UNTIL_CLOSE = -1
CHUNKED = -2


@dataclass(frozen=True, slots=True)
class Field:
    """A header field: the name as sent, the value without blanks around it."""

    name: bytes
    value: bytes

    @property
    def key(self) -> bytes:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Request:
    """A request head. `length` is the number of body bytes, or CHUNKED."""

    method: bytes
    target: bytes
    version: bytes
    fields: tuple[Field, ...]
    length: int

    def values(self, key: bytes) -> list[bytes]:
        return [field.value for field in self.fields if field.key == key]

    @property
    def keep_alive(self) -> bool:
        tokens = connection_tokens(self.fields) | {t.strip().lower() for t in self.values(b"proxy-connection")}
        return b"close" not in tokens if self.version == b"HTTP/1.1" else b"keep-alive" in tokens

    @property
    def upgrade(self) -> bytes:
        """`websocket` where that upgrade is wanted, else empty: h2c would carry requests that nobody judges."""
        if b"upgrade" not in connection_tokens(self.fields):
            return b""
        wanted = b",".join(self.values(b"upgrade")).strip().lower()
        return wanted if wanted == b"websocket" else b""


@dataclass(frozen=True, slots=True)
class Response:
    """A response head. `length` as in Request, or UNTIL_CLOSE."""

    status: int
    reason: bytes
    version: bytes
    fields: tuple[Field, ...]
    length: int

    @property
    def keep_alive(self) -> bool:
        tokens = connection_tokens(self.fields)
        return self.length != UNTIL_CLOSE and self.version == b"HTTP/1.1" and b"close" not in tokens


class HeadReader:
    """Collects bytes until a head is whole. `rest` is what follows it.

    `check` sees the first line, or the beginning of it, with each feed and may refuse it early.
    """

    __slots__ = ("_buffer", "_check", "_scanned", "rest")

    def __init__(self, check: Callable[[bytes], None] | None = None) -> None:
        self._check = check
        self._buffer = bytearray()
        self._scanned = 0
        self.rest = b""

    @property
    def empty(self) -> bool:
        """Nothing of a head has come yet."""
        return not self._buffer

    def feed(self, data: bytes) -> bytes | None:
        """The head without its final empty line, None while bytes are missing. Raises Malformed early."""
        self._buffer += data
        if self._check is not None:
            self._check(bytes(self._buffer[: self._buffer.find(b"\r\n") + 2 or MAX_HEAD]))
        self._scan()
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0 or end > MAX_HEAD:
            if len(self._buffer) > MAX_HEAD:
                raise Malformed("header too large", 431)
            return None
        head = bytes(self._buffer[: end + 2])
        self.rest = bytes(self._buffer[end + 4 :])
        return head

    def _scan(self) -> None:
        """Refuse a bare LF and a hopeless first line before the head is whole, or the client would wait for us."""
        end = self._buffer.find(b"\r\n\r\n")
        limit = len(self._buffer) if end < 0 else end
        while (at := self._buffer.find(b"\n", self._scanned, limit)) >= 0:
            if at == 0 or self._buffer[at - 1] != 13:
                raise Malformed("bare LF")
            self._scanned = at + 1


def check_request_start(data: bytes) -> None:
    """Raise Malformed as soon as the beginning of a request line cannot become one."""
    line, newline, _ = data.partition(b"\r\n")
    if newline:
        _request_line(line)
        return
    method, blank, _ = line.partition(b" ")
    if method and not (_METHOD.fullmatch(method) if blank else _METHOD_START.fullmatch(method)):
        raise Malformed("bad request line")


@lru_cache(maxsize=REMEMBERED)
def _request_line(line: bytes) -> tuple[bytes, bytes, bytes]:
    parts = line.split(b" ")
    if parts[:3] == [b"PRI", b"*", b"HTTP/2.0"]:
        raise Malformed("h2c not supported", 505)
    if len(parts) == 2 and _METHOD.fullmatch(parts[0]):
        raise Malformed("HTTP/0.9")
    if len(parts) != 3 or not _METHOD.fullmatch(parts[0]) or not parts[1]:
        raise Malformed("bad request line")
    if parts[0] in _REFLECTING:
        raise Malformed("method reflects the request", 405)
    if not _VERSION.fullmatch(parts[2]):
        raise Malformed("HTTP version not supported", 505 if re.fullmatch(rb"HTTP/[2-9](\.[0-9])?", parts[2]) else 400)
    return parts[0], parts[1], parts[2]


def parse_request(head: bytes) -> Request:
    """A head as HeadReader gives it. Raises Malformed.

    A client opens its connections with the same few heads, and a Request is a value: short ones are parsed once.
    """
    return _parse_again(head) if len(head) <= SHORT else _parse_request(head)


def _parse_request(head: bytes) -> Request:
    lines = head.split(b"\r\n")[:-1]
    method, target, version = _request_line(lines[0])
    fields = _fields(lines[1:])
    _check_host(fields, version)
    _check_connection(fields)
    length = _framing(fields, version)
    return Request(method, target, version, fields, NO_BODY if length is None else length)


_parse_again = lru_cache(maxsize=REMEMBERED)(_parse_request)


def parse_response(head: bytes, method: bytes) -> Response:
    """The head of an answer to `method`. Raises Malformed with status 502."""
    try:
        lines = head.split(b"\r\n")[:-1]
        match = _STATUS_LINE.fullmatch(lines[0])
        if not match:
            raise Malformed("bad status line")
        fields = _fields(lines[1:])
        length = _framing(fields, match[1])
    except Malformed as error:
        raise Malformed(f"upstream sent a bad response: {error.reason}", 502) from error
    status = int(match[2])
    if method == b"HEAD" or status < 200 or status in {204, 304}:
        length = NO_BODY
    return Response(status, match[3] or b"", match[1], fields, UNTIL_CLOSE if length is None else length)


def _fields(lines: list[bytes]) -> tuple[Field, ...]:
    if len(lines) > MAX_FIELDS:
        raise Malformed("too many fields", 431)
    return tuple(_field(line) for line in lines)


def _field(line: bytes) -> Field:
    if line[:1] in (b" ", b"\t"):
        raise Malformed("obs-fold")
    name, colon, value = line.partition(b":")
    if not colon or not _NAME.fullmatch(name):
        raise Malformed("bad field name")
    # Optional white space is blank and TAB only: bytes.strip() would also drop VT, which hid `\x0bchunked`.
    value = value.strip(b" \t")
    if not _VALUE.fullmatch(value):
        raise Malformed("control character")
    return Field(name, value)


def _check_host(fields: tuple[Field, ...], version: bytes) -> None:
    hosts = sum(field.key == b"host" for field in fields)
    if hosts > 1:
        raise Malformed("duplicate Host")
    if not hosts and version == b"HTTP/1.1":
        raise Malformed("missing Host")


def connection_tokens(fields: tuple[Field, ...]) -> set[bytes]:
    """The options named in Connection, lower case."""
    values = b",".join(field.value for field in fields if field.key == b"connection")
    return {token.strip(b" \t").lower() for token in values.split(b",")}


def _check_connection(fields: tuple[Field, ...]) -> None:
    if connection_tokens(fields) & _END_TO_END:
        raise Malformed("Connection names an end-to-end header")


def _framing(fields: tuple[Field, ...], version: bytes) -> int | None:
    """RFC 9112 section 6, each doubtful case refused. None: neither field is there."""
    lengths = [field.value for field in fields if field.key == b"content-length"]
    codings = [field.value for field in fields if field.key == b"transfer-encoding"]
    if codings and lengths:
        raise Malformed("CL + TE")
    if codings and version == b"HTTP/1.0":
        raise Malformed("TE in HTTP/1.0")
    if codings:
        if len(codings) != 1 or codings[0].lower() != b"chunked":
            # A coding besides chunked, or chunked not last: nobody sends it and implementations differ.
            raise Malformed("transfer coding other than chunked")
        return CHUNKED
    if len(lengths) > 1:
        raise Malformed("two Content-Length fields")
    if lengths and not _LENGTH.fullmatch(lengths[0]):
        raise Malformed("invalid Content-Length")
    return int(lengths[0]) if lengths else None


def write_request(
    request: Request, target: bytes, host: bytes, *, drop: frozenset[bytes], add: tuple[Field, ...]
) -> bytes:
    """The head that goes upstream: origin-form, our Host first, hop-by-hop and `drop` fields left out, `add` last."""
    lines = [request.method + b" " + target + b" HTTP/1.1", b"Host: " + host]
    lines += _kept(request.fields, drop | {b"host"} | {field.key for field in add})
    lines += [field.name + b": " + field.value for field in add]
    lines += [b"Transfer-Encoding: chunked"] if request.length == CHUNKED else []
    lines += [b"Connection: Upgrade", b"Upgrade: " + request.upgrade] if request.upgrade else []
    return b"\r\n".join(lines) + b"\r\n\r\n"


def write_response(response: Response, *, keep_alive: bool, chunked: bool = False, upgrade: bytes = b"") -> bytes:
    """The head that goes to the client. Alt-Svc is dropped: it would send the client to QUIC, which has no way out."""
    lines = [b"HTTP/1.1 %d " % response.status + response.reason]
    lines += _kept(response.fields, frozenset({b"alt-svc"}))
    lines += [b"Transfer-Encoding: chunked"] if chunked else []
    if upgrade:
        lines += [b"Connection: Upgrade", b"Upgrade: " + upgrade]
    elif response.status >= 200:
        lines += [b"Connection: " + (b"keep-alive" if keep_alive else b"close")]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def _kept(fields: tuple[Field, ...], drop: frozenset[bytes]) -> list[bytes]:
    gone = HOP_BY_HOP | drop | connection_tokens(fields)
    return [field.name + b": " + field.value for field in fields if field.key not in gone]
