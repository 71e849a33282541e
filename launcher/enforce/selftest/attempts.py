"""Runs inside a job, as `python3 -I -c`: tries what must not work, harmlessly even where it does.

Prints `attack<TAB>name<TAB>what happened`, one line an attempt; "" is "it worked", "-" that the attempt could not be
made here, anything else is what stopped it. Standard library only. Arguments: the port of a listener on the host's
loopback, the name of an abstract socket of the host, and the path of a file of the host that is not granted.
"""

from __future__ import annotations

import errno
import importlib
import mmap
import os
import platform
import select
import signal
import socket
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# by name: this runs inside a job, and the contract that ctypes has one address is about the launcher
ctypes = importlib.import_module("ctypes")
_SECONDS = 5
_X86 = platform.machine() == "x86_64"
# asm/unistd_64.h and, for the rest, the generic table that later architectures share
_NR = (
    {"mount": 165, "chroot": 161, "unshare": 272, "setns": 308, "ptrace": 101, "keyctl": 250, "bpf": 321, "perf": 298,
     "userfaultfd": 323, "io_uring": 425, "memfd": 319, "by_handle": 304, "vm_readv": 310, "clone3": 435, "fsopen": 430,
     "mknod": 133, "sethostname": 170, "swapon": 167, "init_module": 175, "clock_settime": 227}
    if _X86 else
    {"mount": 40, "chroot": 51, "unshare": 97, "setns": 268, "ptrace": 117, "keyctl": 219, "bpf": 280, "perf": 241,
     "userfaultfd": 282, "io_uring": 425, "memfd": 279, "by_handle": 265, "vm_readv": 270, "clone3": 435, "fsopen": 430,
     "sethostname": 161, "swapon": 224, "init_module": 105, "clock_settime": 112}
)  # fmt: skip
_CLONE_NEWUSER, _CLONE_NEWNET, _X32 = 0x10000000, 0x40000000, 0x40000000
_TIOCSTI = 0x5412
_REFUSALS = (errno.EPERM, errno.ENOSYS, errno.EACCES)
_syscall = ctypes.CDLL(None, use_errno=True).syscall


def _call(number: int, *words: object) -> None:
    """Raises where the call is refused. Another error comes from the code behind it: that is reached then."""
    long_words = [ctypes.c_ulong(word & (1 << 64) - 1) if isinstance(word, int) else word for word in words]
    if _syscall(ctypes.c_long(number), *long_words) < 0 and ctypes.get_errno() in _REFUSALS:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _syscalls(names: str, *words: object) -> None:
    for name in names.split():
        if name in _NR:
            _call(_NR[name], *words)


def _open(path: str, flags: int = os.O_RDONLY) -> None:
    os.close(os.open(path, flags))


def _create(path: str) -> None:
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))


def _connect(family: int, address: object) -> None:
    with socket.socket(family) as made:
        made.settimeout(1)
        made.connect(address)  # type: ignore[arg-type]


def _ambient(path: str) -> None:
    """A readable file that is not empty."""
    with open(path, "rb") as file:
        if not file.read(64):
            raise PermissionError(1, "empty")


def _run_copy() -> None:
    copy = "/tmp/selftest-copy"  # noqa: S108  the job's private one
    with open(os.path.realpath(sys.executable), "rb") as source, open(copy, "wb") as target:
        target.write(source.read())
    os.chmod(copy, 0o755)  # noqa: S103  a program
    os.execv(copy, [copy, "-c", "pass"])


def _map_executable() -> None:
    with open("/tmp/selftest-map", "wb+") as file:  # noqa: S108
        file.write(bytes(mmap.PAGESIZE))
        file.flush()
        mmap.mmap(file.fileno(), mmap.PAGESIZE, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_EXEC).close()


def _int80() -> None:
    """getpid as an i386 call from 64-bit code: push rbx; mov eax, 20; int 0x80; pop rbx; ret."""
    if not _X86:
        raise NotImplementedError
    area = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    area.write(b"\x53\xb8\x14\x00\x00\x00\xcd\x80\x5b\xc3")
    ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(area)))()


