"""Group B, from inside: pid 1, the supervisor, other people's processes."""

from __future__ import annotations

import ctypes
import fcntl
import os
import resource
import signal
import struct
import sys
import time

from tests.attack.probes.harness import NR, X32, add, case, in_child, machine_code, outcome, raw, syscalls

PTRACE_PEEKTEXT, PTRACE_ATTACH, PTRACE_SEIZE, PTRACE_TRACEME = 1, 16, 0x4206, 0
PARENT = os.getppid()
HOST_PIDS = (999, 4_000_000)


for _number, _name in ((PTRACE_ATTACH, "attach"), (PTRACE_SEIZE, "seize"), (PTRACE_PEEKTEXT, "peek")):
    syscalls("b24", {f"ptrace/{_name}_pid_1": (_number, 1, 0, 0), f"ptrace/{_name}_parent": (_number, PARENT, 0, 0)})
syscalls("b24", {"ptrace/traceme": (PTRACE_TRACEME, 0, 0, 0), "ptrace/sibling": (PTRACE_ATTACH, os.getpid(), 0, 0)})
add("b24.x32_ptrace", lambda: raw(521 | X32, PTRACE_ATTACH, 1, 0, 0))


def read(path: str) -> str:
    fd = os.open(path, os.O_RDONLY)
    try:
        data = os.read(fd, 100)
    finally:
        os.close(fd)
    return f"read {data!r}" if data.strip(b"\0") else "nothing"


def _iovec() -> ctypes.Array[ctypes.c_char]:
    area = ctypes.create_string_buffer(8)
    return ctypes.create_string_buffer(struct.pack("QQ", ctypes.addressof(area), 8), 16)


for _pid, _who in ((1, "pid_1"), (os.getpid(), "sibling")):
    syscalls("b25", {
        f"process_vm_readv/{_who}": (_pid, _iovec(), 1, _iovec(), 1, 0),
        f"process_vm_writev/{_who}": (_pid, _iovec(), 1, _iovec(), 1, 0),
        f"kcmp/{_who}": (_pid, os.getpid(), 0, 0, 0),
    })  # fmt: skip
    add(f"b25.pidfd_getfd {_who}", raw, "pidfd_getfd", raw("pidfd_open", _pid, 0), 0, 0)
    add(
        f"b25.process_madvise {_who}",
        lambda pid=_pid: raw("process_madvise", raw("pidfd_open", pid, 0), _iovec(), 1, 4, 0),
    )
for _name in ("mem", "maps", "pagemap", "stack", "syscall", "smaps", "io", "auxv", "exe", "cwd", "root", "fdinfo/0"):
    add(f"b25.open /proc/1/{_name}", read, f"/proc/1/{_name}")
add("b25.write /proc/PARENT/mem", lambda: os.close(os.open(f"/proc/{PARENT}/mem", os.O_RDWR)))
add("b25.write /proc/sibling/mem", lambda: os.close(os.open(f"/proc/{os.getppid()}/mem", os.O_RDWR)))


add("b26.environ", lambda: read("/proc/1/environ"))
add("b26.cmdline", lambda: read("/proc/1/cmdline"))
add("b26.descriptors", lambda: str(os.listdir("/proc/1/fd")))
add("b26.map_files", lambda: str(os.listdir("/proc/1/map_files")))


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def signalled(number: int) -> str:
    """Whatever the call says, pid 1 is there and runs afterwards."""
    rows: tuple[tuple[object, ...], ...] = (
        ("kill", 1, number),
        ("tkill", 1, number),
        ("tgkill", 1, 1, number),
        ("rt_sigqueueinfo", 1, number, struct.pack("iii", number, 0, -1) + bytes(116)),
        ("pidfd_send_signal", raw("pidfd_open", 1, 0), number, None, 0),
    )
    for name, *words in rows:
        outcome(lambda name=name, words=words: raw(str(name), *words))  # type: ignore[misc]
    time.sleep(0.02)
    with open("/proc/1/stat", encoding="ascii") as file:
        state = file.read().rpartition(") ")[2][0]
    return "runs on" if alive(1) and state in "SR" else f"state {state}"


