"""Runs a function in a forked child under a seccomp filter, by the plainest means: ctypes and prctl."""

from __future__ import annotations

import ctypes
import json
import os
import sys
import traceback
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_NO_NEW_PRIVS = 38
SECCOMP_SET_MODE_FILTER = 1
NEW_LISTENER = 8
NR_SECCOMP = {"x86_64": 317, "aarch64": 277}[os.uname().machine]


class SockFprog(ctypes.Structure):
    _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def syscall(number: int, *args: int | bytes | None) -> int:
    """0 or the result; minus the error number on failure."""
    words = [
        ctypes.c_char_p(arg) if isinstance(arg, bytes) else ctypes.c_ulong((arg or 0) & (2**64 - 1)) for arg in args
    ]
    LIBC.syscall.restype = ctypes.c_long
    result = int(LIBC.syscall(ctypes.c_long(number), *words))
    return -ctypes.get_errno() if result == -1 else result


def install(program: bytes, flags: int = 0) -> int:
    LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    prog = SockFprog(len(program) // 8, program)
    LIBC.syscall.restype = ctypes.c_long
    result = int(LIBC.syscall(ctypes.c_long(NR_SECCOMP), SECCOMP_SET_MODE_FILTER, flags, ctypes.byref(prog)))
    if result < 0:
        raise OSError(ctypes.get_errno(), "seccomp")
    return result


def in_child(body: Callable[[], Any], program: bytes | None = None, uid: int | None = None) -> Any:
    """The JSON value that `body` returns in a forked child; a signal that ended the child is returned as `"signal N"`."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(read)
            if uid is not None and os.geteuid() == 0:
                os.setgroups([])
                os.setresgid(uid, uid, uid)
                os.setresuid(uid, uid, uid)
            if program is not None:
                install(program)
            os.write(write, json.dumps(body()).encode())
            os._exit(0)
        except BaseException:
            traceback.print_exc(file=sys.stderr)
            sys.stderr.flush()
            os._exit(70)
    os.close(write)
    with os.fdopen(read, "rb") as file:
        answer = file.read()
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return f"signal {os.WTERMSIG(status)}"
    assert os.WEXITSTATUS(status) == 0, f"the child failed with {os.WEXITSTATUS(status)}"
    return json.loads(answer)