def _x32() -> None:
    if not _X86:
        raise NotImplementedError
    _call(39 | _X32)


def _host_root_mapped() -> None:
    with open("/proc/self/uid_map", encoding="ascii") as file:
        if file.read().split()[1] != "0":
            raise PermissionError(1, "mapped to another id")


def _inherited() -> None:
    found = [fd for fd in range(3, 1024) if os.path.isdir(f"/proc/self/fd/{fd}/.")]
    if not found:
        raise FileNotFoundError(2, "none")


def _environment() -> None:
    if not any("selftest-canary" in value for value in os.environ.values()):
        raise FileNotFoundError(2, "none")


def _others() -> None:
    if sum(name.isdigit() for name in os.listdir("/proc")) < 6:
        raise FileNotFoundError(2, "only the job's own")


def _core() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (1, 1))


def _forks() -> None:
    """One more process than the limit of this job, all of them waiting for the end of a pipe."""
    reading, writing = os.pipe()
    for _ in range(40):
        if os.fork() == 0:
            os.close(writing)
            os.read(reading, 1)
            os._exit(0)


def _descriptors() -> None:
    for _ in range(2000):
        os.dup(0)


def _fill() -> None:
    with open("/tmp/selftest-fill", "wb") as file:  # noqa: S108
        file.writelines(bytes(1 << 20) for _ in range(64))


def attempts(port: int, abstract: str, secret: str) -> list[tuple[int, str, Callable[[], object]]]:
    """(number of the attack, what is tried, the attempt)."""
    unix = socket.AF_UNIX
    return [
        (1, "read the host's /etc/shadow", lambda: _open("/etc/shadow")),
        (1, "read a file that is not granted", lambda: _open(secret)),
        (2, "write below /usr", lambda: _create("/usr/selftest")),
        (2, "write into a granted tree that is read-only", lambda: _create("in/new")),
        (7, "hard link out of a granted tree", lambda: os.link("in/plain", "out/link")),
        (12, "the root of pid 1", lambda: _open("/proc/1/root/etc/passwd")),
        (13, "open by handle", lambda: _syscalls("by_handle", -1, bytes(16), 0)),
        (14, "directory descriptors of the launcher", _inherited),
        (15, "write the running interpreter", lambda: _open("/proc/self/exe", os.O_RDWR)),
        (16, "an anonymous image", lambda: _syscalls("memfd", b"x\0", 0)),
        (17, "run a copy of a granted program", _run_copy),
        (17, "map a file of one's own as code", _map_executable),
        (18, "make a device node", lambda: os.mknod("/tmp/n", 0o20666, os.makedev(1, 3))),  # noqa: S108
        (18, "open /dev/mem", lambda: _open("/dev/mem")),
        (18, "open /dev/kvm", lambda: _open("/dev/kvm")),
        (19, "make a set-uid file", lambda: os.chmod("out/old", 0o4755)),  # noqa: S103  the attack
        (20, "set an extended attribute", lambda: os.setxattr("out/old", "user.x", b"1")),
        (24, "trace pid 1", lambda: _syscalls("ptrace", 16, 1, 0, 0)),
        (25, "read the memory of pid 1", lambda: _open("/proc/1/mem")),
        (26, "the environment of pid 1", lambda: _ambient("/proc/1/environ")),
        (27, "signal a process of the host", lambda: os.kill(999_999, 0)),
        (33, "raise the priority", lambda: os.setpriority(os.PRIO_PROCESS, 0, -5)),
        (34, "a new user namespace", lambda: _syscalls("unshare", _CLONE_NEWUSER)),
        (34, "clone3, whose flags no filter sees", lambda: _syscalls("clone3", None, 0)),
        (35, "mount", lambda: _syscalls("mount", b"x\0", b"/tmp\0", b"tmpfs\0", 0, None)),
        (36, "chroot", lambda: _syscalls("chroot", b"/tmp\0")),
        (37, "the new mount interface", lambda: _syscalls("fsopen", b"tmpfs\0", 0)),
        (38, "enter a namespace", lambda: _open("/proc/1/ns/net")),
        (40, "set the host name", lambda: _syscalls("sethostname", b"x", 1)),
        (40, "be the host's root", _host_root_mapped),
        (41, "write core_pattern", lambda: _open("/proc/sys/kernel/core_pattern", os.O_WRONLY)),
        (42, "write system settings", lambda: _open("/proc/sys/vm/overcommit_memory", os.O_WRONLY)),
        (43, "addresses of the kernel", lambda: _ambient("/proc/kallsyms")),
        (46, "/sys", lambda: os.listdir("/sys")),
        (47, "write one's own memory by name", lambda: _open("/proc/self/mem", os.O_RDWR)),
        (48, "see other processes", _others),
        (49, "an x32 system call", _x32),
        (50, "an i386 system call", _int80),
        (51, "io_uring", lambda: _syscalls("io_uring", 1, bytes(120))),
        (57, "bpf", lambda: _syscalls("bpf", 5, bytes(128), 128)),
        (57, "performance counters", lambda: _syscalls("perf", bytes(128), 0, -1, -1, 0)),
        (57, "userfaultfd", lambda: _syscalls("userfaultfd", 1)),
        (58, "a number that nobody knows", lambda: _call(9999)),
        (61, "an address of the world", lambda: _connect(socket.AF_INET, ("192.0.2.1", 80))),
        (63, "a service on the host's loopback", lambda: _connect(socket.AF_INET, ("127.0.0.1", port))),
        (64, "the metadata address", lambda: _connect(socket.AF_INET, ("169.254.169.254", 80))),
        (73, "a raw socket", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)),
        (73, "a vsock socket", lambda: socket.socket(40, socket.SOCK_STREAM)),
        (74, "an abstract socket of the host", lambda: _connect(unix, f"\0{abstract}")),
        (80, "more processes than the limit", _forks),
        (82, "fill the private /tmp beyond its limit", _fill),
        (83, "more descriptors than the limit", _descriptors),
        (90, "type into the caller's terminal", lambda: _tiocsti()),  # noqa: PLW0108  defined below
        (92, "the launcher's keyring", lambda: _syscalls("keyctl", 0, -3, 0)),
        (93, "the launcher's environment", _environment),
        (96, "allow core dumps", _core),
        (99, "set the clock", lambda: _syscalls("clock_settime", 0, None)),
    ]


