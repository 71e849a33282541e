"""Starting jobs from the service's loop: detached, with given descriptors, and a callback at the end.

The loop decides nothing about a job and touches no file of a tenant: the tenant's own process does (`tenant`).
"""

from __future__ import annotations

import _signal
import _socket
import os

from launcher.errors import EnforcementError, RefusedError, SandboxError
from launcher.service import received
from launcher.service.calls import error_from
from launcher.service.launching import new_id
from launcher.service.loop import READ, WRITE
from launcher.service.wire import ClosedError, Connection, WireError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from launcher.enforce.namespace.spec import Identity
    from launcher.identity.acting import Acting
    from launcher.identity.user import User
    from launcher.service.live import Live
    from launcher.service.loop import Loop
    from launcher.service.request import Request
    from launcher.service.wire import Message
    from launcher.service.zygote import Zygote

IDLE = 60.0  # seconds without a job, after which a tenant's processes end
MOST_JOBS = 1000  # of one tenant at a time
_MOST_BACKLOG = 16 << 20  # bytes that wait for a tenant's process to read
_MOST_SIGNALS = 1 << 16  # the same, beyond which signals for its jobs are not kept
MOST_BYTES = 128 << 20  # of what one tenant asks for, over all its jobs that have not ended: it is kept twice
_WORD = 64  # bytes that any text takes in memory beside its characters


class Ended:
    """How a job ended: `result` is that of `Result.to_data()`, or `error` says why nothing was run."""

    __slots__ = ("error", "job", "result")

    def __init__(self, job: str, result: dict[str, Any] | None, error: SandboxError | None) -> None:
        self.job = job
        self.result = result
        self.error = error


class RunningJob:
    """A job that was asked for; `id` is its own. It has ended when `on_end` is called."""

    __slots__ = ("_killed", "_tenant", "acting", "id", "on_end", "on_start", "request", "weight")

    def __init__(self, job: str, request: Request, acting: Acting, tenant: _Tenant) -> None:
        self.id = job
        self.request = request
        self.acting = acting
        self.weight = _weight(request)
        self._tenant = tenant
        self._killed = False
        self.on_end: Callable[[Ended], None] = lambda _ended: None
        self.on_start: Callable[[], None] = lambda: None

    def kill(self) -> None:
        """Ends the job and everything in it. `on_end` is called when that is done."""
        self.signal(_signal.SIGKILL)

    def signal(self, number: int) -> None:
        """Sends the job's main process a signal; SIGKILL ends the whole job, SIGWINCH says that the size of the
        terminal which was passed has changed.
        """
        if self._killed or (number != _signal.SIGKILL and self._tenant.connection.backlog > _MOST_SIGNALS):
            return  # who does not read is not told again: the client says as many as he likes
        self._killed = number == _signal.SIGKILL
        self._tenant.say({"signal": number, "job": self.id})

    def say(self, message: Message, fds: Sequence[int] = ()) -> None:
        """Tells the process that has it."""
        self._tenant.say(message, fds)


def _weight(request: Request) -> int:
    """Bytes of memory that a request takes, nearly."""
    tables = (request.environment, request.inherited, request.limits)
    texts = [
        *request.arguments,
        *request.command,
        *[text for table in tables for pair in table.items() for text in pair],
    ]
    return sum([len(text) + _WORD for text in texts]) + len(request.source or b"")


def _asked(request: Request, acting: Acting) -> Message:
    who = {"user": acting.user.to_data(), "caller": acting.caller.to_data(), "operator": acting.operator}
    data = received.to_data(request)
    if request.source is not None:
        data["source"] = request.source.decode("utf-8", "surrogateescape")
    return {"request": data, "acting": who}


