"""A queue without a service: a loop whose clock the test moves, jobs that end when the test says so, and crashes.

What is real: the store (SQLite on disk), the scheduler, the queue, its recovery. What is not: time, and the processes.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

from launcher.errors import SandboxError
from launcher.identity.acting import Acting
from launcher.identity.user import User
from launcher.service.jobs import Ended
from launcher.service.queue.model import Array, Submission
from launcher.service.queue.ports import Start
from launcher.service.queue.queue import Queue
from launcher.service.queue.recovery import recover
from launcher.service.queue.settings import Settings
from launcher.service.queue.spool import Spool
from launcher.service.queue.store import Store
from launcher.service.request import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from sqlite3 import Row

    Key = tuple[int, int]


class Crash(BaseException):
    """kill -9, at a commit: nothing catches it."""


class Loop:
    """The loop's interface, turned by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self._soon: list[Callable[[], None]] = []
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = 0

    def watch(self, fd: int, callback: Callable[[int], None], events: int = 1) -> None:
        raise NotImplementedError

    def forget(self, fd: int) -> None:
        raise NotImplementedError

    def at(self, seconds: float, callback: Callable[[], None]) -> object:
        if seconds < 0.05:  # the pieces of a chore
            self.soon(callback)
            return None
        self._sequence += 1
        heappush(self._timers, (self.now + seconds, self._sequence, callback))
        return None

    def soon(self, callback: Callable[[], None]) -> None:
        self._soon.append(callback)

    def settle(self) -> None:
        """Everything that happens without time passing."""
        while self._soon:
            callbacks, self._soon = self._soon, []
            for callback in callbacks:
                callback()

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        while self._timers and self._timers[0][0] <= self.now:
            heappop(self._timers)[2]()
            self.settle()
        self.settle()


class OnDisk:
    """As `Durable`, with a disk that takes one turn of the loop."""

    failure = ""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop

    def after(self, callback: Callable[[], None]) -> None:
        self._loop.soon(callback)


class CrashingStore(Store):
    """Dies at the commit that it is told: before it, or just after it."""

    __slots__ = ("after", "countdown")

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.countdown = -1
        self.after = False

    def __exit__(self, *error: Any) -> None:  # noqa: PYI036  passed on
        if self._depth == 1 and error[0] is None:
            self.countdown -= 1
            if self.countdown == 0 and not self.after:
                super().__exit__(Crash, None, None)
                raise Crash
        super().__exit__(*error)
        if self._depth == 0 and self.countdown == 0 and self.after:
            raise Crash


class Job:
    """A started job of the test."""

    def __init__(self, host: Host, start: Start, key: Key, on_end: Callable[[Ended], None]) -> None:
        self._host = host
        self.start = start
        self.key = key
        self._on_end = on_end

    def end(self, exit_code: int = 0, error: SandboxError | None = None) -> None:
        self._host.running.remove(self)
        result = None if error else {"exit_code": exit_code, "job": self.start.run}
        self._on_end(Ended(self.start.run, result, error))

    def kill(self) -> None:
        self._host.loop.soon(self._killed)

    def _killed(self) -> None:
        if self in self._host.running:
            self.end(137)


class Host:
    """One state directory, and services that come and go over it. `started` counts the starts of each job for good."""

    def __init__(self, directory: str, **configuration: Any) -> None:
        self.directory = directory
        self.configuration = configuration
        self.started: Counter[Key] = Counter()
        self.events: list[tuple[Key, str]] = []
        self.boot = "first"
        self.runs = 0
        self.refuse: SandboxError | None = None
        self.open()

    # -- the service --------------------------------------------------------------------------------------------------

    def open(self) -> None:
        self.loop = Loop()
        self.running: list[Job] = []
        self.store = CrashingStore(f"{self.directory}/queue.db")
        self.durable = OnDisk(self.loop)
        settings = Settings(self.configuration, processors=2)
        self.queue = Queue(self.store, Spool(f"{self.directory}/spool"), self.loop, settings, self)
        self.queue.told = lambda key, ending: self.events.append((key, ending.event))
        self.recovered = recover(self.queue, self.boot)
        self.loop.settle()

    def crash(self, *, reboot: bool = False) -> None:
        """kill -9 and a new service: what was not committed is gone, and so is every job that ran."""
        self.store.countdown = -1
        self.store.close()
        if reboot:
            self.boot += "+"
        self.open()

    # -- the starter --------------------------------------------------------------------------------------------------

    def prepare(self, row: Row, secret: Mapping[str, Any]) -> Start:
        if self.refuse:
            raise self.refuse
        self.runs += 1
        user = User(row["tenant"], uid=1000, method="os")
        request = Request(root=self.directory)
        request.command = json.loads(row["shared"])["command"]
        request.environment = secret.get("environment", {})
        self._key = (row["submission"], row["idx"])
        return Start(f"run-{self.runs}", request, Acting(user, user, operator=False))

    def start(self, start: Start, streams: tuple[int, int], on_end: Callable[[Ended], None]) -> Job:
        self.started[self._key] += 1
        made = Job(self, start, self._key, on_end)
        self.running.append(made)
        return made

    def close(self, fd: int) -> None:
        os.close(fd)

    # -- a client -----------------------------------------------------------------------------------------------------

    def submission(self, jobs: int = 1, tenant: str = "alice", **values: Any) -> Submission:
        settings = self.queue.settings
        demand = values.pop("demand", settings.demand(tenant, {}))
        made = Submission(tenant, {"command": ["true"], "program": ""}, Array(range(jobs)), demand)
        made.caller = made.user = User(tenant, uid=1000, method="os").to_data()
        made.key = values.pop("key", os.urandom(8).hex())
        for name, value in values.items():
            setattr(made, name, value)
        return made

    def submit(self, jobs: int = 1, tenant: str = "alice", **values: Any) -> int:
        """The number of a submission that is on disk. Raises what it is refused with."""
        answers: list[tuple[int, SandboxError | None]] = []
        self.queue.submit(self.submission(jobs, tenant, **values), lambda *answer: answers.append(answer))
        self.loop.settle()
        (number, error), *_ = answers
        if error:
            raise error
        return number

    def cancel(self, *keys: Key) -> int:
        answers: list[int] = []
        self.queue.cancel(keys, "somebody", answers.append)
        self.loop.settle()
        return answers[0]

    def state(self, key: Key) -> str:
        row = self.store.job(key)
        return "" if row is None else str(row["state"])

    def states(self, number: int) -> Counter[str]:
        rows = self.store.selected([(number, -1)], (number, -1), 1 << 20)
        return Counter(row["state"] for row in rows)

    def run_all(self, exit_code: int = 0, limit: int = 100_000) -> None:
        """Until nothing runs and nothing is held for a time."""
        for _ in range(limit):
            self.loop.settle()
            if self.running:
                self.running[0].end(exit_code)
            elif self.loop._timers:
                self.loop.pass_time(400)
            else:
                return
        raise AssertionError("the queue does not come to an end")
