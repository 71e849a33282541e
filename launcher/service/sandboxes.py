"""The asking side of a fork server: sandboxes whose pid 1 waits, a few of them made ahead.

A request is answered in a millisecond or two, most of it the kernel's. So some are asked for before they are needed;
they hold namespaces, an empty root and no secret, and end when this process ends.
"""

from __future__ import annotations

import _signal
import os
import select

from launcher.enforce.namespace import channel as channels
from launcher.enforce.namespace import handover
from launcher.enforce.namespace.backend import Sandbox
from launcher.errors import EnforcementError
from launcher.kernel import libc
from launcher.service.forkserver import CLONE, CLONED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from launcher.enforce.namespace.backend import Prepared
    from launcher.enforce.namespace.channel import Channel
    from launcher.enforce.namespace.operations import Operation
    from launcher.enforce.namespace.spec import Identity
    from launcher.enforce.result import Result


class Waiting:
    """A sandbox whose pid 1 waits for its spec. `pidfd` becomes readable when all of it has ended."""

    __slots__ = ("built", "control", "pid", "pidfd")

    def __init__(self, pid: int, pidfd: int, control: Channel) -> None:
        self.pid = pid
        self.pidfd = pidfd
        self.control = control
        self.built: Sequence[Operation] = ()  # the steps that it has taken while it waited

    def kill(self) -> None:
        """Ends everything in it; nothing where that has happened."""
        try:
            libc.pidfd_send_signal(self.pidfd, _signal.SIGKILL)
        except ProcessLookupError:
            return

    def close(self) -> None:
        self.control.close()
        os.close(self.pidfd)


class Sandboxes:
    """The sandboxes of one tenant. `fork_server` gives the channel to a new fork server, for the first and each time
    that one has made `renew_after` of them.
    """

    def __init__(self, fork_server: Callable[[], Channel], *, ahead: int, renew_after: int) -> None:
        self._fork_server = fork_server
        self._ahead = ahead
        self._renew_after = renew_after
        self._made = 0
        self._requests: Channel | None = None
        self._asked: list[Channel] = []  # our ends, in the order of the requests that are not answered yet
        self._ready: list[Waiting] = []
        self._common: Sequence[Operation] = ()  # how the last sandbox began
        self._ids: object = None  # those of the last sandbox, and so of the fork server

    def take(self, common: Sequence[Operation] = ()) -> Waiting:
        """A sandbox that waits, and has taken none of another's steps. Raises EnforcementError."""
        while self._ready or self._asked:
            waiting = self._ready.pop(0) if self._ready else self._answer()
            if not waiting.built or _begins(common, waiting.built):
                return waiting
            waiting.close()  # what it shows is not what this one begins with
        self._ask()
        return self._answer()

    def refill(self) -> None:
        """Asks for as many as are to be there ahead, without waiting for them. Raises EnforcementError."""
        while self._asked and self._answered():
            self._ready.append(self._answer())
        for waiting in self._ready:
            if self._common and not waiting.built:
                handover.send_operations(waiting.control, self._common)
                waiting.built = self._common
        while len(self._ready) + len(self._asked) < self._ahead:
            self._ask()

    @property
    def outstanding(self) -> bool:
        """Whether there are some that were asked for and have not been heard of."""
        return bool(self._asked)

    def drop(self) -> None:
        """Ends those that wait: they are of no use for a while."""
        while self._asked:
            self._ready.append(self._answer())
        while self._ready:
            self._ready.pop().close()

    def _ask(self) -> None:
        if self._requests is None or (self._made >= self._renew_after and not self._asked):
            if self._requests:
                self._requests.close()
            self._requests, self._made = self._fork_server(), 0
        ours, theirs = channels.pair()
        try:
            self._requests.send(CLONE, (), (theirs.fileno(),))
        except OSError as error:
            ours.close()
            raise self._lost() from error
        finally:
            theirs.close()
        self._made += 1
        self._asked.append(ours)

    def _answered(self) -> bool:
        poll = select.poll()
        poll.register(self._requests.fileno() if self._requests else -1, select.POLLIN)
        return bool(poll.poll(0))

    def _answer(self) -> Waiting:
        control = self._asked.pop(0)
        kind, values, descriptors = self._requests.receive() if self._requests else ("", (), [])
        if kind == CLONED:
            return Waiting(int(str(values[0])), descriptors[0], control)
        control.close()
        if kind == channels.FAILED:
            step, subject, number, hint = values
            raise EnforcementError(str(step), str(subject), int(str(number)), hint=str(hint))
        raise self._lost()

    def _lost(self) -> EnforcementError:
        """The fork server went away: the next request has a new one."""
        for control in self._asked:
            control.close()
        self._asked.clear()
        if self._requests:
            self._requests.close()
            self._requests = None
        return EnforcementError("reach", "the fork server", hint="launch again; the service's log says why it ended")

    # -- beginning one ------------------------------------------------------------------------------------------------

    def begin(self, sandbox: Sandbox) -> Waiting:
        """Hands the spec over to a pid 1, which builds. Raises EnforcementError."""
        spec, plan = sandbox.spec, sandbox.prepared.plan
        self._become(spec.identity)
        common = plan.operations[: plan.common]
        waiting = self.take(common)
        self._common = self._common if _begins(common, self._common) else common
        doors = sandbox.cgroup.doors() if sandbox.cgroup else []
        try:
            handover.send_spec(waiting.control, spec, spec.operations[len(waiting.built) :], doors)
        except OSError as error:
            waiting.close()
            raise EnforcementError("hand over", "the sandbox's plan", error.errno or 0) from error
        finally:
            for fd in doors:
                os.close(fd)
        sandbox.supervision.begin(waiting.pid, waiting.control, waiting.kill)
        return waiting

    def _become(self, identity: Identity) -> None:
        """Where the tenant's ids are others than before (he was taken out of a group), nothing that has the old ones is
        used: neither what waits nor the fork server.
        """
        ids = (identity.uid, identity.gid, tuple(identity.groups))
        if ids != self._ids and self._ids is not None:
            self.drop()
            if self._requests:
                self._requests.close()
                self._requests = None
        self._ids = ids

    def run(self, prepared: Prepared, result: Result) -> None:
        """A small job of the launcher's own, to its end. Raises SandboxError."""
        sandbox = Sandbox(prepared, result)
        try:
            waiting = self.begin(sandbox)
        except BaseException:
            close(sandbox)
            raise
        supervision = sandbox.supervision
        try:
            while not supervision.over:
                _wait_once(sandbox)
        finally:
            supervision.stop()
            _wait_for(waiting.pidfd)
            supervision.account()
            os.close(waiting.pidfd)
            close(sandbox)


def _begins(operations: Sequence[Operation], beginning: Sequence[Operation]) -> bool:
    return len(beginning) <= len(operations) and all(
        one is other or one.same(other) for one, other in zip(operations, beginning, strict=False)
    )


def close(sandbox: Sandbox) -> None:
    """Frees what a sandbox holds of this process: its streams, what was opened for its view, its control group."""
    sandbox.console.close()
    for operation, name, fd in handover.held((*sandbox.spec.operations, *sandbox.spec.over)):
        os.close(fd)
        setattr(operation, name, -1)
    sandbox.abandon()


def _wait_once(sandbox: Sandbox) -> None:
    supervision = sandbox.supervision
    poll = select.poll()
    for fd, events in supervision.wants().items():
        poll.register(fd, events)
    for fd, _events in poll.poll(supervision.timeout_ms()):
        supervision.ready(fd)
    supervision.check_limits()


def _wait_for(pidfd: int) -> None:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.poll()