class Jobs:
    """All jobs of the service. `running` are those that have not ended, by id."""

    def __init__(self, loop: Loop, zygote: Zygote, root: str | None, identity: Callable[[User], Identity]) -> None:
        self.loop = loop
        self.zygote = zygote
        self.root = root
        self.identity = identity
        self.running: dict[str, RunningJob] = {}
        self.watcher: Live | None = None  # is told of each launch
        self._tenants: dict[tuple[str, int | None], _Tenant] = {}

    def start(
        self,
        request: Request,
        acting: Acting,
        stdio: tuple[int, int, int] | int,
        on_end: Callable[[Ended], None],
        *,
        job: str = "",
        on_start: Callable[[], None] | None = None,
    ) -> RunningJob:
        """Starts a job with copies of `stdio`, and returns at once; `on_end` is called when it has ended, or could not
        be started, and `on_start` when it is being built. `stdio` may be one socket, on which a client will pass them,
        and its program's (`launches`). `job` is an id that was given before (`new_id`). Raises RefusedError for one too
        many.
        """
        made = self._add(request, acting, on_end, job)
        made.on_start = on_start or made.on_start
        if self.watcher:
            self.watcher.asked(made)
        fds = (stdio,) if isinstance(stdio, int) else stdio
        made.say({"start": made.id, **_asked(request, acting)}, fds)
        return made

    def ask(self, what: str, request: Request, acting: Acting, on_end: Callable[[Ended], None]) -> None:
        """Has the tenant's process answer `check`, `explain` or `plan`; the answer is the result of `on_end`."""
        made = self._add(request, acting, on_end, "")
        made.say({"ask": what, "job": made.id, **_asked(request, acting)})

    def _add(self, request: Request, acting: Acting, on_end: Callable[[Ended], None], job: str) -> RunningJob:
        tenant = self._tenant(acting.user)
        if len(tenant.jobs) >= MOST_JOBS or tenant.connection.backlog > _MOST_BACKLOG:
            raise RefusedError(f"{acting.user.name} has {len(tenant.jobs)} jobs that have not ended", hint="wait")
        made = RunningJob(job or new_id(), request, acting, tenant)
        if tenant.weight + made.weight > MOST_BYTES:
            raise RefusedError(
                f"the arguments and variables of {acting.user.name}'s {len(tenant.jobs)} jobs take too many bytes",
                hint="wait",
            )
        tenant.weight += made.weight
        made.on_end = on_end
        self.running[made.id] = made
        tenant.jobs[made.id] = made
        return made

    def _tenant(self, user: User) -> _Tenant:
        key = (user.name, user.uid)
        if key not in self._tenants:
            self._tenants[key] = _Tenant(self, key, user)
        self._tenants[key].user = user  # as of now: its groups may have changed
        return self._tenants[key]

    def forget(self, key: tuple[str, int | None]) -> None:
        """The process of a tenant is gone."""
        self._tenants.pop(key, None)

    def close(self) -> None:
        """Ends every job without a word: whoever waited for one finds it when the service is back."""
        for tenant in [*self._tenants.values()]:
            tenant.jobs.clear()
            tenant.close()


class _Tenant:
    """One tenant's process, seen from the service."""

    def __init__(self, jobs: Jobs, key: tuple[str, int | None], user: User) -> None:
        jobs.identity(user)  # before there is a process that could not have any
        self._all = jobs
        self._loop = jobs.loop
        self._key = key
        self.user = user
        self.jobs: dict[str, RunningJob] = {}
        self.weight = 0  # of the jobs
        self._used = True
        ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        jobs.zygote.tenant(jobs.root, theirs.fileno())
        theirs.close()
        self.connection = Connection(_socket.socket(fileno=ours.detach()))
        self.connection.socket.setblocking(False)
        self._loop.watch(self.connection.fileno(), self._ready)
        self._loop.at(IDLE, self._idle)

    def say(self, message: Message, fds: Sequence[int] = ()) -> None:
        try:
            self.connection.send(message, fds)
        except ClosedError:
            return  # its end is noticed when it is read
        if self.connection.backlog:
            self._loop.change(self.connection.fileno(), READ | WRITE)

    def _ready(self, events: int) -> None:
        try:
            if events & WRITE and self.connection.flush():
                self._loop.change(self.connection.fileno(), READ)
            while (told := self.connection.receive()) is not None:
                self._told(*told)
        except WireError:
            self.close()

    def _told(self, message: Message, fds: list[int]) -> None:
        if "fork_server" in message:
            self._fork_server(fds[0])
            return
        job = self.jobs.get(message["job"])
        if job is None:
            return
        if "started" in message:
            if self._all.watcher:
                self._all.watcher.started(job)
            job.on_start()
            return
        error = error_from(message["error"]) if "error" in message else None
        self._ended(job, Ended(job.id, message.get("result"), error))

    def _fork_server(self, end: int) -> None:
        """With the ids that the tenant has now: it is asked for where they have changed."""
        try:
            self._all.zygote.fork_server(self._all.identity(self.user), end)
        except SandboxError as error:  # an account that is gone, say: what asks sees that nobody is there
            self._loop.failed(error)
        finally:
            os.close(end)

    def _ended(self, job: RunningJob, ended: Ended) -> None:
        self._used = True
        if self.jobs.pop(job.id, None):
            self.weight -= job.weight
        self._all.running.pop(job.id, None)
        if self._all.watcher:
            self._all.watcher.ended(job, ended)
        job.on_end(ended)

    def _idle(self) -> None:
        if self.jobs or self._used:
            self._used = False
            self._loop.at(IDLE, self._idle)
        else:
            self.close()

    def close(self) -> None:
        """Ends the process and with it its sandboxes; what was running has ended without a result."""
        if not self._loop.watches(self.connection.fileno()):
            return
        self._loop.forget(self.connection.fileno())
        self.connection.close()
        self._all.forget(self._key)
        for job in [*self.jobs.values()]:
            error = EnforcementError("keep", "the process that supervised the job", hint="the service's log says why")
            self._ended(job, Ended(job.id, None, error))
