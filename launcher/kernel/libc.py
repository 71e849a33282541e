"""System calls as plain functions with their C names: call, check the return value, raise OSError with the subject.

Bound through `_ctypes` directly: `import ctypes` costs 4.9 ms of CPU at start-up, this module 0.9 ms, and it needs
nothing of what the difference buys. One call costs 0.9 us.
"""

from __future__ import annotations

import _ctypes
import os
from sys import byteorder

from launcher.kernel.abi import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    CAPABILITY_HEADER,
    CLOCK_MONOTONIC,
    FSCONFIG_CMD_CREATE,
    FSCONFIG_SET_FD,
    FSCONFIG_SET_FLAG,
    FSCONFIG_SET_STRING,
    FSMOUNT_CLOEXEC,
    FSOPEN_CLOEXEC,
    MOVE_MOUNT_F_EMPTY_PATH,
    NR,
    OPEN_TREE_CLOEXEC,
    TFD_CLOEXEC,
    TFD_NONBLOCK,
)

_FUNCFLAG_CDECL = 0x1
_FUNCFLAG_PYTHONAPI = 0x4
_FUNCFLAG_USE_ERRNO = 0x8
_RTLD_NOW = 2
_SOCK_CLOEXEC = os.O_CLOEXEC  # <linux/net.h>


class _Word(_ctypes._SimpleCData):  # type: ignore[type-arg]  # noqa: SLF001  what ctypes itself does
    """A machine word: an integer, or the address of a bytes object or buffer."""

    _type_ = "P"


class _Long(_ctypes._SimpleCData):  # type: ignore[type-arg]  # noqa: SLF001
    _type_ = "l"


class _Byte(_ctypes._SimpleCData):  # type: ignore[type-arg]  # noqa: SLF001
    _type_ = "B"


class _Syscall(_ctypes.CFuncPtr):
    _flags_ = _FUNCFLAG_CDECL | _FUNCFLAG_USE_ERRNO
    _restype_ = _Long
    _argtypes_ = (_Word,) * 7


class _SyscallHoldingGil(_ctypes.CFuncPtr):
    """For clone: the child must find the interpreter lock held by itself, so it is not released around the call."""

    _flags_ = _FUNCFLAG_CDECL | _FUNCFLAG_USE_ERRNO | _FUNCFLAG_PYTHONAPI
    _restype_ = _Long
    _argtypes_ = (_Word,) * 7


_address = _ctypes.dlsym(_ctypes.dlopen(None, _RTLD_NOW), "syscall")  # type: ignore[arg-type]  # None is the program itself
_syscall = _Syscall(_address)
_syscall_holding_gil = _SyscallHoldingGil(_address)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Word = int | bytes | object | None


def syscall(number: int, *words: Word) -> int:
    """The raw call with up to six words; returns its result or -1 (see `errno`)."""
    return int(_syscall(number, *words, *(0,) * (6 - len(words))))


def errno() -> int:
    """The error number of the last failed call of this module."""
    return int(_ctypes.get_errno())


def _call(name: str, subject: str, *words: Word) -> int:
    result = int(_syscall(NR[name], *words, *(0,) * (6 - len(words))))
    if result < 0:
        number = _ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}", subject)
    return result


_buffers: dict[int, Any] = {}


def buffer(data: bytearray) -> object:
    """`data` as memory that a system call may write to."""
    if len(data) not in _buffers:  # a class costs more than the call that it is for
        _buffers[len(data)] = type("_Buffer", (_ctypes.Array,), {"_type_": _Byte, "_length_": len(data)})
    return _buffers[len(data)].from_buffer(data)


def address_of(area: object) -> int:
    """Where the memory of a `buffer` is in this process."""
    return int(_ctypes.addressof(area))  # type: ignore[arg-type]


def overwrite_memory(address: int, length: int) -> None:
    """Zeroes `length` bytes of this process at `address` (the argument and environment areas of the stack)."""
    array = type("_Area", (_ctypes.Array,), {"_type_": _Byte, "_length_": length})
    memoryview(array.from_address(address)).cast("B")[:] = bytes(length)  # type: ignore[attr-defined]


