"""The queue: takes submissions, starts jobs as there is room, and accounts for each of them exactly once.

What is durable when, so that neither kill -9 nor a power cut loses a job or runs one twice:

    submitted   the client is told when its jobs are on disk (`Durable`); before that it may ask again with the same key
    claimed     on disk before the job is started; a claim without a start is undone by the next service
    started     committed before the job's process is made; who finds it counts the job as one that ran
    ended       committed when the job's process has ended; lost in between, the job counts as interrupted

Everything here runs in the service's loop, a bounded piece at a time.
"""

from __future__ import annotations

import json
import sqlite3
from collections import deque
from time import monotonic

from launcher.errors import SandboxError
from launcher.service.jobs import Ended
from launcher.service.queue import states
from launcher.service.queue.admission import Admission
from launcher.service.queue.cancelling import cancel
from launcher.service.queue.chores import SLICE, Chores
from launcher.service.queue.clock import now_ms
from launcher.service.queue.dependencies import ALL, Dependencies
from launcher.service.queue.endings import Ending, ending_of
from launcher.service.queue.model import order_of
from launcher.service.queue.scheduling import Scheduler, Waiting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from launcher.service.queue.admission import Done
    from launcher.service.queue.clock import Loop
    from launcher.service.queue.model import Key, Submission
    from launcher.service.queue.ports import Running, Start, Starter
    from launcher.service.queue.settings import Settings
    from launcher.service.queue.spool import Spool
    from launcher.service.queue.store import Store

_RETRY_DISK = 1.0  # seconds before what the disk refused is tried again


class Active:
    """A job that was claimed, and, once it is started, what runs it."""

    __slots__ = ("attempt", "cancelled", "job", "key", "name", "started", "state", "tenant")

    def __init__(self, waiting: Waiting) -> None:
        self.key = waiting.key
        self.tenant = waiting.tenant
        self.state = states.STARTING
        self.attempt = 0
        self.started = monotonic()
        self.cancelled = False
        self.name = ""
        self.job: Running | None = None


