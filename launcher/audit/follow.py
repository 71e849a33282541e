"""Following the log: what was appended since the last look, over rotations, a bounded piece at a time."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from launcher.audit.files import AuditFiles

_MOST = 1 << 20  # bytes of one look; whoever falls behind further begins anew near the end
_BEFORE = 1 << 16  # bytes before the end where the first look begins


class Follower:
    """`look()` returns the events that came since the last call; the first call, some of the last ones."""

    __slots__ = ("_fd", "_files", "_offset")

    def __init__(self, files: AuditFiles) -> None:
        self._files = files
        self._fd = -1
        self._offset = 0

    def look(self) -> list[dict[str, Any]]:
        """Whole lines only. Nothing where there is no log yet, or it cannot be read."""
        events: list[dict[str, Any]] = []
        if self._fd >= 0 and self._moved():  # what was written before the rotation comes first
            events = self._read()
            self.close()
        if self._fd < 0 and not self._open(beginning=bool(events)):
            return events
        return [*events, *self._read()]

    def close(self) -> None:
        """Safe to call twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd, self._offset = -1, 0

    def _open(self, *, beginning: bool) -> bool:
        try:
            self._fd = os.open(self._files.log, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return False
        if not beginning:
            self._skip_to(os.fstat(self._fd).st_size - _BEFORE)
        return True

    def _moved(self) -> bool:
        try:
            return not os.path.samestat(os.stat(self._files.log, follow_symlinks=False), os.fstat(self._fd))
        except FileNotFoundError:
            return False

    def _skip_to(self, offset: int) -> None:
        """To the first whole line at or after `offset`."""
        if offset <= 0:
            self._offset = 0
            return
        piece = os.pread(self._fd, _BEFORE, offset)
        self._offset = offset + piece.find(b"\n") + 1

    def _read(self) -> list[dict[str, Any]]:
        size = os.fstat(self._fd).st_size
        if size - self._offset > _MOST:
            self._skip_to(size - _BEFORE)
        piece = os.pread(self._fd, _MOST, self._offset)
        whole = piece[: piece.rfind(b"\n") + 1]
        self._offset += len(whole)
        return [found for line in whole.splitlines() if (found := _event(line)) is not None]


def _event(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
