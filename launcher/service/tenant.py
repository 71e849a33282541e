"""The process that decides and supervises all jobs of one tenant, and touches that tenant's files.

It is trusted, and nobody else's: a mount of the tenant that hangs, a large commit or a flood of output is felt by that
tenant's own jobs alone. One thread, one loop, all jobs; the sandboxes come from the tenant's fork server. When the
service goes away this ends, and with it the channels that every pid 1 of its sandboxes reads the end of.
"""

from __future__ import annotations

import _signal
import _socket
import gc
import os
import sys

from launcher.audit.log import AuditLog
from launcher.enforce.namespace.channel import Channel
from launcher.enforce.namespace.init import close_all_but
from launcher.errors import RefusedError, SandboxError
from launcher.identity.acting import Acting
from launcher.identity.user import User
from launcher.policy import cache
from launcher.policy.paths import Locations
from launcher.service import inspecting, launches, received
from launcher.service.asking import Kept, Served
from launcher.service.calls import error_data
from launcher.service.loop import READ, WRITE, Loop
from launcher.service.request import LONGEST_PROGRAM
from launcher.service.running_job import RunningJob
from launcher.service.sandboxes import Sandboxes
from launcher.service.wire import ClosedError, Connection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

    from launcher.service.request import Request
    from launcher.service.wire import Message

AHEAD = 4  # sandboxes that wait for the next launches
RENEW_AFTER = 2000  # sandboxes of one fork server: then its memory begins anew
_REFILL = 0.005  # seconds until those that were asked for are looked for
IDLE = 30.0  # seconds without a launch, after which none wait
_OBJECTS_BEFORE_COLLECTING = 50_000


def serve(root: str | None, end: int) -> NoReturn:
    """The whole life of the process."""
    close_all_but(0, 1, 2, end)
    gc.set_threshold(_OBJECTS_BEFORE_COLLECTING)
    for number in (_signal.SIGINT, _signal.SIGTERM):
        _signal.signal(number, _signal.SIG_IGN)  # the service says when to end, by closing the connection
    Tenant(root, Connection(_socket.socket(fileno=end))).run()
    os._exit(0)


