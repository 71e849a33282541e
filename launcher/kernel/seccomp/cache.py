"""Compiled filters as files, one a key. [L]

A file is used only if it is a regular file of ours or root's that nobody else can write, if it names the very key it
is asked for (a hard link to another filter's file does not), and if its bytes have the digest it states.
"""

from __future__ import annotations

import os
import stat

from launcher.canonical import sha256_hex

_MAGIC = b"mlsandbox seccomp 1\n"
_HEX = 64
_HEADER = len(_MAGIC) + 2 * (_HEX + 1)
_MAX_SIZE = _HEADER + 8 * 4096


def load(directory: str, key: str) -> bytes | None:
    """The filter kept for `key` (64 hexadecimal digits), or None if there is none that can be trusted."""
    try:
        fd = os.open(_path(directory, key), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return _body(os.read(fd, _MAX_SIZE), key) if _ours(os.fstat(fd)) else None
    except OSError:
        return None
    finally:
        os.close(fd)


def store(directory: str, key: str, program: bytes) -> None:
    """Keeps `program`. A directory that cannot be written is no error: the next launch compiles again."""
    name = _path(directory, key)
    temporary = f"{name}.{os.getpid()}.new"
    try:
        os.makedirs(directory, mode=0o755, exist_ok=True)
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    except OSError:
        return
    try:
        whole = os.write(fd, _head(program, key) + program) == _HEADER + len(program)
        os.close(fd)
        os.rename(temporary, name) if whole else os.unlink(temporary)
    except OSError:
        return


def _path(directory: str, key: str) -> str:
    return f"{directory}/{key}.bpf"


def _head(program: bytes, key: str) -> bytes:
    return _MAGIC + f"{key}\n{sha256_hex(program)}\n".encode("ascii")


def _ours(status: os.stat_result) -> bool:
    return (
        stat.S_ISREG(status.st_mode)
        and status.st_uid in (0, os.geteuid())
        and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    )


def _body(content: bytes, key: str) -> bytes | None:
    program = content[_HEADER:]
    return program if program and content[:_HEADER] == _head(program, key) else None
