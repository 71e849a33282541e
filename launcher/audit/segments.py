"""The files of one log, oldest first: `audit.jsonl.2`, `audit.jsonl.1`, `audit.jsonl`."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from launcher.audit.files import failed

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Segment:
    """One open file of the log. `path` is the name it was opened by; `current` the one that grows."""

    path: str
    stream: IO[bytes]
    current: bool


@dataclass(frozen=True, slots=True)
class Line:
    """One line without its line feed; `torn` where it has none. `offset` is in bytes, `number` counts from 1."""

    path: str
    number: int
    offset: int
    data: bytes
    torn: bool

    @property
    def place(self) -> str:
        return f"{self.path}:{self.number}"


def numbered(log: str) -> list[tuple[int, str]]:
    """The closed segments of `log` as (number, path), newest (1) first. Raises AuditError."""
    directory, name = os.path.split(log)
    try:
        names = os.listdir(directory or ".")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise failed("list", directory, error) from error
    ends = [entry[len(name) + 1 :] for entry in names if entry.startswith(name + ".")]
    return sorted((int(end), f"{log}.{end}") for end in ends if end.isascii() and end.isdigit() and end[0] != "0")


def opened(log: str) -> list[Segment]:
    """The segments of `log`, oldest first; the caller closes them. Raises AuditError.

    They are opened newest first: a rotation meanwhile only moves files to higher numbers, so none is missed, and one
    that is met twice is known by its inode.
    """
    segments: list[Segment] = []
    seen: set[tuple[int, int]] = set()
    try:
        for path, current in [(log, True), *((path, False) for _, path in numbered(log))]:
            segment = _open(path, current, seen)
            if segment is not None:
                segments.append(segment)
    except BaseException:
        close(segments)
        raise
    return segments[::-1]


def close(segments: list[Segment]) -> None:
    for segment in segments:
        segment.stream.close()


def lines(segment: Segment) -> Iterator[Line]:
    """The lines of one segment. Raises OSError."""
    offset = 0
    for number, data in enumerate(segment.stream, 1):
        whole = data.endswith(b"\n")
        yield Line(segment.path, number, offset, data[:-1] if whole else data, not whole)
        offset += len(data)


def _open(path: str, current: bool, seen: set[tuple[int, int]]) -> Segment | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise failed("read", path, error) from error
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode) or (found.st_dev, found.st_ino) in seen:
        os.close(fd)
        return None
    seen.add((found.st_dev, found.st_ino))
    return Segment(path, os.fdopen(fd, "rb", buffering=1 << 18), current)
