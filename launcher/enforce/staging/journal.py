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
_NEW = ".new"
_DIGEST = 16
_LARGEST = 256 << 20


class Journal:
    """An open, locked journal. Raises OSError: without a journal there is no commit."""

    def __init__(self, directory: str, job: str) -> None:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        self._directory = directory
        self.path = f"{directory}/{job}{SUFFIX}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        made = f"{directory}/{job}{_NEW}"
        self._fd = os.open(made, flags, 0o600)
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        os.rename(made, self.path)  # under its name only when it is locked, or `recover` could take it for abandoned
        sync_directory(directory)

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


def sync_directory(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def abandoned(path: str) -> int | None:
    """The descriptor of a journal that no running commit holds, locked for us; None if one does, or it is gone."""
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
