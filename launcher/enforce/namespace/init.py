"""pid 1 of the sandbox: starts the job, forwards signals, reaps, and ends everything when its time has come.

When pid 1 exits the kernel kills every process of the pid namespace at once (pid_namespaces(7)); no process list
is walked. It exits when the job's main process has ended, and when the supervisor is gone (end of file on the
channel). The job cannot kill it: signals from inside reach a namespace's init only where it has a handler.
"""

from __future__ import annotations

import _signal
import os
import select
import sys

from launcher.enforce.namespace import channel as messages
from launcher.enforce.namespace.bounded import full
from launcher.enforce.namespace.build import build, step
from launcher.enforce.namespace.cgroup import enter
from launcher.enforce.namespace.confine import drop_privileges, forget_command_line
from launcher.enforce.namespace.start import start
from launcher.enforce.namespace.tracer import Tracer
from launcher.errors import EnforcementError
from launcher.kernel import libc, ptrace
from launcher.kernel.abi import CLONE_NEWCGROUP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import NoReturn

    from launcher.enforce.namespace.channel import Channel
    from launcher.enforce.namespace.spec import Spec

    Bounded = Sequence[tuple[str, Sequence[str]]]


def run(spec: Spec, control: Channel, doors: Sequence[int] = ()) -> NoReturn:
    """The whole life of pid 1. It only ever exits. `doors` lead into its control groups."""

    def life() -> None:
        step("enter", "the control groups", lambda: enter(doors))
        build(spec, control)
        live(spec, control)

    guarded(life, control)


def live(spec: Spec, control: Channel) -> None:
    """From the complete view to the end of the job. Never returns."""
    job = _begin(spec, control)
    tracer = Tracer(spec.check, control, watched=spec.observer is not None) if spec.check else None
    _serve(job, control, tracer, spec.bounded)


def guarded(life: Callable[[], None], control: Channel, what: str = "the sandbox's init") -> NoReturn:
    """Runs `life` of the process that is called `what`, reports how it failed, and exits."""
    try:
        life()
    except EnforcementError as error:
        control.send(messages.FAILED, (error.step, error.subject, error.errno, error.hint))
    except OSError as error:
        control.send(messages.FAILED, ("run", what, error.errno or 0, str(error)))
    except BaseException as error:  # noqa: BLE001  after fork nothing may return into the parent's stack
        control.send(messages.FAILED, ("run", what, 0, f"{type(error).__name__}: {error}"))
    finally:
        os._exit(125)


def _begin(spec: Spec, control: Channel) -> int:
    control.send(messages.READY)
    kind, _values, _descriptors = control.receive()
    if kind != messages.GO:
        os._exit(0)
    # Only now: the cgroup namespace's root is the cgroup that the process is in at this moment.
    step("unshare", "the cgroup namespace", lambda: libc.unshare(CLONE_NEWCGROUP))
    step("drop", "privileges", drop_privileges)
    step("forget", "the command line", forget_command_line)
    return start(spec, control)


def _serve(job: int, control: Channel, tracer: Tracer | None, bounded: Bounded) -> NoReturn:
    woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    _signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    _signal.signal(_signal.SIGCHLD, lambda *_: None)
    for number in (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP, _signal.SIGQUIT):
        _signal.signal(number, _signal.SIG_IGN)
    close_all_but(control.fileno(), woken, wake, *_code())
    poll = select.poll()
    poll.register(control.fileno(), select.POLLIN)
    poll.register(woken, select.POLLIN)
    while True:
        _reap(job, control, tracer, bounded)
        for fd, _events in poll.poll():
            if fd == woken:
                os.read(woken, 512)
            else:
                _obey(job, control)


def _code() -> list[int]:
    """The descriptors of our own code that is not loaded yet: no file of it is in view here."""
    return [int(finder.fileno()) for finder in sys.meta_path if hasattr(finder, "hold") and hasattr(finder, "fileno")]


def close_all_but(*kept: int) -> None:
    low = 0
    for fd in sorted(kept):
        if fd > low:
            libc.close_range(low, fd - 1)
        low = fd + 1
    libc.close_range(low, (1 << 32) - 1)


def _reap(job: int, control: Channel, tracer: Tracer | None, bounded: Bounded) -> None:
    while True:
        try:
            pid, status, usage = os.wait4(-1, os.WNOHANG | (ptrace.WALL if tracer else 0))
        except ChildProcessError:
            return
        if pid == 0:
            return
        if os.WIFSTOPPED(status & 0xFFFF):
            if tracer:
                tracer.stopped(pid, status)
        elif pid == job:
            user, system = int(usage.ru_utime * 1e6), int(usage.ru_stime * 1e6)
            control.send(messages.ENDED, (status, user, system, usage.ru_maxrss * 1024, *full(bounded)))
            os._exit(0)


def _obey(job: int, control: Channel) -> None:
    kind, values, _descriptors = control.receive()
    if not kind:
        os._exit(0)  # the supervisor is gone
    if kind == messages.SIGNAL:
        try:
            os.killpg(job, int(str(values[0])))
        except ProcessLookupError:
            return
