"""The output of queued jobs: two files an attempt, for the service alone, in directories by submission.

Sizes are bounded by the launch (`max_output`), totals by the queue. An owner is handed a descriptor for reading; what
he cannot do is find the files, or open them for writing (mode 0600, root's).
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from launcher.service.queue.model import Key

STREAMS = ("out", "err")
_MODE = 0o600


class Spool:
    """The directory `path`, made when the first job starts."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path

    def open(self, key: Key, attempt: int) -> tuple[int, int]:
        """New files for standard output and error of an attempt, to append to. Raises OSError."""
        os.makedirs(f"{self.path}/{key[0]}", 0o700, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        out = os.open(self._name(key, attempt, "out"), flags, _MODE)
        try:
            return out, os.open(self._name(key, attempt, "err"), flags, _MODE)
        except OSError:
            os.close(out)
            raise

    def read(self, key: Key, attempt: int) -> list[int]:
        """Descriptors for reading; of /dev/null where there is no output (any more). Raises OSError."""
        return [self._read(self._name(key, attempt, stream)) for stream in STREAMS]

    def _read(self, path: str) -> int:
        try:
            return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def size(self, key: Key, attempts: int) -> int:
        """Bytes on disk of all attempts. Files without content are removed."""
        total = 0
        for attempt in range(1, attempts + 1):
            for stream in STREAMS:
                total += self._measure(self._name(key, attempt, stream))
        return total

    def _measure(self, path: str) -> int:
        try:
            size = os.stat(path, follow_symlinks=False).st_size
            if not size:
                os.unlink(path)
        except FileNotFoundError:
            return 0
        return size

    def remove(self, key: Key, attempts: int) -> None:
        """Removes the output of a job, and the directory with the last of its submission."""
        for attempt in range(1, attempts + 1):
            for stream in STREAMS:
                try:
                    os.unlink(self._name(key, attempt, stream))
                except FileNotFoundError:
                    continue
        try:
            os.rmdir(f"{self.path}/{key[0]}")
        except OSError:  # others have output there; or nobody ever had
            return

    def _name(self, key: Key, attempt: int, stream: str) -> str:
        return f"{self.path}/{key[0]}/{key[1]}.{attempt}.{stream}"
