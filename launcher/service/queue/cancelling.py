"""Stopping jobs, whatever state they are in."""

from __future__ import annotations

from launcher.service.queue import states
from launcher.service.queue.chores import SLICE
from launcher.service.queue.dependencies import ALL
from launcher.service.queue.endings import Ending

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from sqlite3 import Row

    from launcher.service.queue.model import Key
    from launcher.service.queue.queue import Queue


def cancel(queue: Queue, keys: Sequence[Key], by: str, done: Callable[[int], None]) -> Iterator[None]:
    """A chore: stops the jobs that `keys` select, and calls `done` with how many there were to stop."""
    after, stopped = (0, ALL), 0
    while rows := queue.store.selected(keys, after, SLICE):
        after = (rows[-1]["submission"], rows[-1]["idx"])
        live = [row for row in rows if row["state"] not in states.FINAL]
        stopped += len(live)
        with queue.store:
            gone = [row for row in live if _cancel_one(queue, row, by)]
        for row in gone:
            queue.settled((row["submission"], row["idx"]), row["tenant"], _cancelled(by))
        yield
    queue.pump()
    done(stopped)


def _cancel_one(queue: Queue, row: Row, by: str) -> bool:
    """Whether the job is gone at once; one that runs is killed, and its end is the end of it."""
    key = (row["submission"], row["idx"])
    one = queue.active.get(key)
    if one is not None and one.state == states.RUNNING:
        one.cancelled = True
        queue.store.set(key, cancelled_by=by)
        if one.job:
            one.job.kill()
        return False
    queue.store.move(key, row["state"], states.CANCEL, cancelled_by=by, reason=_cancelled(by).reason)
    if one is not None:
        queue.free(one)
    queue.scheduler.discard(key, row["tenant"])
    return True


def _cancelled(by: str) -> Ending:
    return Ending(states.CANCEL, reason=f"cancelled by {by}")
