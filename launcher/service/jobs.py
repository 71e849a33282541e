"""Starting jobs from the service's loop: detached, with given descriptors, and a callback at the end.

The loop decides nothing about a job and touches no file of a tenant: a process of its own does, so that a slow disk, a
hanging mount or a long commit of one tenant is felt by that tenant alone.
"""

from __future__ import annotations

import _signal
import _socket
import os

from launcher.errors import EnforcementError, SandboxError
from launcher.kernel import libc
from launcher.kernel.abi import PR_SET_PDEATHSIG
from launcher.service.calls import error_data, error_from
from launcher.service.launching import Launch, new_id
from launcher.service.wire import ClosedError, Connection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

    from launcher.identity.acting import Acting
    from launcher.service.loop import Loop
    from launcher.service.request import Request
    from launcher.service.wire import Message


class Ended:
    """How a job ended: `result` is that of `Result.to_data()`, or `error` says why nothing was run."""

    __slots__ = ("error", "job", "result")

    def __init__(self, job: str, result: dict[str, Any] | None, error: SandboxError | None) -> None:
        self.job = job
        self.result = result
        self.error = error


class RunningJob:
    """A job that was asked for; `id` is its own. It has ended when the callback is called."""

    __slots__ = ("_connection", "_pid", "acting", "id", "on_end", "request")

    def __init__(self, job: str, request: Request, acting: Acting, on_end: Callable[[Ended], None]) -> None:
        self.id = job
        self.request = request
        self.acting = acting
        self.on_end = on_end
        self._pid = -1
        self._connection: Connection | None = None

    def kill(self) -> None:
        """Ends the job and everything in it. The callback is called when that is done."""
        self.signal(_signal.SIGKILL)

    def signal(self, number: int) -> None:
        """Sends the job's main process a signal; SIGKILL ends the whole job."""
        if self._pid > 0:
            os.kill(self._pid, number)

    def begin(self, pid: int, connection: Connection) -> None:
        self._pid, self._connection = pid, connection

    def end(self, loop: Loop) -> Ended:
        """Takes what the job's process said last, and reaps it."""
        assert self._connection  # noqa: S101  for the type checker
        try:
            received_ = self._connection.receive()
        except SandboxError:
            received_ = None
        loop.forget(self._connection.fileno())
        self._connection.close()
        os.waitpid(self._pid, 0)
        self._pid = -1
        message: Message = received_[0] if received_ else {}
        if "result" in message:
            return Ended(self.id, message["result"], None)
        error = error_from(message["error"]) if "error" in message else EnforcementError("keep", "the job's launcher")
        return Ended(self.id, None, error)


class Jobs:
    """All jobs of the service. `running` are those that have not ended, by id."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self.running: dict[str, RunningJob] = {}

    def start(
        self,
        request: Request,
        acting: Acting,
        stdio: tuple[int, int, int],
        on_end: Callable[[Ended], None],
        *,
        job: str = "",
    ) -> RunningJob:
        """Starts a job with copies of `stdio`, and returns at once; `on_end` is called when it has ended, or could not
        be started. `job` is an id that was given before (`new_id`).
        """
        made = RunningJob(job or new_id(), request, acting, on_end)
        ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        pid = os.fork()
        if pid == 0:
            _run(made, stdio, Connection(_socket.socket(fileno=theirs.detach())))
        theirs.close()
        connection = Connection(_socket.socket(fileno=ours.detach()))
        made.begin(pid, connection)
        self.running[made.id] = made
        self._loop.watch(connection.fileno(), lambda _events: self._ended(made))
        return made

    def _ended(self, job: RunningJob) -> None:
        del self.running[job.id]
        job.on_end(job.end(self._loop))


def _run(job: RunningJob, stdio: tuple[int, int, int], connection: Connection) -> NoReturn:
    """The process of one job: the launch itself, its result or error, and nothing else."""
    try:
        libc.prctl(PR_SET_PDEATHSIG, _signal.SIGKILL)
        kept = {*range(3), *stdio, connection.fileno()}
        _close_all_but(kept)
        job.request.stdio = stdio
        connection.send(_outcome(job))
    except ClosedError:
        pass
    finally:
        os._exit(0)


def _outcome(job: RunningJob) -> Message:
    try:
        return {"result": Launch(job.request, job.acting, job.id).run().to_data()}
    except SandboxError as error:
        return {"error": error_data(error)}
    except Exception as error:  # noqa: BLE001  the boundary of this process
        return {"error": error_data(SandboxError(f"internal error: {type(error).__name__}: {error}"))}


def _close_all_but(kept: set[int]) -> None:
    low = 0
    for fd in sorted(kept):
        if fd > low:
            libc.close_range(low, fd - 1)
        low = fd + 1
    libc.close_range(low, (1 << 32) - 1)