for _signal in (signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP, signal.SIGSEGV, signal.SIGHUP, signal.SIGUSR1, 34):
    add(f"b27.signal_{int(_signal)}_to_pid_1", signalled, _signal)


def _own(pid: int) -> str:
    """F_SETOWN to a process of the host names nobody here."""
    reading, _ = os.pipe()
    fcntl.fcntl(reading, fcntl.F_SETOWN, pid)
    return "set to nobody" if fcntl.fcntl(reading, fcntl.F_GETOWN) == 0 else "set"


for _pid in HOST_PIDS:
    add(f"b27b.kill_host_{_pid}", os.kill, _pid, signal.SIGKILL)
    add(f"b28.owner_{_pid}", _own, _pid)


@case("b28b.timer_for_thread_of_pid_1")
def timer_for_pid_1() -> None:
    event = struct.pack("Qiii", 0, signal.SIGKILL, 4, 1) + bytes(44)  # SIGEV_THREAD_ID, tid 1
    raw("timer_create", 0, ctypes.create_string_buffer(event, 64), ctypes.create_string_buffer(8))


@case("b33.priority")
def priority() -> None:
    os.setpriority(os.PRIO_PROCESS, 0, -20)


syscalls("b33", {
    "sched_setscheduler/fifo": (0, 1, struct.pack("i", 1)),
    "sched_setscheduler/rr": (0, 2, struct.pack("i", 1)),
    "sched_setscheduler/deadline": (0, 6, struct.pack("i", 0)),
    "sched_setscheduler/padded": (0, 1 | 1 << 32, struct.pack("i", 1)),
    "ioprio_set/rt": (1, 0, 1 << 13),
    "sched_setattr": (0, struct.pack("IIQiIQQQ", 48, 1, 0, 0, 1, 0, 0, 0), 0),
    "prlimit64/pid_1": (1, 7, struct.pack("QQ", 4, 4), None),
})  # fmt: skip
add("b33b.raise_hard_limit", resource.setrlimit, 7, (1 << 20, 1 << 20))
add("b33b.core_limit", resource.setrlimit, 4, (1 << 20, 1 << 20))
add("b33b.processes_limit", resource.setrlimit, 6, (1 << 20, 1 << 20))


@case("b27c.kill_all")
def kill_all() -> str:
    """kill(-1) reaches only what runs beside it in the job; the last attempt of this file."""
    told = in_child(_kill_all)
    return told if alive(1) else "pid 1 is gone"


def _kill_all() -> str:
    # every process of the job but the caller would die, the reporting one included: so a stopped signal set is used
    try:
        os.kill(-1, 0)
    except ProcessLookupError:
        return "nobody"
    return "own processes"


# -- group E ----------------------------------------------------------------------------------------------------------

DENIED = (
    "mount", "umount2", "ptrace", "bpf", "keyctl", "setns", "unshare", "open_by_handle_at", "io_uring_setup", "add_key",
    "userfaultfd", "perf_event_open", "init_module", "kexec_load", "reboot", "pivot_root", "chroot", "fsopen",
    "process_vm_readv", "memfd_create", "clone3", "getpid",
)  # fmt: skip
for _name in DENIED:
    add(f"e49.x32 {_name}", raw, NR[_name] | X32, 0, 0, 0, 0, 0, 0)
for _number in (512, 515, 520, 521, 529, 534, 545, 547):  # x32's own numbers
    add(f"e49.x32_own {_number}", raw, _number | X32, 0, 0, 0, 0, 0, 0)
    add(f"e49b.x32_without_bit {_number}", raw, _number, 0, 0, 0, 0, 0, 0)


