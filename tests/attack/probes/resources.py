"""Groups G and H, from inside: floods that must end at a limit, leaks, IPC and time."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import resource
import signal
import socket
import struct
import termios
import threading
import time
from typing import TYPE_CHECKING

from tests.attack.probes.harness import add, case, outcome, raw, syscalls

if TYPE_CHECKING:
    from collections.abc import Callable

MOST = 100_000


def until_refused(make: Callable[[int], object], most: int = MOST) -> str:
    """Calls until the kernel says no; the errno, or how often it said yes."""
    kept = []
    for number in range(most):
        try:
            kept.append(make(number))
        except OSError as error:
            return errno.errorcode.get(error.errno or 0, str(error.errno))
    return f"{most} made"


def forks() -> str:
    """Children that live until the pipe closes."""
    reading, writing = os.pipe()
    children = []
    told = "no end"
    for _ in range(300):
        try:
            pid = os.fork()
        except OSError as error:
            told = errno.errorcode[error.errno or 0]
            break
        if pid == 0:
            os.close(writing)
            os.read(reading, 1)
            os._exit(0)
        children.append(pid)
    os.close(writing)
    for pid in children:
        os.waitpid(pid, 0)
    return told


add("g80.forks", forks)


@case("g80b.threads")
def threads() -> str:
    stop = threading.Event()
    made = []
    try:
        for _ in range(300):
            made.append(threading.Thread(target=stop.wait))
            made[-1].start()
    except RuntimeError:
        return "refused"
    finally:
        stop.set()
    return "no end"


@case("g80c.zombies")
def zombies() -> str:
    """Attack 32: children that nobody reaps."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    return until_refused(lambda _number: os.fork() or os._exit(0), 400)


def fill(directory: str) -> str:
    """Writes at most 300 MiB."""
    path = f"{directory}/fill"
    fd = os.open(path, os.O_CREAT | os.O_WRONLY, 0o600)
    try:
        return until_refused(lambda _number: os.write(fd, bytes(1 << 20)) and None, 300)
    finally:
        os.close(fd)
        os.unlink(path)


def inodes(directory: str) -> str:
    top = f"{directory}/inodes"
    os.mkdir(top)
    try:
        return until_refused(
            lambda number: os.close(os.open(f"{top}/{number}", os.O_CREAT | os.O_WRONLY, 0o600)), 80_000
        )
    finally:
        for name in os.listdir(top):
            os.unlink(f"{top}/{name}")
        os.rmdir(top)


for _directory in ("/tmp", "/dev/shm", "/var/tmp", "out"):
    add(f"g82.fill {_directory}", fill, _directory)
    add(f"g82.inodes {_directory}", inodes, _directory)
for _directory in ("/", "/dev", "/etc", "/home"):
    add(f"g82b.write_to_the_root {_directory}", fill, _directory)

add("g83.duplicates", lambda: until_refused(lambda _number: os.dup(0), 5000))
add("g83.pipes", lambda: until_refused(lambda _number: os.pipe(), 5000))
add("g83.sockets", lambda: until_refused(lambda _number: socket.socket().detach(), 5000))
add("g83b.timers", lambda: until_refused(
    lambda _number: raw("timer_create", 0, None, ctypes.create_string_buffer(8)), 400_000))  # fmt: skip
add(
    "g83b.message_queue",
    lambda: until_refused(lambda number: raw("mq_open", b"q%d\0" % number, 0o102, 0o600, None), 5000),
)
add("g83b.inotify", lambda: until_refused(lambda _number: raw(294, 0), 5000))


@case("g83b.locked_memory")
def _lock_memory() -> str:
    """At most 1 GiB locked, in steps."""
    lock = ctypes.CDLL(None, use_errno=True).mlock
    areas = []
    for _ in range(64):
        areas.append(mmap.mmap(-1, 16 << 20))
        if lock(ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(areas[-1]))), ctypes.c_size_t(16 << 20)):
            return errno.errorcode[ctypes.get_errno()]
    return "1 GiB locked"


@case("g87.long_arguments")
def long_arguments() -> None:
    os.execve("/proc/self/exe", ["x" * (3 << 20)], {})


@case("g87c.link_chain")
def link_chain() -> None:
    for number in range(45):
        os.symlink(f"l{number + 1}", f"/tmp/l{number}")
    os.close(os.open("/tmp/l0", os.O_RDONLY))


@case("g87b.deep_directories")
def deep_directories() -> str:
    """Goes down as far as the limit of files lets it, and the launcher has to clean up."""
    os.chdir("/tmp")

    def deeper(_number: int) -> None:
        os.mkdir("d")
        os.chdir("d")

    return until_refused(deeper, 5000)


# -- H ----------------------------------------------------------------------------------------------------------------

