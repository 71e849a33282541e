"""In pid 1: forks the process that becomes the job and puts the last confinement on it, in the order that works.

Session and terminal, limits, Landlock, descriptors, seccomp last, then the image.
"""

from __future__ import annotations

import _signal
import fcntl
import os
import sys

from launcher.enforce.namespace import channel as messages
from launcher.enforce.namespace.build import step
from launcher.enforce.namespace.confine import restrict_files
from launcher.errors import EnforcementError
from launcher.kernel import filter as seccomp
from launcher.kernel import libc, ptrace
from launcher.kernel.abi import (
    PR_SET_DUMPABLE,
    PR_SET_PDEATHSIG,
    RLIMIT_CPU,
    SECCOMP_IOCTL_NOTIF_RECV,
    SECCOMP_IOCTL_NOTIF_SEND,
    SECCOMP_USER_NOTIF_FLAG_CONTINUE,
    SIZEOF_SECCOMP_NOTIF,
    SIZEOF_SECCOMP_NOTIF_RESP,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from launcher.enforce.namespace.channel import Channel
    from launcher.enforce.namespace.spec import Spec

_LOADED = "launcher.runtime.preloaded"
_TIOCSCTTY = 0x540E
_CLOSE_RANGE_CLOEXEC = 4
_UMASK = 0o022
_SIGNALS_TO_RESET = (_signal.SIGPIPE, _signal.SIGXFSZ, _signal.SIGINT)


def start(spec: Spec, control: Channel) -> int:
    """Starts the job; its process id. Raises EnforcementError where the job could not be confined."""
    terminal = _open_terminal(control) if not spec.stdio else -1
    ours, theirs = messages.pair() if spec.exec_once or spec.check or spec.observer else (None, None)
    pid = os.fork()
    if pid == 0:
        _become(spec, control, terminal, theirs)
    if terminal >= 0:
        os.close(terminal)
    if ours and theirs:
        theirs.close()
        if spec.check:
            step("trace", "the job", lambda: _trace(pid, ours), hint=_TRACE_HINT)
        if spec.observer:
            _hand_over_listener(ours, control)
        elif spec.exec_once:
            _allow_first_exec(ours)
        ours.close()
    return pid


_TRACE_HINT = "kernel.yama.ptrace_scope above 1 forbids tracing; exec rules cannot be enforced then"


def _trace(pid: int, ours: Channel) -> None:
    """Becomes the tracer of the job, which waits for it, after it made itself dumpable and before its image starts."""
    kind, _values, _descriptors = ours.receive()
    if kind == "prepared":
        ptrace.seize(pid)
        ours.send("traced")


def _open_terminal(control: Channel) -> int:
    """A pty of the sandbox's own devpts: TIOCSTI and escape sequences have no way to the caller's terminal."""
    master = os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    fcntl.ioctl(master, 0x40045431, (0).to_bytes(4, "little"))  # TIOCSPTLCK: unlock
    number = int.from_bytes(fcntl.ioctl(master, 0x80045430, bytes(4)), "little")  # TIOCGPTN
    slave = os.open(f"/dev/pts/{number}", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    control.send(messages.TERMINAL, (), (master,))
    os.close(master)
    return slave


def _become(spec: Spec, control: Channel, terminal: int, to_init: Channel | None) -> NoReturn:
    try:
        _confine(spec, terminal)
        if spec.check and to_init:
            to_init.send("prepared")
            if to_init.receive()[0] != "traced":
                os._exit(125)
        _install_filter(spec, to_init)
        _execute(spec, control)
    except EnforcementError as error:
        control.send(messages.FAILED, (error.step, error.subject, error.errno, error.hint))
    except OSError as error:
        control.send(messages.FAILED, ("start", spec.path, error.errno or 0, str(error)))
    finally:
        os._exit(125)


def _confine(spec: Spec, terminal: int) -> None:
    os.setsid()
    if terminal >= 0:
        fcntl.ioctl(terminal, _TIOCSCTTY, 0)
    step("arrange", "the job's descriptors", lambda: _arrange_descriptors(spec, terminal))
    for number in _SIGNALS_TO_RESET:
        _signal.signal(number, _signal.SIG_DFL)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
    os.umask(_UMASK)
    libc.prctl(PR_SET_PDEATHSIG, _signal.SIGKILL)
    step("restrict", "the job's files with Landlock", lambda: restrict_files(spec.landlock_abi, spec.rules))
    step("enter", spec.cwd, lambda: os.chdir(spec.cwd))
    libc.prctl(PR_SET_DUMPABLE, 1)
    for limit, value in spec.rlimits:
        step("set", f"resource limit {limit} to {value}", lambda limit=limit, value=value: _rlimit(limit, value))  # type: ignore[misc]


def _rlimit(limit: int, value: int) -> None:
    value = min(value, hard := libc.prlimit(limit)[1])
    # at the soft limit of processor time comes SIGXCPU, which says why; a second later, for who ignores it, SIGKILL
    grace = 1 if limit == RLIMIT_CPU and value != hard else 0
    libc.prlimit(limit, (value, value + grace))


def _arrange_descriptors(spec: Spec, terminal: int) -> None:
    """0, 1, 2 and what is passed at their numbers; everything else closes when the job's image starts."""
    stdio = [(fd, number) for number, fd in enumerate(spec.stdio or (terminal,) * 3)]
    wanted = [*stdio, *spec.passed]
    moved = [(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, messages.FIRST_FREE), number) for fd, number in wanted]
    libc.close_range(3, (1 << 32) - 1, _CLOSE_RANGE_CLOEXEC)
    for fd, number in moved:
        os.dup2(fd, number, inheritable=True)
    # closed now and not at the exec: what follows needs numbers below the job's own limit of open files
    libc.close_range(max(number for _fd, number in moved) + 1, messages.FIRST_FREE - 1)


def _install_filter(spec: Spec, to_init: Channel | None) -> None:
    if not spec.filter:
        return
    if spec.observer and to_init:
        # before the job's own filter, which would refuse it (one listener is all that a process can have)
        listener = seccomp.install_observer(spec.observer.program)
        to_init.send("listener", (), (listener,))
        os.close(listener)
        seccomp.install(spec.filter)
        return
    listener = seccomp.install(spec.filter, listener=spec.exec_once)
    if spec.exec_once and to_init:
        to_init.send("listener", (), (listener,))
        os.close(listener)


def _execute(spec: Spec, control: Channel) -> None:
    if spec.preloaded:
        _run_loaded(spec, *spec.preloaded)
    arguments = [os.fsencode(argument) for argument in spec.arguments]
    environment = {os.fsencode(key): os.fsencode(value) for key, value in spec.environment.items()}
    try:
        os.execve(spec.path, arguments, environment)
    except OSError as error:
        control.send(messages.NOT_STARTED, (error.errno or 0, spec.path))


def _run_loaded(spec: Spec, module: str, library: str) -> NoReturn:
    """Runs what is loaded in this process already. No image starts, so nothing closes by itself: it is closed here,
    before the first line that the job controls is looked at.
    """
    libc.close_range(max([2, *[number for _fd, number in spec.passed]]) + 1, (1 << 32) - 1)
    runtime = sys.modules[_LOADED]
    os._exit(runtime.run(module, library, dict(spec.environment)))


def _hand_over_listener(ours: Channel, control: Channel) -> None:
    """Passes the listener on to the supervisor, whose observer answers from now on, the job's own exec included."""
    kind, _values, descriptors = ours.receive()
    if kind == "listener":
        control.send(messages.LISTENER, (), descriptors)
        os.close(descriptors[0])


def _allow_first_exec(ours: Channel) -> None:
    """Answers the first execve, our own, with CONTINUE and closes the listener: every later one gets ENOSYS.

    The caller of the first is single-threaded trusted code, so CONTINUE has no race (seccomp_unotify(2)).
    """
    kind, _values, descriptors = ours.receive()
    if kind != "listener":
        return
    listener = descriptors[0]
    notification = bytearray(SIZEOF_SECCOMP_NOTIF)
    fcntl.ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, notification)
    answer = bytearray(SIZEOF_SECCOMP_NOTIF_RESP)
    answer[0:8] = notification[0:8]
    answer[20:24] = SECCOMP_USER_NOTIF_FLAG_CONTINUE.to_bytes(4, "little")
    fcntl.ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, answer)
    os.close(listener)
