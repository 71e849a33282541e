"""The one lock of the audit: an exclusive flock on the head file.

The head file is never renamed, so the lock survives rotation, and it is 0600, so no reader can hold it. The kernel
drops it with its last descriptor: a killed writer leaves no lock behind.
"""

from __future__ import annotations

import fcntl
import os
import time

from launcher.audit.files import AuditFiles, open_head, open_log
from launcher.errors import AuditError

LOCK_SECONDS = 30.0  # a holder needs well under a millisecond; longer is a stopped process
_FIRST_PAUSE = 0.0002
_LONGEST_PAUSE = 0.01


class Handles:
    """The open `log` and `head` descriptors of one process."""

    __slots__ = ("_files", "head", "log")

    def __init__(self, files: AuditFiles) -> None:
        self._files = files
        self.head = -1
        self.log = -1

    def lock(self) -> None:
        """Wait for the lock; afterwards `head` and `log` are the files that have the names now.

        Raises AuditError where the files cannot be used or the lock is not free within LOCK_SECONDS.
        """
        while True:
            if self.head < 0:
                self.head = open_head(self._files)
            self._wait()
            if _is_named(self.head, self._files.head):
                break
            self._close("head")  # somebody removed the head file: its lock protects nothing any more
        try:
            if self.log >= 0 and not _is_named(self.log, self._files.log):
                self._close("log")
            if self.log < 0:
                self.log = open_log(self._files)
        except BaseException:
            self.unlock()
            raise

    def unlock(self) -> None:
        """Explicitly, since a forked child may hold a copy of the descriptor."""
        fcntl.flock(self.head, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close both; `lock` opens them again."""
        self._close("log")
        self._close("head")

    def _close(self, name: str) -> None:
        fd = getattr(self, name)
        setattr(self, name, -1)
        if fd >= 0:
            os.close(fd)

    def _wait(self) -> None:
        deadline = time.monotonic() + LOCK_SECONDS
        pause = _FIRST_PAUSE
        while True:
            try:
                fcntl.flock(self.head, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise AuditError(
                        f"the audit lock on {self._files.head} is held for more than {LOCK_SECONDS:.0f} s",
                        hint=f"find the holder with `fuser {self._files.head}`: is it stopped?",
                    ) from None
            time.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)


def _is_named(fd: int, path: str) -> bool:
    try:
        named = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    found = os.fstat(fd)
    return (named.st_ino, named.st_dev) == (found.st_ino, found.st_dev)
