"""One job in the loop of its tenant's process: what it waits for is watched, and its end is an end for good."""

from __future__ import annotations

import os

from launcher.errors import RefusedError, SandboxError
from launcher.service.calls import error_data
from launcher.service.launching import Launch
from launcher.service.loop import READ
from launcher.service.sandboxes import close

TYPE_CHECKING = False
if TYPE_CHECKING:
    from launcher.enforce.namespace.backend import Sandbox
    from launcher.enforce.result import Result
    from launcher.service.asking import Served
    from launcher.service.loop import Timer
    from launcher.service.request import Request
    from launcher.service.tenant import Tenant

_SIGKILL = 9


class RunningJob:
    """Begins one launch. Raises SandboxError where it is refused; later failures are told to the tenant's process."""

    def __init__(self, tenant: Tenant, request: Request, served: Served, fds: list[int]) -> None:
        """`fds` are the caller's, and are closed when the job has ended."""
        self._tenant = tenant
        self._loop = tenant.loop
        self._fds = fds
        self.id = served.job
        self._watched: dict[int, int] = {}
        self._eager: set[int] = set()  # descriptors that cannot be waited for: regular files are always ready
        self._timer: Timer | None = None
        self._error: SandboxError | None = None
        self._gone = False
        self.launch = Launch(request, served)
        self.launch.job.raw = False
        self.sandbox: Sandbox
        self.result: Result
        self._begin()

    def _begin(self) -> None:
        try:
            self.sandbox, self.result = self.launch.sandbox()
            if writer := self.launch.job.writer:
                self.sandbox.console.speak_for(writer.uid, writer.gid)
            try:
                on_disk = self.launch.record_start()
                self._waiting = self._tenant.sandboxes.begin(self.sandbox)
            except BaseException:
                close(self.sandbox)
                raise
        except SandboxError as error:
            self.launch.give_up(error)
            raise
        self._supervision = self.sandbox.supervision
        self._guarded(on_disk)  # while the sandbox is built: it is the start of the job that must wait for it

    # -- what happens -------------------------------------------------------------------------------------------------

    def signal(self, number: int) -> None:
        """A signal for the job; SIGKILL ends all of it."""
        if number != _SIGKILL:
            self._guarded(lambda: self._supervision.signal(number))
        elif self._supervision.building:
            self._fail(RefusedError("the job was cancelled before it started"))
        else:
            self._supervision.cancel()
        self.sync()

    def _ready(self, fd: int) -> None:
        self._guarded(lambda: self._supervision.ready(fd))
        self._guarded(self._supervision.check_limits)
        self.sync()

    def _due(self) -> None:
        self._timer = None
        self._guarded(self._supervision.check_limits)
        self.sync()

    def _guarded(self, action: object) -> None:
        if self._error or self._gone:
            return
        try:
            action()  # type: ignore[operator]
        except SandboxError as error:
            self._fail(error)
        except OSError as error:  # the caller's terminal went away, or was none
            self._fail(SandboxError(f"the job lost its supervision: {error.strerror}"))
        except Exception as error:  # noqa: BLE001  a bug of ours ends the job: nothing runs unsupervised
            self._bug(error)

    def _bug(self, error: Exception) -> None:
        self._loop.failed(error)
        self._fail(SandboxError(f"internal error of the service: {type(error).__name__}: {str(error)[:400]}"))

    def _fail(self, error: SandboxError) -> None:
        self._error = self._error or error

    # -- waiting ------------------------------------------------------------------------------------------------------

    def sync(self) -> None:
        """To be called once it has begun: watches what the job waits for now, or ends it."""
        if self._gone:
            return
        if self._error or self._supervision.over:
            self._stop()
            return
        wanted = self._supervision.wants()
        for fd in [fd for fd in (*self._watched, *self._eager) if fd not in wanted]:
            self._forget(fd)
        for fd, events in wanted.items():
            self._watch(fd, events)
        self._set_timer()

    def _watch(self, fd: int, events: int) -> None:
        if fd in self._eager:
            self._loop.soon(lambda: self._still(fd))
        elif fd not in self._watched:
            try:
                self._loop.watch(fd, lambda _events: self._ready(fd), events)
            except PermissionError:
                self._eager.add(fd)
                self._loop.soon(lambda: self._still(fd))
                return
            self._watched[fd] = events
        elif self._watched[fd] != events:
            self._loop.change(fd, events)
            self._watched[fd] = events

    def _still(self, fd: int) -> None:
        if fd in self._eager and not self._gone:
            self._ready(fd)

    def _forget(self, fd: int) -> None:
        self._eager.discard(fd)
        if self._watched.pop(fd, None) is not None:
            self._loop.forget(fd)

    def _set_timer(self) -> None:
        timeout = self._supervision.timeout_ms()
        if self._timer:
            self._timer.cancel()
        self._timer = None if timeout is None else self._loop.at(timeout / 1000, self._due)

    # -- the end ------------------------------------------------------------------------------------------------------

    def _stop(self) -> None:
        """Ends pid 1 where it has not ended, and waits for it: then every process of the sandbox is gone."""
        self._gone = True
        for fd in [*self._watched, *self._eager]:
            self._forget(fd)
        if self._timer:
            self._timer.cancel()
        self._supervision.stop()
        self._loop.watch(self._waiting.pidfd, self._ended, READ)

    def _ended(self, _events: int) -> None:
        self._loop.forget(self._waiting.pidfd)
        os.close(self._waiting.pidfd)
        try:
            self._supervision.account()
            if self._error:
                self.launch.give_up(self._error)
            else:
                self.launch.finish(self.sandbox, self.result)
        except SandboxError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001  whoever waits for the end is told of one, whatever went wrong
            self._bug(error)
        close(self.sandbox)
        self.launch.close()
        for fd in self._fds:
            os.close(fd)
        outcome = {"error": error_data(self._error)} if self._error else {"result": self.result.to_data()}
        self._tenant.ended(self.id, outcome)
