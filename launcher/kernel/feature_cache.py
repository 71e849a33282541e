"""The probe's result between launches: a marshal file that only its owner could have written.

marshal trusts its input, so a file that somebody else may write is not read: it is in a directory of ours, is a
regular file of ours, and neither is writable by group or others.
"""

from __future__ import annotations

import marshal
import os
import stat

from launcher.kernel.features import Features

_SIZE_LIMIT = 65536
_FORMAT = 1


def _name() -> str:
    return f"features-{os.geteuid()}.{_FORMAT}"


def _ours(fd: int, kind: int) -> bool:
    status = os.fstat(fd)
    private = status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return private and stat.S_IFMT(status.st_mode) == kind


def load(directory: str, key: dict[str, str]) -> Features | None:
    """The result stored under `key`, or None. Never raises."""
    try:
        folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return _load_from(folder, key) if _ours(folder, stat.S_IFDIR) else None
    except (OSError, ValueError, EOFError, TypeError, KeyError):
        return None
    finally:
        os.close(folder)


def _load_from(folder: int, key: dict[str, str]) -> Features | None:
    fd = os.open(_name(), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    try:
        if not _ours(fd, stat.S_IFREG):
            return None
        stored_key, values = marshal.loads(os.read(fd, _SIZE_LIMIT))  # noqa: S302  the file is ours alone
    finally:
        os.close(fd)
    return Features(values) if stored_key == key else None


def store(directory: str, key: dict[str, str], features: Features) -> None:
    """Keeps `features` under `key`, replacing the file at once. A directory that cannot be written is no error."""
    data = marshal.dumps((key, features.to_data()))
    temporary = f"{directory}/{_name()}.{os.getpid()}"
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, data)
        finally:
            os.close(fd)
        os.rename(temporary, f"{directory}/{_name()}")
    except OSError:
        return