class Queue:
    """`starter` makes the launches; `told` is called with each job that reaches a state for good."""

    def __init__(self, store: Store, spool: Spool, loop: Loop, settings: Settings, starter: Starter) -> None:
        self.store = store
        self.spool = spool
        self.loop = loop
        self.settings = settings
        self.starter = starter
        self.scheduler = Scheduler(settings.capacity, settings.share)
        self.dependencies = Dependencies()
        self.chores = Chores(loop)
        self.admission = Admission(self)
        self.active: dict[Key, Active] = {}
        self.pending: dict[str, int] = {}  # jobs that have not ended, by tenant
        self.told: Callable[[Key, Ending], None] = lambda _key, _ending: None
        self.told_start: Callable[[Key, int], None] = lambda _key, _attempt: None
        self.draining = False
        self._pumping = False
        self._starting: deque[Active] = deque()  # claimed, and on disk

    # -- waiting ------------------------------------------------------------------------------------------------------

    def enqueue(self, key: Key, tenant: str, demand: Sequence[int], priority: int) -> None:
        """A job that is queued may be chosen from now on."""
        jobs, cpus, memory, disk = demand
        self.scheduler.add(Waiting(key, tenant, (jobs, cpus, memory, disk), priority=priority, order=order_of(key)))

    # -- starting -----------------------------------------------------------------------------------------------------

    def pump(self) -> None:
        """Starts what may start, in the next turn of the loop: many ends and submissions share one claim."""
        if not self._pumping:
            self._pumping = True
            self.loop.soon(self._pump)

    def _pump(self) -> None:
        self._pumping = False
        chosen: list[Active] = []
        while not self.draining and len(chosen) < SLICE and (waiting := self.scheduler.next()) is not None:
            chosen.append(Active(waiting))
        if not chosen:
            return
        try:
            with self.store:
                for one in chosen:
                    self.store.move(one.key, states.QUEUED, states.CLAIM)
        except sqlite3.Error:
            self._unchoose(chosen)
            self.loop.at(_RETRY_DISK, self.pump)
            raise
        self.active.update({one.key: one for one in chosen})
        self.starter.durable.after(lambda: self._start_all(chosen))
        if len(chosen) == SLICE:
            self.pump()

    def _unchoose(self, chosen: list[Active]) -> None:
        for one in chosen:
            self.scheduler.end(one.key, 0.0)
            row = self.store.job(one.key)
            if row:
                self.enqueue(one.key, one.tenant, json.loads(row["demand"]), row["priority"])

    def _start_all(self, chosen: list[Active]) -> None:
        """The claims are on disk: one start a turn of the loop."""
        if not self._starting:
            self.loop.soon(self._start_next)
        self._starting.extend(chosen)

    def _start_next(self) -> None:
        one = self._starting.popleft()
        if self._starting:
            self.loop.soon(self._start_next)
        if self.active.get(one.key) is one:
            self._recorded(lambda: self._start(one))

    def _start(self, one: Active) -> None:
        """Starts a claimed job. The start is committed before there is a process that could have effects."""
        row = self.store.job(one.key)
        if row is None:
            raise ValueError(f"the job {one.key} is gone")
        one.attempt = row["attempts"] + 1
        try:
            start = self.starter.prepare(row, self.store.secret(one.key))
            streams = self.spool.open(one.key, one.attempt)
        except (SandboxError, OSError) as error:
            refused = error if isinstance(error, SandboxError) else SandboxError(f"no output file: {error.strerror}")
            self._finish(one, Ending(states.REFUSE, reason=str(refused), exit_code=refused.status))
            return
        try:
            self.store.move(
                one.key,
                states.STARTING,
                states.START,
                attempts=one.attempt,
                started=now_ms(),
                runs=f"{row['runs']} {start.run}".strip(),
                reason="",
            )
            one.state, one.started = states.RUNNING, monotonic()
            self.told_start(one.key, one.attempt)
            self._launch(one, start, streams)
        finally:
            for fd in streams:
                self.starter.close(fd)

    def _launch(self, one: Active, start: Start, streams: tuple[int, int]) -> None:
        try:
            one.job = self.starter.start(start, streams, lambda ended: self._ended(one, ended))
        except (OSError, SandboxError) as error:  # no process, no room: what was recorded as started did not run
            failure = error if isinstance(error, SandboxError) else SandboxError(f"no process: {error.strerror}")
            self._ended(one, Ended(start.run, None, failure))

    # -- ending -------------------------------------------------------------------------------------------------------

    def _ended(self, one: Active, ended: Ended) -> None:
        row = self.store.job(one.key)
        again = row is not None and one.attempt <= row["retries"]
        ending = ending_of(ended, cancelled=one.cancelled, again=again)
        self._recorded(lambda: self._retry(one, ending) if ending.event == states.RETRY else self._finish(one, ending))

    def _retry(self, one: Active, ending: Ending) -> None:
        delay = self.settings.delay(one.attempt)
        due = now_ms() + delay * 1000
        self.store.move(one.key, one.state, states.RETRY, not_before=due, reason=ending.reason)
        self.free(one)
        self.resume_after(delay, one.key)
        self.pump()

    def resume_after(self, seconds: float, key: Key) -> None:
        """A job is held for its next attempt."""
        self.loop.at(seconds, lambda: self._recorded(lambda: self._resume(key)))

    def _resume(self, key: Key) -> None:
        row = self.store.job(key)
        if row is None or row["state"] != states.HELD:
            return  # cancelled meanwhile
        self.store.move(key, states.HELD, states.RELEASE)
        self.enqueue(key, row["tenant"], json.loads(row["demand"]), row["priority"])
        self.pump()

    def _finish(self, one: Active, ending: Ending) -> None:
        spooled = self.spool.size(one.key, one.attempt)
        values: dict[str, Any] = {"exit_code": ending.exit_code, "reason": ending.reason, "spooled": spooled}
        if ending.result is not None:
            values["result"] = json.dumps(ending.result, sort_keys=True)
        self.store.move(one.key, one.state, ending.event, **values)
        self.free(one)
        self.settled(one.key, one.tenant, ending)
        self.pump()

    def free(self, one: Active) -> None:
        """What a job held is there for others."""
        del self.active[one.key]
        self.scheduler.end(one.key, monotonic() - one.started)

    def settled(self, key: Key, tenant: str, ending: Ending) -> None:
        """A job has reached a state for good, and the store has it."""
        self.count(tenant, -1)
        succeeded = ending.event == states.END and ending.exit_code == 0
        released, hopeless = self.dependencies.ended(*key, success=succeeded)
        if self.dependencies.progress(key[0]) is None:
            self.store.finished(key[0])
        for number in released:
            self.release(number)
        for number in hopeless:
            self.skip(number)
        self.told(key, ending)

    def count(self, tenant: str, change: int) -> None:
        """So many more jobs of a tenant have not ended, or fewer."""
        left = self.pending.get(tenant, 0) + change
        if left > 0:
            self.pending[tenant] = left
        else:
            self.pending.pop(tenant, None)

    def release(self, number: int) -> None:
        """The held jobs of a submission may start."""
        self.chores.begin(self._release(number))

    def skip(self, number: int) -> None:
        """The held jobs of a submission wait in vain."""
        self.chores.begin(self._skip(number))

    def _release(self, number: int) -> Iterator[None]:
        for rows in self._held(number):
            with self.store:
                for row in rows:
                    self.store.move((number, row["idx"]), states.HELD, states.RELEASE)
            for row in rows:
                self.enqueue((number, row["idx"]), row["tenant"], json.loads(row["demand"]), row["priority"])
            self.pump()
            yield

    def _skip(self, number: int) -> Iterator[None]:
        for rows in self._held(number):
            ending = Ending(states.SKIP, reason="a job that it needs did not succeed")
            with self.store:
                for row in rows:
                    self.store.move((number, row["idx"]), states.HELD, states.SKIP, reason=ending.reason)
            for row in rows:
                self.settled((number, row["idx"]), row["tenant"], ending)
            yield

    def _held(self, number: int) -> Iterator[list[sqlite3.Row]]:
        after = (number, ALL)
        while rows := self.store.selected([(number, ALL)], after, SLICE):
            after = (number, rows[-1]["idx"])
            held = [row for row in rows if row["state"] == states.HELD]
            if held:
                yield held

    # -- what the disk refuses ----------------------------------------------------------------------------------------

    def _recorded(self, action: Callable[[], None]) -> None:
        """Does what must be recorded; where the disk is full, again and again until it can be."""
        try:
            action()
        except sqlite3.OperationalError:
            self.loop.at(_RETRY_DISK, lambda: self._recorded(action))

    # -- what clients ask for -----------------------------------------------------------------------------------------

    def submit(self, made: Submission, done: Done) -> None:
        """Takes a submission. `done` is called with its number when it is on disk, or with the error that it cannot be
        taken for. Raises RefusedError.
        """
        self.admission.submit(made, done)

    def cancel(self, keys: Sequence[Key], by: str, done: Callable[[int], None]) -> None:
        """Stops the jobs that `keys` select, and calls `done` with how many there were to stop."""
        self.chores.begin(cancel(self, keys, by, done))

    # -- configuration ------------------------------------------------------------------------------------------------

    def configure(self, settings: Settings) -> None:
        """Other settings from now on."""
        self.settings = settings
        self.scheduler.configure(settings.capacity, settings.share)
        self.pump()
