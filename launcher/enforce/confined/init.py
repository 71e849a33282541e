"""The parent of a job without namespaces: starts it, traces its execs, reaps, and ends what is left.

It is a child subreaper, so that what the job leaves behind becomes its child and is killed with it. That is weaker than
the end of a pid namespace: should this process itself be killed, only the job's main process dies with it.
"""

from __future__ import annotations

import _signal
import os
import select
import shutil
import time

from launcher.enforce.namespace import channel as messages
from launcher.enforce.namespace.confine import forget_command_line
from launcher.enforce.namespace.init import guarded
from launcher.enforce.namespace.start import start
from launcher.enforce.namespace.tracer import Tracer
from launcher.errors import EnforcementError
from launcher.kernel import libc, ptrace
from launcher.kernel.abi import KEYCTL_JOIN_SESSION_KEYRING, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from launcher.enforce.namespace.channel import Channel
    from launcher.enforce.namespace.spec import Spec

_ENDING = 5.0  # seconds that a job may go on making processes faster than they are killed


def spawn(spec: Spec, _cgroup: object = None) -> tuple[int, Channel]:
    """Forks the parent of the job; its process id and our end of the channel."""
    if spec.identity.uid == 0:
        raise EnforcementError("run a job as", "host uid 0", hint="give the user a host id, or an id range")
    ours, theirs = messages.pair()
    pid = os.fork()
    if pid == 0:
        ours.close()
        run(spec, theirs)
    theirs.close()
    return pid, ours


def run(spec: Spec, control: Channel) -> NoReturn:
    """The whole life of the job's parent. It only ever exits, and leaves no process of the job."""
    guarded(lambda: _life(spec, control), control, "the job's parent")


def _life(spec: Spec, control: Channel) -> None:
    try:
        _become(spec)
        control.send(messages.READY)
        if control.receive()[0] == messages.GO:
            job = start(spec, control)
            _serve(job, control, Tracer(spec.check, control) if spec.check else None)
    finally:
        _end_all()
        # the supervisor removes it, where it is still there
        shutil.rmtree(spec.environment.get("TMPDIR", ""), ignore_errors=True)


def _become(spec: Spec) -> None:
    os.setsid()
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1)
    if spec.switch_ids:
        os.setgroups(spec.identity.groups)
        os.setresgid(spec.identity.gid, spec.identity.gid, spec.identity.gid)
        os.setresuid(spec.identity.uid, spec.identity.uid, spec.identity.uid)
    libc.capset_none()
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1)
    try:
        libc.keyctl(KEYCTL_JOIN_SESSION_KEYRING)
    except PermissionError:
        pass  # a container's filter refuses keyrings to all of us, the job included
    forget_command_line()


def _serve(job: int, control: Channel, tracer: Tracer | None) -> None:
    """Until the job's main process has ended, or the supervisor is gone or says so."""
    woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    _signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    _signal.signal(_signal.SIGCHLD, lambda *_: None)
    for number in (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP, _signal.SIGQUIT):
        _signal.signal(number, _signal.SIG_IGN)
    for fd in range(3):
        os.close(fd)
    poll = select.poll()
    poll.register(control.fileno(), select.POLLIN)
    poll.register(woken, select.POLLIN)
    while True:
        ended = _reap(job, tracer)
        if ended:
            _end_all()  # before it is told, so that nothing of the job is left when the launcher goes on
            control.send(messages.ENDED, ended)
            os._exit(0)
        for fd, _events in poll.poll():
            if fd == woken:
                os.read(woken, 512)
            elif not _obeyed(job, control):
                return


def _reap(job: int, tracer: Tracer | None) -> tuple[int, int, int, int] | None:
    while True:
        try:
            pid, status, usage = os.wait4(-1, os.WNOHANG | (ptrace.WALL if tracer else 0))
        except ChildProcessError:
            return None
        if pid == 0:
            return None
        if os.WIFSTOPPED(status & 0xFFFF):
            if tracer:
                tracer.stopped(pid, status)
        elif pid == job:
            return status, int(usage.ru_utime * 1e6), int(usage.ru_stime * 1e6), usage.ru_maxrss * 1024


def _obeyed(job: int, control: Channel) -> bool:
    """False at the end: the supervisor is gone, or ends the job."""
    kind, values, _descriptors = control.receive()
    if not kind or (kind == messages.SIGNAL and int(str(values[0])) == _signal.SIGKILL):
        return False
    if kind == messages.SIGNAL:
        try:
            os.killpg(job, int(str(values[0])))
        except ProcessLookupError:
            return True
    return True


def _end_all() -> None:
    """Kills every child until there is none: what a killed process leaves comes to us."""
    until = time.monotonic() + _ENDING
    while time.monotonic() < until:
        for pid in _children():
            try:
                os.kill(pid, _signal.SIGKILL)
            except ProcessLookupError:
                continue
        try:
            while os.waitpid(-1, os.WNOHANG | ptrace.WALL)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.001)


def _children() -> list[int]:
    own = os.getpid()
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    parent = int(file.read().rpartition(b") ")[2].split()[1])
            except (OSError, IndexError, ValueError):
                continue
            if parent == own:
                found.append(int(name))
    return found
