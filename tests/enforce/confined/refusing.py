"""Runs a command under what Docker's default seccomp profile refuses: no namespaces, no mounts, no keyrings (EPERM).

The kernel answers as it does inside an unprivileged container. `python3 refusing.py CMD...`; x86-64 numbers.
"""

import ctypes
import os
import sys

# unshare setns mount umount2 pivot_root open_tree move_mount fsopen fsconfig fsmount mount_setattr keyctl add_key
REFUSED = (272, 308, 165, 166, 155, 428, 429, 430, 431, 432, 442, 250, 248)
CLONE, CLONE3 = 56, 435
NAMESPACES = 0x7E020000  # CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET
ALLOW, EPERM, ENOSYS = 0x7FFF0000, 0x00050001, 0x00050026


def line(code: int, k: int, yes: int = 0, no: int = 0) -> bytes:
    return code.to_bytes(2, "little") + bytes((yes, no)) + k.to_bytes(4, "little")


def program() -> bytes:
    lines = [line(0x20, 0)]
    for number in REFUSED:
        lines += [line(0x15, number, 0, 1), line(0x06, EPERM)]
    lines += [line(0x15, CLONE3, 0, 1), line(0x06, ENOSYS)]
    lines += [line(0x15, CLONE, 0, 3), line(0x20, 16), line(0x45, NAMESPACES, 0, 1), line(0x06, EPERM)]
    return b"".join([*lines, line(0x06, ALLOW)])


class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def main() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    code = program()
    if libc.prctl(38, 1, 0, 0, 0) or libc.syscall(317, 1, 0, ctypes.byref(Program(len(code) // 8, code))):
        raise OSError(ctypes.get_errno(), "seccomp")
    os.execv(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