def _path(path: str | bytes) -> bytes:
    return os.fsencode(path) + b"\0"


# processes and namespaces


def clone(flags: int) -> int:
    """fork(2) with `flags` (namespaces and the exit signal): 0 in the child, the child's pid in the parent."""
    result = int(_syscall_holding_gil(NR["clone"], flags, 0, 0, 0, 0, 0))
    if result < 0:
        number = _ctypes.get_errno()
        raise OSError(number, f"clone: {os.strerror(number)}", hex(flags))
    return result


def unshare(flags: int) -> None:
    _call("unshare", hex(flags), flags)


def setns(fd: int, nstype: int) -> None:
    _call("setns", f"fd {fd}", fd, nstype)


def prctl(option: int, arg2: Word = 0, arg3: int = 0, arg4: int = 0, arg5: int = 0) -> int:
    return _call("prctl", f"option {option}", option, arg2, arg3, arg4, arg5)


def capset_none() -> None:
    """Gives up every capability of the calling thread: effective, permitted and inheritable."""
    _call("capset", "", CAPABILITY_HEADER, bytes(24))


def keyctl(operation: int, arg2: Word = 0) -> int:
    return _call("keyctl", f"operation {operation}", operation, arg2)


def sethostname(name: bytes) -> None:
    _call("sethostname", os.fsdecode(name), name, len(name))


def setdomainname(name: bytes) -> None:
    _call("setdomainname", os.fsdecode(name), name, len(name))


def pidfd_send_signal(pidfd: int, signal: int) -> None:
    _call("pidfd_send_signal", f"pidfd {pidfd}", pidfd, signal, 0, 0)


def pidfd_getfd(pidfd: int, target: int) -> int:
    return _call("pidfd_getfd", f"fd {target}", pidfd, target, 0)


def close_range(first: int, last: int, flags: int = 0) -> None:
    _call("close_range", f"{first}-{last}", first, last, flags)


def prlimit(limit: int, new: tuple[int, int] | None = None) -> tuple[int, int]:
    """The soft and hard value that resource `limit` of this process had; `new` replaces them."""
    old = bytearray(16)
    wanted = 0 if new is None else b"".join([value.to_bytes(8, "little") for value in new])
    _call("prlimit64", f"limit {limit}", 0, limit, wanted, buffer(old))
    return int.from_bytes(old[:8], "little"), int.from_bytes(old[8:], "little")


def setfsuid(uid: int) -> int:
    """The file system user id of this thread; returns the previous one (setfsuid(2) reports no errors)."""
    return _call("setfsuid", str(uid), uid)


def setfsgid(gid: int) -> int:
    return _call("setfsgid", str(gid), gid)


# time


