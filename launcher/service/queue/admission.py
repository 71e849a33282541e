"""Taking submissions: whether there is room, what they wait for, and writing them down before anybody is told."""

from __future__ import annotations

import sqlite3

from launcher.errors import RefusedError, SandboxError
from launcher.service.queue import states
from launcher.service.queue.amounts import RESOURCES
from launcher.service.queue.chores import SLICE
from launcher.service.queue.dependencies import ALL
from launcher.service.queue.endings import succeeded
from launcher.service.queue.model import selected_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from launcher.service.queue.dependencies import Need
    from launcher.service.queue.model import Submission
    from launcher.service.queue.queue import Queue

    Done = Callable[[int, SandboxError | None], None]


class Admission:
    """The way into the queue."""

    __slots__ = ("_inserting", "_queue")

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._inserting: dict[tuple[str, str], list[Done]] = {}  # by tenant and key: who waits for the number

    def submit(self, made: Submission, done: Done) -> None:
        """Takes a submission. `done` is called with its number when it is on disk, or with the error that it cannot be
        taken for. Raises RefusedError.
        """
        under_way = self._inserting.get((made.tenant, made.key))
        if under_way is not None:
            under_way.append(done)
            return
        known = self._queue.store.find(made.tenant, made.key)
        if known is not None:
            self._queue.starter.durable.after(lambda: done(known, None))
            return
        self._check_room(made)
        made.needs = self._open_needs(made)
        self._queue.count(made.tenant, len(made.members))
        self._inserting[made.tenant, made.key] = [done]
        self._queue.chores.begin(self._insert(made))

    def _check_room(self, made: Submission) -> None:
        tenant, jobs = made.tenant, len(made.members)
        most = self._queue.settings.tenant(tenant)["max_queued"] or 0
        mine, all_of_them = self._queue.pending.get(tenant, 0), sum(self._queue.pending.values())
        if mine + jobs > most:
            raise RefusedError(
                f"{tenant} has {mine} jobs in the queue and may have {most}; {jobs} more do not fit",
                hint="wait for some of them, or cancel some; an administrator can raise `max_queued` of the tenant",
            )
        if all_of_them + jobs > self._queue.settings.max_queued:
            raise RefusedError(
                f"the queue is full: {self._queue.settings.max_queued} jobs of all tenants",
                hint="submit again later; an administrator can raise `max_queued` of the queue",
            )
        lacking = self._queue.scheduler.never(tenant, made.demand)
        if lacking:
            amount = made.demand[RESOURCES.index(lacking)]
            raise RefusedError(
                f"the job could never start: it is counted with {amount} of {lacking}, more than {tenant} may hold",
                hint="ask for less with --memory, --cpus or --limit max_disk=SIZE",
            )

    def met(self, need: Need) -> bool | None:
        """Whether what is needed has happened; None where it never can."""
        if need.index == ALL:
            progress = self._queue.dependencies.progress(need.submission)
            row = self._queue.store.submission(need.submission) if progress is None else None
            left, failed = progress or (0, row is None or bool(row["failed"]))
        else:
            row = self._queue.store.job((need.submission, need.index))
            left = int(row is not None and row["state"] not in states.FINAL)
            failed = not left and (row is None or not succeeded(row["state"], row["exit_code"]))
        if failed and not need.any_end:
            return None
        return not left

    def _open_needs(self, made: Submission) -> list[Need]:
        """The needs that are still to be met. Raises RefusedError where one never can be."""
        met = {need: self.met(need) for need in made.needs}
        for need, answer in met.items():
            if answer is None:
                raise RefusedError(
                    f"job {selected_name((need.submission, need.index))} did not succeed, and the new one needs it to",
                    hint="--after-any JOB waits for a job however it ends",
                )
        return [need for need, answer in met.items() if not answer]

    def _insert(self, made: Submission) -> Iterator[None]:
        """Writes the jobs in slices; the submission counts when the last is written."""
        state = states.HELD if made.needs else states.QUEUED
        number, error = self._queue.store.begin(made), None
        for start in range(0, len(made.members), SLICE):
            try:
                part = made.members.part(start, start + SLICE)
                self._queue.store.add(number, made.tenant, state, enumerate(part, start))
            except (SandboxError, sqlite3.Error) as raised:
                error = raised if isinstance(raised, SandboxError) else SandboxError(f"the queue's disk: {raised}")
                break
            if start + SLICE < len(made.members):
                yield
        waiting = self._inserting.pop((made.tenant, made.key))
        if error:
            self._queue.count(made.tenant, -len(made.members))
            self._queue.store.remove(number)
        else:
            self._queue.store.complete(number)
            self._admit(number, made)
        for done in waiting:
            self._queue.starter.durable.after(lambda done=done: done(number, error))  # type: ignore[misc]

    def _admit(self, number: int, made: Submission) -> None:
        self._queue.dependencies.begin(number, len(made.members))
        if not made.needs:
            for index in range(len(made.members)):
                self._queue.enqueue((number, index), made.tenant, made.demand, made.priority)
            self._queue.pump()
            return
        try:  # while the jobs were written, what they need may have ended
            still_open = self._open_needs(made)
        except RefusedError:
            self._queue.skip(number)
            return
        self._queue.dependencies.need(number, still_open)
        if not still_open:
            self._queue.release(number)