def int80(number: int, first: int = 0) -> bytes:
    """push rbx; mov eax, number; mov ebx, first; xor ecx, ecx; xor edx, edx; int 0x80; pop rbx; ret."""
    return (
        b"\x53\xb8"
        + struct.pack("<I", number)
        + b"\xbb"
        + struct.pack("<I", first)
        + b"\x31\xc9\x31\xd2\xcd\x80\x5b\xc3"
    )


def compatibility_call(number: int) -> str:
    return f"returned {machine_code(int80(number))}"


for _name, _number in (
    ("getpid", 20),
    ("socketcall", 102),
    ("mount", 21),
    ("ptrace", 26),
    ("fork", 2),
    ("execve", 11),
    ("write", 4),
):
    add(f"e50.int80 {_name}", compatibility_call, _number)


@case("e50b.elf32")
def elf32() -> None:
    """A 32-bit image in a directory that the job can write to; the kernel refuses it for its mount, before its class."""
    header = (
        b"\x7fELF\x01\x01\x01"
        + bytes(9)
        + struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, 0x8048054, 52, 0, 0, 52, 32, 1, 0, 0, 0)
    )
    with open("/tmp/elf32", "wb") as file:
        file.write(header + struct.pack("<8I", 1, 0, 0x8048000, 0x8048000, 0x1000, 0x1000, 5, 0x1000) + int80(1))
    os.chmod("/tmp/elf32", 0o755)
    os.execv("/tmp/elf32", ["elf32"])


@case("e50c.vsyscall")
def vsyscall() -> str:
    """mov eax, 39; syscall; ret: by machine code the same verdict as through the C library: getpid is allowed."""
    return "ok" if machine_code(b"\xb8\x27\x00\x00\x00\x0f\x05\xc3") == os.getpid() else "wrong"


syscalls(
    "e51",
    {"io_uring_setup": (8, bytes(120)), "io_uring_enter": (0, 1, 0, 0, None, 0), "io_uring_register": (0, 0, None, 0)},
)

TIOCSTI, TIOCSETD, TIOCLINUX, TIOCCONS = 0x5412, 0x5423, 0x541C, 0x541D
_X = ctypes.create_string_buffer(b"x")
for _name, _call, _words in (
    ("TIOCSTI", "ioctl", (0, TIOCSTI, _X)), ("TIOCSTI_padded", "ioctl", (0, TIOCSTI | 1 << 32, _X)),
    ("TIOCLINUX", "ioctl", (0, TIOCLINUX, _X)), ("TIOCSETD", "ioctl", (0, TIOCSETD | 1 << 63, _X)), ("TIOCCONS", "ioctl", (0, TIOCCONS, 0)),
    ("KDSKBENT", "ioctl", (0, 0x4B47, _X)), ("KDADDIO", "ioctl", (0, 0x4B34, 0)), ("VT_ACTIVATE_padded", "ioctl", (0, 0x5606 | 1 << 33, 1)),
    ("AF_VSOCK", "socket", (40, 1, 0)), ("AF_VSOCK_padded", "socket", (40 | 1 << 32, 1, 0)),
    ("AF_UNIX_padded", "socket", (1 | 1 << 32, 1, 0)), ("SOCK_RAW_padded", "socket", (2, 3 | 1 << 32, 0)),
    ("PR_SET_MM_padded", "prctl", (35 | 1 << 32, 1, 0, 0, 0)), ("PR_SET_MM", "prctl", (35, 1, 0, 0, 0)),
    ("CLONE_NEWUSER_padded", "clone", (0x10000000 | 17 | 1 << 32, 0, 0, 0, 0)),
    ("SHM_EXEC", "shmat", (0, 0, 0o100000)), ("SHM_EXEC_padded", "shmat", (0, 0, 0o100000 | 1 << 32)),
    ("F_NOTIFY_padded", "fcntl", (0, 1026 | 1 << 32, 1)),
    ("PERSONALITY", "personality", (0x0400000,)), ("PERSONALITY_padded", "personality", (0x0400000 | 1 << 32,)),
):  # fmt: skip
    add(f"e52.{_name}", raw, _call, *_words)

