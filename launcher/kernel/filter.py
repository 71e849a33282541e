"""Installs a compiled seccomp filter (seccomp(2)): `program` is an array of struct sock_filter as bytes."""

from __future__ import annotations

import _ctypes
import errno
import os

from launcher.kernel import libc
from launcher.kernel.abi import (
    NR,
    SECCOMP_FILTER_FLAG_NEW_LISTENER,
    SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
    SECCOMP_SET_MODE_FILTER,
)

_SOCK_FILTER = 8


class _Address(_ctypes.Array):  # type: ignore[type-arg]
    _type_ = libc._Byte  # noqa: SLF001  the same package's byte type
    _length_ = 1


def install(program: bytes, *, listener: bool = False) -> int:
    """Confines this thread, and all it starts, to `program`. Needs no_new_privs.

    With `listener` the descriptor that receives SECCOMP_RET_USER_NOTIF is returned, else 0. Raises OSError.
    """
    kept = bytearray(program)
    area = _Address.from_buffer(kept)
    # struct sock_fprog {unsigned short len; struct sock_filter *filter;}
    prog = (len(program) // _SOCK_FILTER).to_bytes(8, "little") + _ctypes.addressof(area).to_bytes(8, "little")
    flags = SECCOMP_FILTER_FLAG_NEW_LISTENER if listener else 0
    result = libc.syscall(NR["seccomp"], SECCOMP_SET_MODE_FILTER, flags, prog)
    return _checked(result, program)


def install_observer(program: bytes) -> int:
    """Adds a filter that reports to the returned descriptor. Raises OSError (EBUSY where there is a listener already).

    Where the kernel can, a call that is being looked at is interrupted by fatal signals only: otherwise a program that
    is sent a signal every few milliseconds (Go's scheduler) would start the same call again and again.
    """
    kept = bytearray(program)
    area = _Address.from_buffer(kept)
    prog = (len(program) // _SOCK_FILTER).to_bytes(8, "little") + _ctypes.addressof(area).to_bytes(8, "little")
    result = -1
    for more in (SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, 0):
        flags = SECCOMP_FILTER_FLAG_NEW_LISTENER | more
        result = libc.syscall(NR["seccomp"], SECCOMP_SET_MODE_FILTER, flags, prog)
        if result >= 0 or libc.errno() != errno.EINVAL:
            break
    return _checked(result, program)


def _checked(result: int, program: bytes) -> int:
    if result < 0:
        number = libc.errno()
        raise OSError(number, f"seccomp: {os.strerror(number)}", f"{len(program)} bytes of filter")
    return result