class Tenant:
    """All jobs of one user. Messages of the service: `{"start": job, ...}`, `{"signal": number, "job": job}`."""

    def __init__(self, root: str | None, service: Connection) -> None:
        self._root = root
        self._service = service
        self._locations = Locations.find(root)
        self._log = AuditLog(self._locations, cache.load(self._locations, strict=True).config)
        self.loop = Loop()
        self.loop.failed = _failed
        self.sandboxes = Sandboxes(self._fork_server, ahead=AHEAD, renew_after=RENEW_AFTER)
        self.jobs: dict[str, RunningJob] = {}
        self._expected: dict[str, _socket.socket] = {}  # on which clients pass the descriptors of their jobs
        self._kept = Kept()
        self._refilling = False
        self._used = False

    def run(self) -> None:
        self._service.socket.setblocking(False)
        self.loop.watch(self._service.fileno(), self._told)
        self.loop.at(IDLE, self._idle)
        self.loop.run()

    # -- the service --------------------------------------------------------------------------------------------------

    def _told(self, events: int) -> None:
        try:
            if events & WRITE:
                self._flush()
            while (received_ := self._service.receive()) is not None:
                self._take(*received_)
        except ClosedError:
            self.loop.stop()

    def _take(self, message: Message, fds: list[int]) -> None:
        if "start" in message:
            self._start(message, fds)
        elif "ask" in message:
            self._answer(message)
        elif "signal" in message:
            self._signal(message["job"], message["signal"])
        else:
            raise AssertionError(f"the service said {sorted(message)}")

    def say(self, message: Message, fds: Sequence[int] = ()) -> None:
        """Tells the service, when it reads."""
        try:
            self._service.send(message, fds)
        except ClosedError:
            self.loop.stop()
            return
        if self._service.backlog:
            self.loop.change(self._service.fileno(), READ | WRITE)

    def _flush(self) -> None:
        if self._service.flush():
            self.loop.change(self._service.fileno(), READ)

    def _fork_server(self) -> Channel:
        """A channel to a new fork server: the service has it forked by the zygote."""
        ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
        self.say({"fork_server": True}, [theirs.fileno()])
        theirs.close()
        return Channel(ours.detach())

    # -- jobs ---------------------------------------------------------------------------------------------------------

    def _start(self, message: Message, fds: list[int]) -> None:
        """Begins one job, or waits for the descriptors that its client passes on the socket that came instead."""
        if len(fds) == 1:
            socket = _socket.socket(fileno=fds[0])
            self._expected[message["start"]] = socket
            self.loop.watch(socket.fileno(), lambda _events: self._passed(message, socket))
        else:
            self._begin(message, fds)

    def _passed(self, message: Message, socket: _socket.socket) -> None:
        job = message["start"]
        fds = launches.take_descriptors(socket)
        self._unexpect(job)
        request = message["request"]
        try:
            launches.check_descriptors(fds, terminal=request["terminal"], program=bool(request["program"]))
        except SandboxError as error:
            self._refuse(job, error, fds)
            return
        self._begin(message, fds)

    def _unexpect(self, job: str) -> bool:
        socket = self._expected.pop(job, None)
        if socket is None:
            return False
        self.loop.forget(socket.fileno())
        socket.close()
        return True

    def _begin(self, message: Message, fds: list[int]) -> None:
        """Decides, plans and begins one job. Everything of it that waits for a file waits here."""
        job = message["start"]
        self._used = True
        try:
            request, served = self._understood(message, job)
            request.stdio = (fds[0], fds[1], fds[2])
            if len(fds) > _STDIO:
                request.source = _program(fds[_STDIO])
            made = RunningJob(self, request, served, fds)
        except SandboxError as error:
            self._refuse(job, error, fds)
            return
        except Exception as error:
            self._refuse(job, _internal(error), fds)
            raise
        self.jobs[job] = made
        self.say({"job": job, "started": True})
        made.sync()
        self._refill_in(0.0)

    def _understood(self, message: Message, job: str) -> tuple[Request, Served]:
        """What was asked for, by whom. Raises UsageError."""
        data = message["request"]
        request = received.from_data(data, self._root)
        if "source" in data:
            request.source = data["source"].encode("utf-8", "surrogateescape")
        acting = message["acting"]
        who = Acting(User.from_data(acting["user"]), User.from_data(acting["caller"]), operator=acting["operator"])
        return request, Served(who, job, self._log, self.sandboxes, self._kept)

    def _answer(self, message: Message) -> None:
        job = message["job"]
        try:
            answer = inspecting.ANSWERS[message["ask"]](*self._understood(message, job))
        except SandboxError as error:
            self._refuse(job, error, [])
            return
        except Exception as error:
            self._refuse(job, _internal(error), [])
            raise
        self.say({"job": job, "result": answer})

    def _signal(self, job: str, number: int) -> None:
        running = self.jobs.get(job)
        if running:
            running.signal(number)
        elif number == _signal.SIGKILL and self._unexpect(job):
            self._refuse(job, RefusedError("the client left before the job started"), [])

    def _refuse(self, job: str, error: SandboxError, fds: list[int]) -> None:
        for fd in fds:
            os.close(fd)
        self.say({"job": job, "error": error_data(error)})

    def ended(self, job: str, outcome: Message) -> None:
        """A job has ended, or could not be run after all."""
        self.jobs.pop(job, None)
        self.say({"job": job, **outcome})

    def _refill(self) -> None:
        """Asks for sandboxes ahead, and comes back for those that are not there yet."""
        self._refilling = False
        try:
            self.sandboxes.refill()
        except SandboxError as error:
            _failed(error)
            return
        if self.sandboxes.outstanding:
            self._refill_in(_REFILL)

    def _refill_in(self, seconds: float) -> None:
        if not self._refilling:
            self._refilling = True
            self.loop.at(seconds, self._refill)

    def _idle(self) -> None:
        if not self._used:
            self.sandboxes.drop()
        self._used = False
        self.loop.at(IDLE, self._idle)


_STDIO = 3


def _program(fd: int) -> bytes:
    """What the program's descriptor holds, from its beginning; one byte more than may be, where it is too long."""
    return os.pread(fd, LONGEST_PROGRAM + 1, 0)


def _internal(error: Exception) -> SandboxError:
    return SandboxError(f"internal error of the service: {type(error).__name__}: {str(error)[:400]}")


def _failed(error: BaseException) -> None:
    import traceback

    sys.stderr.write("mlsandbox service: " + "".join(traceback.format_exception(error)))
    sys.stderr.flush()
