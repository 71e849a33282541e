"""Inside the job: runs each attempt in a process of its own and prints `id<TAB>what happened`, one line an attempt.

What happened is "ok" (the attack worked), a word that the attempt returned, the name of the errno, or the signal that
ended it. No expectation is known here: the tests on the host hold the lines against what the kernel must do.
Standard library only: this file is copied into the sandbox.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import select
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST = 8.0  # seconds for one attempt
X32 = 0x40000000

# asm/unistd_64.h; a table of the suite's own, so that a wrong number in the product is not repeated here
NR = {
    "read": 0, "open": 2, "mmap": 9, "ioctl": 16, "shmget": 29, "shmat": 30, "getpid": 39, "socket": 41,
    "connect": 42, "sendto": 44, "socketpair": 53, "clone": 56, "fork": 57, "vfork": 58, "execve": 59, "kill": 62,
    "fcntl": 72, "creat": 85, "chmod": 90, "fchmod": 91, "ptrace": 101, "syslog": 103, "mknod": 133,
    "uselib": 134, "personality": 135, "sysfs": 139, "setpriority": 141, "sched_setscheduler": 144, "vhangup": 153,
    "modify_ldt": 154, "pivot_root": 155, "_sysctl": 156, "prctl": 157, "arch_prctl": 158, "adjtimex": 159,
    "chroot": 161, "acct": 163, "settimeofday": 164, "mount": 165, "umount2": 166, "swapon": 167, "swapoff": 168,
    "reboot": 169, "sethostname": 170, "setdomainname": 171, "iopl": 172, "ioperm": 173, "create_module": 174,
    "init_module": 175, "delete_module": 176, "quotactl": 179, "setxattr": 188, "getxattr": 191, "tkill": 200,
    "lookup_dcookie": 212, "remap_file_pages": 216, "timer_create": 222, "clock_settime": 227, "mbind": 237,
    "set_mempolicy": 238, "mq_open": 240, "kexec_load": 246, "add_key": 248, "request_key": 249, "keyctl": 250,
    "ioprio_set": 251, "migrate_pages": 256, "openat": 257, "mknodat": 259, "fchmodat": 268, "unshare": 272,
    "vmsplice": 278, "move_pages": 279, "rt_sigqueueinfo": 129, "tgkill": 234, "perf_event_open": 298, "fanotify_init": 300,
    "prlimit64": 302, "name_to_handle_at": 303, "open_by_handle_at": 304, "clock_adjtime": 305, "sendmmsg": 307,
    "setns": 308, "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312, "finit_module": 313,
    "sched_setattr": 314, "seccomp": 317, "memfd_create": 319, "kexec_file_load": 320, "bpf": 321, "execveat": 322,
    "userfaultfd": 323, "pidfd_send_signal": 424, "io_uring_setup": 425, "io_uring_enter": 426,
    "io_uring_register": 427, "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432,
    "fspick": 433, "pidfd_open": 434, "clone3": 435, "openat2": 437, "pidfd_getfd": 438, "mount_setattr": 442,
    "quotactl_fd": 443, "memfd_secret": 447, "process_mrelease": 448, "process_madvise": 440, "fchmodat2": 452,
    "cachestat": 451, "statmount": 457, "listmount": 458, "mseal": 462, "setxattrat": 463, "open_tree_attr": 467,
}  # fmt: skip

_CHILDREN = {NR["clone"], NR["fork"], NR["vfork"], NR["clone3"]}
_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long
_cases: list[tuple[str, Callable[[], object]]] = []


def raw(number: str | int, *words: object) -> int:
    """The system call; raises OSError. Words are integers, bytes or ctypes buffers."""
    nr = NR[number] if isinstance(number, str) else number
    result = int(_syscall(ctypes.c_long(nr), *[_word(word) for word in words]))
    if result < 0:
        number_of_error = ctypes.get_errno()
        raise OSError(number_of_error, os.strerror(number_of_error))
    if result == 0 and nr & ~X32 in _CHILDREN:
        os._exit(0)  # the child of an attempt that worked
    return result


def _word(word: object) -> object:
    return ctypes.c_ulong(word & (1 << 64) - 1) if isinstance(word, int) else word


def add(name: str, attempt: Callable[..., object], *words: object) -> None:
    """Registers one attempt: a call of `attempt` with `words`."""
    _cases.append((name, lambda: attempt(*words)))


def case(name: str) -> Callable[[Callable[[], object]], Callable[[], object]]:
    """Registers a function as the attempt `name`."""

    def register(attempt: Callable[[], object]) -> Callable[[], object]:
        add(name, attempt)
        return attempt

    return register


def syscalls(prefix: str, rows: dict[str, tuple[object, ...]]) -> None:
    """One attempt a row: system call by name and its words. `name/word` tells two of one call apart."""
    for name, words in rows.items():
        add(f"{prefix}.{name}", raw, name.partition("/")[0], *words)


def opened(path: str, flags: int = os.O_RDONLY) -> None:
    """Opens and closes: what a write would do to the host is not tried."""
    os.close(os.open(path, flags))


def machine_code(code: bytes) -> int:
    """Runs bytes as code of this process, which no `cmd` rule can prevent (kernel-facts 3): what eax holds then."""
    area = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    area.write(code)
    address = ctypes.addressof(ctypes.c_char.from_buffer(area))
    return int(ctypes.CFUNCTYPE(ctypes.c_int)(address)())


def told(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, str(error.errno))


def outcome(attempt: Callable[[], object]) -> str:
    """What came of it, in this process."""
    try:
        result = attempt()
    except OSError as error:
        return told(error)
    except Exception as error:  # the line says it, and the test fails on it
        return f"{type(error).__name__}: {error}"
    return result if isinstance(result, str) else "ok"


def in_child(attempt: Callable[[], object], seconds: float = LONGEST) -> str:
    """What came of it, in a process that may die of it."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        os.write(writing, outcome(attempt).encode()[:4000])
        os._exit(0)
    os.close(writing)
    ready, _, _ = select.select([reading], [], [], seconds)
    text = os.read(reading, 4096).decode("utf-8", "replace") if ready else "timeout"
    os.close(reading)
    if text == "timeout":
        os.kill(pid, signal.SIGKILL)
    status = os.waitpid(pid, 0)[1]
    if not text:
        return signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else f"exit {status >> 8}"
    return text


def main(only: str = "") -> None:
    """Runs every registered attempt whose id begins with one of the words of `only`."""
    for name, attempt in _cases:
        if not only or name.startswith(tuple(only.split(","))):
            line = in_child(attempt).replace("\n", "\\n").replace("\t", " ")
            sys.stdout.write(f"{name}\t{line}\n")
            sys.stdout.flush()
