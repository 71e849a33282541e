"""The body of an HTTP/1.x message: which bytes belong to it, and where the next message starts."""

from __future__ import annotations

import re

from launcher.egress.protocol.http1 import CHUNKED, UNTIL_CLOSE
from launcher.egress.protocol.malformed import Malformed

MAX_CHUNK_LINE = 1024  # size and extensions; no known client sends extensions
MAX_TRAILERS = 8192  # read and dropped

_CHUNK = re.compile(rb"([0-9A-Fa-f]+)(?:[ \t]*;[\t -~\x80-\xff]*)?")
MAX_CHUNK_DIGITS = 15  # below 2^60: no implementation overflows (a 17-digit size wrapped to a small one in several)

_SIZE, _DATA, _DATA_END, _TRAILERS, _DONE = range(5)


class BodyReader:
    """feed() gives the payload; `done` says that the message is over and `rest` holds what follows."""

    __slots__ = ("_buffer", "_left", "_state", "_trailers", "done", "length", "rest")

    def __init__(self, length: int) -> None:
        self.length = length
        self.rest = b""
        self.done = length == 0
        self._buffer = b""
        self._left = max(0, length)
        self._state = _SIZE
        self._trailers = 0

    def feed(self, data: bytes) -> bytes:
        """Payload bytes in `data`. Raises Malformed for broken chunks."""
        if self.done:
            self.rest += data
            return b""
        if self.length == UNTIL_CLOSE:
            return data
        return self._chunks(data) if self.length == CHUNKED else self._counted(data)

    def _counted(self, data: bytes) -> bytes:
        payload, self.rest = data[: self._left], data[self._left :]
        self._left -= len(payload)
        self.done = not self._left
        return payload

    def _chunks(self, data: bytes) -> bytes:
        self._buffer += data
        payload: list[bytes] = []
        steps = (self._size, self._data, self._data_end, self._trailer)
        while self._state != _DONE and steps[self._state](payload):
            pass
        if self._state == _DONE:
            self.done, self.rest, self._buffer = True, self._buffer, b""
        return b"".join(payload)

    def _line(self, limit: int) -> bytes | None:
        """The next line without CRLF, None while it is incomplete."""
        end = self._buffer.find(b"\n")
        if end < 0 and len(self._buffer) > limit:
            raise Malformed("chunk line too long")
        if end < 0:
            return None
        if end > limit or self._buffer[end - 1 : end] != b"\r":
            raise Malformed("LF in a chunk extension" if b";" in self._buffer[:end] else "bare LF in chunked body")
        line, self._buffer = self._buffer[: end - 1], self._buffer[end + 1 :]
        return line

    def _size(self, _payload: list[bytes]) -> bool:
        line = self._line(MAX_CHUNK_LINE)
        if line is None:
            return False
        match = _CHUNK.fullmatch(line)
        if not match:
            raise Malformed("bad chunk size")
        if len(match[1]) > MAX_CHUNK_DIGITS:
            raise Malformed("chunk size overflow")
        self._left = int(match[1], 16)
        self._state = _DATA if self._left else _TRAILERS
        return True

    def _data(self, payload: list[bytes]) -> bool:
        piece, self._buffer = self._buffer[: self._left], self._buffer[self._left :]
        payload.append(piece)
        self._left -= len(piece)
        if self._left:
            return False
        self._state = _DATA_END
        return True

    def _data_end(self, _payload: list[bytes]) -> bool:
        if not b"\r\n".startswith(self._buffer[:2]):
            raise Malformed("missing CRLF after chunk data")
        if len(self._buffer) < 2:
            return False
        self._buffer = self._buffer[2:]
        self._state = _SIZE
        return True

    def _trailer(self, _payload: list[bytes]) -> bool:
        line = self._line(MAX_TRAILERS)
        if line is None:
            return False
        self._trailers += len(line)
        if self._trailers > MAX_TRAILERS:
            raise Malformed("trailers too large")
        if not line:
            self._state = _DONE
        return True


def chunk(payload: bytes) -> bytes:
    """`payload` as one chunk, nothing for no payload (an empty chunk would end the body)."""
    return b"%x\r\n%b\r\n" % (len(payload), payload) if payload else b""


LAST_CHUNK = b"0\r\n\r\n"


def framed(reader: BodyReader, payload: bytes, *, chunked: bool) -> bytes:
    """`payload`, just read by `reader`, as it is passed on: in chunks of our own, or as it is."""
    if not chunked:
        return payload
    return chunk(payload) + (LAST_CHUNK if reader.done else b"")