def timerfd(nanoseconds: int) -> int:
    """A descriptor that can be read each time `nanoseconds` have passed (Python has timerfd_create from 3.13 on)."""
    fd = _call("timerfd_create", "CLOCK_MONOTONIC", CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    # struct itimerspec: the interval, then the first time, as seconds and nanoseconds of a word each
    setting = b"".join(word.to_bytes(8, byteorder) for word in (seconds, rest, seconds, rest))
    _call("timerfd_settime", f"fd {fd}", fd, 0, setting, 0)
    return fd


# sockets, for who does without `_socket`


def socket(family: int, kind: int) -> int:
    """A descriptor of a new socket, close-on-exec."""
    return _call("socket", f"family {family}", family, kind | _SOCK_CLOEXEC, 0)


def socketpair(family: int, kind: int) -> tuple[int, int]:
    """Two connected descriptors, close-on-exec."""
    pair = bytearray(16)
    _call("socketpair", f"family {family}", family, kind | _SOCK_CLOEXEC, 0, buffer(pair))
    return int.from_bytes(pair[:4], "little"), int.from_bytes(pair[4:8], "little")


# files


_hows: dict[tuple[int, int, int], bytes] = {}  # struct open_how: a launch uses four, a hundred times


def openat2(dirfd: int, path: str, flags: int, mode: int = 0, resolve: int = 0) -> int:
    """open(2) relative to `dirfd` with RESOLVE_* restrictions (Linux 5.6). The descriptor is close-on-exec."""
    how = _hows.get((flags, mode, resolve))
    if how is None:
        words = (flags | os.O_CLOEXEC, mode, resolve)
        how = _hows[flags, mode, resolve] = b"".join([word.to_bytes(8, "little") for word in words])
    return _call("openat2", path, dirfd, _path(path), how, len(how))


def renameat2(olddirfd: int, old: str, newdirfd: int, new: str, flags: int) -> None:
    _call("renameat2", f"{old} -> {new}", olddirfd, _path(old), newdirfd, _path(new), flags)


def syncfs(fd: int) -> None:
    _call("syncfs", f"fd {fd}", fd)


def fstatfs(fd: int) -> int:
    """The kind of file system that `fd` is of: the first word of struct statfs, `f_type`."""
    answer = bytearray(256)
    _call("fstatfs", f"fd {fd}", fd, buffer(answer))
    return int.from_bytes(answer[:8], byteorder)


# mounts: the old interface


def mount(source: str, target: str, fstype: str, flags: int, data: str = "") -> None:
    _call("mount", target, _path(source), _path(target), _path(fstype), flags, _path(data))


def umount2(target: str, flags: int) -> None:
    _call("umount2", target, _path(target), flags)


def pivot_root(new_root: str, put_old: str) -> None:
    _call("pivot_root", new_root, _path(new_root), _path(put_old))


# mounts: by descriptor (Linux 5.2; mount_setattr 5.12)


def open_tree(dirfd: int, path: str, flags: int) -> int:
    return _call("open_tree", path, dirfd, _path(path), flags | OPEN_TREE_CLOEXEC)


def move_mount(from_fd: int, to_dirfd: int, to_path: str, flags: int = 0) -> None:
    """Attaches the detached mount `from_fd` at `to_path` below `to_dirfd`."""
    flags |= MOVE_MOUNT_F_EMPTY_PATH
    _call("move_mount", to_path, from_fd, b"\0", to_dirfd, _path(to_path), flags)


def mount_setattr(
    fd: int, flags: int, *, attr_set: int = 0, attr_clr: int = 0, propagation: int = 0, userns_fd: int = 0
) -> None:
    """struct mount_attr applied to the mount behind `fd` (`flags` may be AT_RECURSIVE)."""
    words = (attr_set, attr_clr, propagation, userns_fd)
    attr = b"".join(word.to_bytes(8, "little") for word in words)
    _call("mount_setattr", f"fd {fd}", fd, b"\0", flags | AT_EMPTY_PATH, attr, len(attr))


def fsopen(fstype: str) -> int:
    return _call("fsopen", fstype, _path(fstype), FSOPEN_CLOEXEC)


def fsconfig_string(fd: int, key: str, value: str) -> None:
    _call("fsconfig", f"{key}={value}", fd, FSCONFIG_SET_STRING, _path(key), _path(value), 0)


def fsconfig_flag(fd: int, key: str) -> None:
    _call("fsconfig", key, fd, FSCONFIG_SET_FLAG, _path(key), 0, 0)


def fsconfig_fd(fd: int, key: str, value: int) -> None:
    _call("fsconfig", f"{key}=fd {value}", fd, FSCONFIG_SET_FD, _path(key), 0, value)


def fsconfig_create(fd: int) -> None:
    _call("fsconfig", "create", fd, FSCONFIG_CMD_CREATE, 0, 0, 0)


def fsmount(fd: int, attributes: int) -> int:
    return _call("fsmount", f"fd {fd}", fd, FSMOUNT_CLOEXEC, attributes)


HERE = AT_FDCWD
