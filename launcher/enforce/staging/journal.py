"""The journal of one commit: what is being made, then what is decided. [L]

Lines of `DIGEST JSON`. `begin` names every temporary file before any is made; `commit` is on disk before the first
rename; `applied` before what was displaced is removed. Without a (whole) `commit` all is undone, with it finished; with
`applied` only the temporary files are left to remove. A lock on the file says that its commit is still running.
"""

from __future__ import annotations

import fcntl
import os

from launcher.canonical import canonical_json, sha256_hex

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SUFFIX = ".journal"
_DIGEST = 16
_LARGEST = 256 << 20


class Journal:
    """An open, locked journal. Raises OSError: without a journal there is no commit."""

    def __init__(self, directory: str, job: str) -> None:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        self.path = f"{directory}/{job}{SUFFIX}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        alone = _lock_directory(directory)  # or `recover` could take a journal that is not locked yet for abandoned
        try:
            self._fd = os.open(self.path, flags, 0o600)
            fcntl.flock(self._fd, fcntl.LOCK_EX)
            os.fsync(alone)
        finally:
            os.close(alone)

    def write(self, record: dict[str, Any]) -> None:
        """Adds a record; it is on disk when this returns."""
        body = canonical_json(record)
        line = memoryview(sha256_hex(body)[:_DIGEST].encode() + b" " + body + b"\n")
        while line:
            line = line[os.write(self._fd, line) :]
        os.fsync(self._fd)

    def done(self) -> None:
        """The commit is complete, or undone: nothing is left to recover."""
        os.unlink(self.path)
        os.close(self._fd)

    def leave(self) -> None:
        """Closes it and leaves it for the next start: something could not be finished."""
        os.close(self._fd)


def _lock_directory(path: str) -> int:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fcntl.flock(fd, fcntl.LOCK_EX)
    return fd


def abandoned(path: str) -> int | None:
    """The descriptor of a journal that no running commit holds, locked for us; None if one does, or it is gone."""
    alone = _lock_directory(os.path.dirname(path))
    try:
        return _locked(path)
    finally:
        os.close(alone)


def _locked(path: str) -> int | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        return None
    if os.fstat(fd).st_nlink == 0:  # its commit ended between our open and our lock
        os.close(fd)
        return None
    return fd


def records(fd: int) -> list[dict[str, Any]]:
    """The whole records, in order; a torn last line is none."""
    import json

    content = b""
    while len(content) < _LARGEST and (chunk := os.read(fd, 1 << 20)):
        content += chunk
    found = []
    for line in content.split(b"\n"):
        digest, _, body = line.partition(b" ")
        if not body or sha256_hex(body)[:_DIGEST].encode() != digest:
            break
        found.append(json.loads(body))
    return found
