"""ptrace(2) as far as an init needs it that looks at every exec of its sandbox, and at nothing else."""

from __future__ import annotations

import os

from launcher.kernel import libc
from launcher.kernel.abi import NR

_CONT = 7
_SEIZE = 0x4206
_LISTEN = 0x4208
_GET_SYSCALL_INFO = 0x420E
_SYSCALL_INFO = 88  # bytes

_O_TRACEFORK = 1 << 1
_O_TRACEVFORK = 1 << 2
_O_TRACECLONE = 1 << 3
_O_TRACEEXEC = 1 << 4
_O_TRACESECCOMP = 1 << 7
_O_EXITKILL = 1 << 20
# Every child is attached before it runs (clone(2) with CLONE_UNTRACED is refused by the filter); an exec stops twice:
# for the filter's SECCOMP_RET_TRACE, and when the new image is in place and has not run. If the tracer dies, all die.
_OPTIONS = _O_TRACEFORK | _O_TRACEVFORK | _O_TRACECLONE | _O_TRACEEXEC | _O_TRACESECCOMP | _O_EXITKILL

EVENT_EXEC = 4
EVENT_SECCOMP = 7
EVENT_STOP = 128
WALL = 0x40000000  # __WALL: wait for threads and children that do not signal with SIGCHLD, too
GROUP_STOPS = frozenset((19, 20, 21, 22))  # SIGSTOP SIGTSTP SIGTTIN SIGTTOU


def _request(request: int, pid: int, data: int = 0) -> None:
    if libc.syscall(NR["ptrace"], request, pid, 0, data) < 0:
        number = libc.errno()
        raise OSError(number, f"ptrace: {os.strerror(number)}", f"process {pid}")


def seize(pid: int) -> None:
    """Attaches to `pid` without stopping it. Raises OSError (EPERM: Yama, or a process that is not dumpable)."""
    _request(_SEIZE, pid, _OPTIONS)


def cont(pid: int, signal: int = 0) -> None:
    """Lets a stopped tracee go on, with `signal` delivered. One that was killed meanwhile is no error."""
    try:
        _request(_CONT, pid, signal)
    except ProcessLookupError:
        return


def listen(pid: int) -> None:
    """Leaves a group-stopped tracee stopped, so that job control works (ptrace(2), PTRACE_LISTEN)."""
    try:
        _request(_LISTEN, pid)
    except ProcessLookupError:
        return


def exec_path(pid: int) -> bytes | None:
    """The path argument of the execve or execveat at whose SECCOMP_RET_TRACE stop `pid` is. Raises OSError.

    PTRACE_GET_SYSCALL_INFO (Linux 5.3): struct ptrace_syscall_info {op, arch, ip, sp, {nr, args[6], ret_data}}.
    """
    from launcher.kernel.pathcalls import BY_NUMBER, read_path

    kept = bytearray(_SYSCALL_INFO)
    area = libc.buffer(kept)
    if libc.syscall(NR["ptrace"], _GET_SYSCALL_INFO, pid, len(kept), libc.address_of(area)) < 0:
        number = libc.errno()
        raise OSError(number, f"ptrace: {os.strerror(number)}", f"process {pid}")
    call = BY_NUMBER.get(int.from_bytes(kept[24:32], "little"))
    if call is None:
        return None
    position = 32 + 8 * call.names[0][1]
    return read_path(pid, int.from_bytes(kept[position : position + 8], "little"))


def event_of(status: int) -> int:
    """The PTRACE_EVENT_* of a wait status, 0 for none."""
    return status >> 16
