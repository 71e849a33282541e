"""Landlock (Documentation/userspace-api/landlock.rst): rulesets for what the job may do within what is mounted.

Each right says from which ABI version it exists; `handled` leaves out what the running kernel does not know.
"""

from __future__ import annotations

import os

from launcher.kernel import libc
from launcher.kernel.abi import NR

EXECUTE = 1 << 0  # ABI 1, Linux 5.13
WRITE_FILE = 1 << 1
READ_FILE = 1 << 2
READ_DIR = 1 << 3
REMOVE_DIR = 1 << 4
REMOVE_FILE = 1 << 5
MAKE_CHAR = 1 << 6
MAKE_DIR = 1 << 7
MAKE_REG = 1 << 8
MAKE_SOCK = 1 << 9
MAKE_FIFO = 1 << 10
MAKE_BLOCK = 1 << 11
MAKE_SYM = 1 << 12
REFER = 1 << 13  # ABI 2, Linux 5.19
TRUNCATE = 1 << 14  # ABI 3, Linux 6.2
IOCTL_DEV = 1 << 15  # ABI 5, Linux 6.10

SCOPE_ABSTRACT_UNIX_SOCKET = 1 << 0  # ABI 6, Linux 6.12
SCOPE_SIGNAL = 1 << 1

_CREATE_RULESET_VERSION = 1
_RULE_PATH_BENEATH = 1
_RESTRICT_SELF_LOG_NEW_EXEC_ON = 1 << 1  # ABI 7, Linux 6.15

_FS_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}
READ = READ_FILE | READ_DIR
FILE_RIGHTS = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
"""What a rule on a file (not a directory) may name; the kernel answers EINVAL to anything else."""
SCRATCH = (
    READ
    | WRITE_FILE
    | TRUNCATE
    | REMOVE_DIR
    | REMOVE_FILE
    | MAKE_DIR
    | MAKE_REG
    | MAKE_FIFO
    | MAKE_SYM
    | MAKE_SOCK
    | REFER
)
"""Everything but devices and execution: what a private writable file system gets."""


def abi() -> int:
    """The Landlock ABI version of the running kernel, 0 where there is none."""
    version = libc.syscall(NR["landlock_create_ruleset"], 0, 0, _CREATE_RULESET_VERSION)
    return max(version, 0)


def handled(version: int) -> int:
    """All file system rights that `version` knows."""
    return _FS_RIGHTS[min(version, max(_FS_RIGHTS))]


class Ruleset:
    """A ruleset under construction; `restrict_self` applies it to this thread and all it starts, for good."""

    __slots__ = ("_fd", "_version")

    def __init__(self, version: int) -> None:
        scoped = SCOPE_ABSTRACT_UNIX_SOCKET | SCOPE_SIGNAL if version >= 6 else 0
        attr = b"".join(word.to_bytes(8, "little") for word in (handled(version), 0, scoped))
        size = 24 if version >= 6 else 8
        self._version = version
        self._fd = _checked("landlock_create_ruleset", libc.syscall(NR["landlock_create_ruleset"], attr, size, 0))

    def allow(self, fd: int, rights: int, subject: str = "") -> None:
        """Grants `rights` at and below what `fd` (O_PATH is enough) refers to."""
        # struct landlock_path_beneath_attr is packed: 12 bytes
        attr = (rights & handled(self._version)).to_bytes(8, "little") + fd.to_bytes(4, "little", signed=True)
        result = libc.syscall(NR["landlock_add_rule"], self._fd, _RULE_PATH_BENEATH, attr, 0)
        _checked("landlock_add_rule", result, subject)

    def restrict_self(self) -> None:
        flags = _RESTRICT_SELF_LOG_NEW_EXEC_ON if self._version >= 7 else 0
        _checked("landlock_restrict_self", libc.syscall(NR["landlock_restrict_self"], self._fd, flags))
        os.close(self._fd)
        self._fd = -1


def _checked(name: str, result: int, subject: str = "") -> int:
    if result < 0:
        number = libc.errno()
        raise OSError(number, f"{name}: {os.strerror(number)}", subject)
    return result
