"""Where the chain goes on: the head and the log are compared before every append.

The two agree after every clean append. Where they differ, somebody was killed, the power failed, the log was rotated,
or the log was changed; each has a name, is recorded in the log as an event, and never stops the chain.
"""

from __future__ import annotations

import os

from launcher.audit.event import GENESIS
from launcher.audit.tail import Tail, read_tail

TYPE_CHECKING = False
if TYPE_CHECKING:
    from launcher.audit.head import Head

REPAIRED = "audit.repaired"  # a line without its line feed was cut off
LOST = "audit.lost"  # a power cut took lines that were not yet durable
TRUNCATED = "audit.truncated"  # whole lines are gone and no crash explains it
ALTERED = "audit.altered"  # the line that the head names is another one
HEADLESS = "audit.headless"  # the head is missing: truncation before this point cannot be excluded
ROTATED = "audit.rotated"  # first event of a new segment


class Position:
    """The next event follows `seq` and `digest` at offset `end`.

    `notices` are (event name, detail) to be recorded first, `torn` the bytes after `end` to be cut off.
    """

    __slots__ = ("digest", "end", "notices", "seq", "torn")

    def __init__(self, seq: int, digest: str, end: int) -> None:
        self.seq = seq
        self.digest = digest
        self.end = end
        self.torn = 0
        self.notices: list[tuple[str, dict[str, object]]] = []


def position(log_fd: int, head: Head | None, boot: bytes, previous: str) -> Position:
    """Where the next event goes. Reads only; `previous` is the path of the newest closed segment. Raises OSError."""
    found = os.fstat(log_fd)
    if head is not None and head.size == found.st_size and head.inode == found.st_ino:
        return Position(head.seq, head.digest, head.size)
    tail = read_tail(log_fd, found.st_size)
    place = Position(tail.seq, tail.digest, tail.end)
    if tail.torn:
        place.torn = tail.torn
        place.notices.append((REPAIRED, {"bytes": tail.torn}))
    if head is None:
        if tail.seq:
            place.notices.append((HEADLESS, {"found": tail.seq}))
    elif not tail.end and head.seq:
        _begin_segment(place, head, boot, previous)
    else:
        _compare(place, head, boot, log_fd, previous)
    return place


def _begin_segment(place: Position, head: Head, boot: bytes, previous: str) -> None:
    """An empty log under a head: rotated (by us or by rename, as logrotate does) or emptied."""
    closed = _closed(previous)
    if closed is not None and closed.seq >= head.seq and (closed.seq > head.seq or closed.digest == head.digest):
        place.seq, place.digest = closed.seq, closed.digest
        place.notices.append((ROTATED, {"closed": os.path.basename(previous), "last": closed.seq}))
        return
    _missing(place, head, boot)


def _compare(place: Position, head: Head, boot: bytes, log_fd: int, previous: str) -> None:
    if place.seq < head.seq:
        _missing(place, head, boot)
    elif _digest_at(log_fd, head, previous) != head.digest:
        place.notices.append((ALTERED, {"sequence": head.seq, "expected": head.digest}))


def _missing(place: Position, head: Head, boot: bytes) -> None:
    """Fewer lines than the head knows. Only another boot can have lost lines, and only those not yet durable."""
    crash = head.boot != boot and place.seq >= head.durable
    detail: dict[str, object] = {"expected": head.seq, "found": place.seq, "digest": head.digest}
    place.notices.append((LOST if crash else TRUNCATED, detail))
    place.seq = head.seq  # the gap stays visible in the sequence
    if place.digest == GENESIS:
        place.digest = head.digest


def _digest_at(log_fd: int, head: Head, previous: str) -> str:
    """The digest of the line that the head names: at its offset, or at the end of the closed segment."""
    if os.fstat(log_fd).st_ino == head.inode:
        return read_tail(log_fd, head.size).digest
    closed = _closed(previous)
    if closed is not None and closed.seq == head.seq:
        return closed.digest
    # A copy of the log (a restored backup) has another inode and the same bytes.
    return read_tail(log_fd, head.size).digest


def _closed(path: str) -> Tail | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        return read_tail(fd, os.fstat(fd).st_size)
    finally:
        os.close(fd)