def _tiocsti() -> None:
    import fcntl

    try:
        fcntl.ioctl(0, _TIOCSTI, b" ")
    except OSError as error:
        if error.errno in (*_REFUSALS, errno.EIO):  # EIO: dev.tty.legacy_tiocsti is off
            raise


def _outcome(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except NotImplementedError:
        return "-"
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error) or f"error {getattr(error, 'errno', 0)}"
    return ""


def _in_child(attempt: Callable[[], object]) -> str:
    """What came of it in a process that may die of it; a process that runs another image says so by its exit."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        os.write(writing, b"." + _outcome(attempt).encode()[:500])
        os._exit(0)
    os.close(writing)
    ready, _, _ = select.select([reading], [], [], _SECONDS)
    told = os.read(reading, 512).decode("utf-8", "replace") if ready else ""
    os.close(reading)
    os.kill(pid, signal.SIGKILL)
    status = os.waitpid(pid, 0)[1]
    if told:
        return told[1:].replace("\n", " ").replace("\t", " ")
    return f"killed by signal {os.WTERMSIG(status)}" if ready and os.WIFSIGNALED(status) else ""


def main() -> None:
    port, abstract, secret = sys.argv[1:4]
    with open("in/plain", encoding="ascii") as file:  # what is granted works, else the rest says nothing
        assert file.read() == "granted\n"  # noqa: S101
    with open("out/made", "w", encoding="ascii") as file:
        file.write("by the job")
    os.symlink("/etc/passwd", "out/link")
    for number, name, attempt in attempts(int(port), abstract, secret):
        sys.stdout.write(f"{number}\t{name}\t{_in_child(attempt)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
