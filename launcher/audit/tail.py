"""The last whole line of a log, found from its end.

A writer that was killed, or a power cut, leaves at most one line without a line feed: that is torn, and is not part of
the chain. Everything here reads by descriptor and offset.
"""

from __future__ import annotations

import os

from launcher.audit.event import GENESIS
from launcher.canonical import sha256_hex

BLOCK = 65536


class Tail:
    """The last whole line: `seq` and `digest` (0 and GENESIS where there is none).

    `end` is the offset after its line feed, `torn` the bytes after that.
    """

    __slots__ = ("digest", "end", "seq", "torn")

    def __init__(self, seq: int, digest: str, end: int, torn: int) -> None:
        self.seq = seq
        self.digest = digest
        self.end = end
        self.torn = torn


def line_digest(line: bytes) -> str:
    """The digest of a line (without its line feed) as `prev` of the next one has it."""
    return "sha256:" + sha256_hex(line)


def read_tail(fd: int, size: int) -> Tail:
    """The tail of the first `size` bytes of a log. Raises OSError."""
    end = _newline_before(fd, size) + 1
    if end == 0:
        return Tail(0, GENESIS, 0, size)
    start = _newline_before(fd, end - 1) + 1
    line = os.pread(fd, end - 1 - start, start)
    return Tail(sequence(line), line_digest(line), end, size - end)


def sequence(line: bytes) -> int:
    """The `seq` of a canonical line without parsing JSON; 0 where it has none.

    Keys are sorted and quotes inside strings are escaped, and after `seq` only texts follow: so the last
    `,"seq":` of a line is the event's own, whatever a job put into names and details.
    """
    mark = line.rfind(b',"seq":')
    digits = line[mark + 7 : mark + 28].partition(b",")[0] if mark >= 0 else b""
    return int(digits) if digits.isdigit() else 0


def _newline_before(fd: int, end: int) -> int:
    """The offset of the last line feed before `end`; -1 where there is none."""
    while end > 0:
        start = max(0, end - BLOCK)
        found = os.pread(fd, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found
        end = start
    return -1