syscalls("h92", {
    "keyctl/read_session": (11, -3, None, 0), "keyctl/get_session": (0, -3, 0), "keyctl/join": (1, None), "keyctl/search": (10, -4, b"user\0", b"x\0", 0),
    "keyctl/link": (8, -4, -3), "keyctl/describe_user": (6, -4, None, 0), "keyctl/session_to_parent": (18,),
    "add_key/user_keyring": (b"user\0", b"mlsandbox\0", b"x", 1, -4), "request_key": (b"user\0", b"mlsandbox\0", None, -4),
})  # fmt: skip
add("h92.find_the_launchers_key", raw, "keyctl", 10, -3, b"user\0", b"mlsandbox-attack\0", 0)
SECRETS = (
    "PROBE_SECRET",
    "AWS_SECRET_ACCESS_KEY",
    "GITHUB_TOKEN",
    "SSH_AUTH_SOCK",
    "LD_PRELOAD",
    "PYTHONPATH",
    "MLSANDBOX_TOKEN",
    "MLSANDBOX_ROOT",
)
add("h93.environment", lambda: ",".join(name for name in SECRETS if name in os.environ) or "none")
add("h93.every_process", lambda: _searched("environ") + _searched("cmdline") or "none")


def _text(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def _searched(name: str) -> str:
    """The canary in what /proc shows of any process in view."""
    found = ""
    for pid in os.listdir("/proc"):
        told = outcome(lambda pid=pid: _text(f"/proc/{pid}/{name}")) if pid.isdigit() else ""  # type: ignore[misc]
        if "canary-of-the-launcher" in told:
            found += f"{pid}/{name} "
    return found


@case("h94.descriptors")
def descriptors() -> str:
    """The test holds secrets open at many numbers; here are only the standard streams and what the probe opened."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        target = outcome(lambda name=name: os.readlink(f"/proc/self/fd/{name}"))  # type: ignore[misc]
        if int(name) > 2 and not target.startswith(("pipe:", "/proc/", "ENOENT")):
            found.append(f"{name}={target}")
    return ",".join(found) or "none"


@case("h95.shared_memory")
def shared_memory() -> str:
    return ",".join(os.listdir("/dev/shm")) or "empty"


@case("h95.system_v")
def system_v() -> str:
    found = []
    for name in ("shm", "sem", "msg"):
        with open(f"/proc/sysvipc/{name}", encoding="ascii") as file:
            found += file.read().splitlines()[1:]
    return f"{len(found)} objects" if found else "empty"


add("h95b.host_segment", lambda: raw("shmget", 0x6D6C7362, 0, 0))
add("h95b.host_queue", lambda: raw("mq_open", b"mlsandbox-attack\0", 0, 0, None))


@case("h96.core_limit")
def core_limit() -> str:
    return str(resource.getrlimit(resource.RLIMIT_CORE))


@case("h96b.abort")
def abort() -> None:
    os.chdir("/tmp")
    os.abort()


@case("h96c.cores")
def cores() -> str:
    return ",".join(name for name in os.listdir("/tmp") if "core" in name) or "none"


@case("h97.identity")
def identity() -> str:
    with open("/etc/passwd", encoding="utf-8") as file:
        users = [line.split(":")[0] for line in file]
    return f"{os.uname().nodename} {len(users)} users"


add("h97.machine_id", _text, "/etc/machine-id")
add("h97.hosts", lambda: str("mlsandbox" in _text("/etc/hosts")))
syscalls("h99", {
    "clock_settime": (0, struct.pack("qq", 1, 0)), "settimeofday": (struct.pack("qq", 1, 0), None), "adjtimex": (struct.pack("I", 1) + bytes(204),),
    "clock_adjtime": (0, struct.pack("I", 1) + bytes(204)),
})  # fmt: skip
add("h99.rtc", lambda: os.close(os.open("/dev/rtc", os.O_RDONLY)))


# -- the terminal (the test starts this part with one) ------------------------------------------------------------------

add("h90.is_a_terminal", lambda: "terminal" if os.isatty(0) else "none")
add("h90.own_number", lambda: os.ttyname(0))
for _name, _request in (("TIOCSTI", termios.TIOCSTI), ("TIOCSETD", 0x5423), ("TIOCCONS", termios.TIOCCONS)):
    add(f"h90b.{_name}", fcntl.ioctl, 0, _request, b"x\0\0\0")
add("h90b.TIOCLINUX", lambda: fcntl.ioctl(0, 0x541C, b"\2"))
add("h90b.TIOCSTI_padded", lambda: raw("ioctl", 0, termios.TIOCSTI | 1 << 32, ctypes.create_string_buffer(b"x")))
add("h90b.TIOCSTI_by_dev_tty", lambda: fcntl.ioctl(os.open("/dev/tty", os.O_RDWR), termios.TIOCSTI, b"x"))
add("h90c.other_terminals", lambda: ",".join(sorted(set(os.listdir("/dev/pts")) - {"ptmx"})) or "none")
assert time.monotonic() > 0