syscalls("e53", {
    "clone/untraced": (0x800000 | 17, 0, 0, 0, 0),
    "clone/ptrace": (0x2000 | 17, 0, 0, 0, 0),
    "socketpair/datagram": (1, 2, 0, ctypes.create_string_buffer(8)),
    "socketpair/inet": (2, 1, 0, ctypes.create_string_buffer(8)),
})  # fmt: skip


@case("e56.own_filter_opens_nothing")
def own_filter() -> None:
    """A filter of the job's own that answers ALLOW to everything leaves the stricter answer in force."""
    allow = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0x7FFF0000), 8)
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", 1, ctypes.addressof(allow)), 16)
    raw("seccomp", 1, 0, program)
    raw("unshare", 0x10000000)


add("e56.own_listener", lambda: raw("seccomp", 1, 8, bytes(16)))
add("e56.own_listener_padded", lambda: raw("seccomp", 1, 8 | 1 << 32, bytes(16)))

syscalls("e57", {
    "bpf": (5, bytes(128), 128), "perf_event_open": (bytes(128), 0, -1, -1, 0), "userfaultfd": (1,), "userfaultfd/kernel": (0,),
    "keyctl": (0, -3, 0), "add_key": (b"user\0", b"x\0", b"x", 1, -3), "request_key": (b"user\0", b"x\0", None, 0),
    "init_module": (b"x", 1, b"\0"), "finit_module": (0, b"\0", 0), "delete_module": (b"x\0", 0), "kexec_load": (0, 0, None, 0),
    "kexec_file_load": (0, 0, 0, None, 0), "swapon": (b"/tmp\0", 0), "swapoff": (b"/tmp\0",), "acct": (None,),
    "quotactl": (0, None, 0, None), "quotactl_fd": (0, 0, 0, None), "reboot": (0, 0, 0, None), "iopl": (3,), "ioperm": (0, 1, 1),
    "lookup_dcookie": (0, None, 0), "vmsplice/gift": (1, None, 0, 8), "move_pages": (0, 0, None, None, None, 0),
    "mbind": (0, 0, 0, None, 0, 0), "set_mempolicy": (0, None, 0), "migrate_pages": (0, 0, None, None), "modify_ldt": (0, None, 0),
    "remap_file_pages": (0, 0, 0, 0, 0), "vhangup": (), "sysfs": (3,), "uselib": (b"x\0",), "_sysctl": (None,), "create_module": (b"x\0", 1),
    "settimeofday": (bytes(16), None), "clock_settime": (0, bytes(16)), "adjtimex": (bytes(208),), "clock_adjtime": (0, bytes(208)),
    "cachestat": (0, None, None, 0), "process_mrelease": (0, 0), "syslog": (3, None, 0), "personality/READ_IMPLIES_EXEC": (0x0400000,),
    "prctl/PR_SET_MM": (35, 1, 0, 0, 0), "prctl/PR_SCHED_CORE": (62, 0, 0, 0, 0), "prctl/PR_SET_SYSCALL_USER_DISPATCH": (59, 1, 0, 0, 0),
    "prctl/PR_SET_TIMING": (14, 1), "prctl/PR_CAP_AMBIENT_RAISE": (47, 2, 21, 0, 0),
})  # fmt: skip
for _number in (9999, 337, 400, 500, 511, 548, 700, 100_000, 0x3FFFFFFF):
    add(f"e58.number {_number}", raw, _number, 0, 0, 0, 0, 0, 0)


@case("e59.launcher_state")
def launcher_state() -> str:
    """Nothing of the launcher's: no root directory, policy, audit, filter or journal in view."""
    top = os.path.dirname(os.getcwd())
    seen = [name for name in ("root", "root/policies", "root/policies/test.json") if os.path.exists(f"{top}/{name}")]
    seen += [
        path for path in ("/etc/mlsandbox", "/var/lib/mlsandbox", "/run/mlsandbox", "/.scratch") if os.path.exists(path)
    ]
    return f"seen {seen}" if seen else "none"


assert sys.platform == "linux"
