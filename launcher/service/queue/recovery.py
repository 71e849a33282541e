"""What a service does with the queue of the one before it: nothing is lost, and nothing runs twice that may not."""

from __future__ import annotations

import json

from launcher.service.queue import states
from launcher.service.queue.clock import now_ms
from launcher.service.queue.dependencies import Need
from launcher.service.queue.endings import Ending

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sqlite3 import Row

    from launcher.service.queue.queue import Queue

_BOOT = "boot"
# A sandbox ends with its supervisor, within a second: a job is not run again while its last attempt may still end.
_SAFE_MS = 2000
_REASONS = {
    states.UNCLAIM: "",
    states.RETRY: "the service ended while it ran; it is run again",
    states.INTERRUPT: "the service ended while it ran, and it may not be run again",
    states.CANCEL: "cancelled while it ran",
}


class Recovered:
    """How many jobs were found, by what became of them (the events of the table of states)."""

    __slots__ = ("abandoned", "events", "interrupted")

    def __init__(self) -> None:
        self.abandoned = 0  # submissions that were never acknowledged
        self.events: dict[str, int] = {}
        self.interrupted: list[Row] = []

    def __str__(self) -> str:
        parts = [f"{count} {event}" for event, count in sorted(self.events.items())]
        return ", ".join(parts)


def recover(queue: Queue, boot: str) -> Recovered:
    """Takes over what the store has. `boot` is the id of this boot: after another, a claim may have been a start whose
    record did not reach the disk. Raises sqlite3.Error.
    """
    found = Recovered()
    store = queue.store
    same_boot = store.note(_BOOT) in {boot, ""}
    with store:
        found.abandoned = store.abandon()
        store.set_note(_BOOT, boot)
        settled = _take_over(queue, found, same_boot=same_boot)
    _count(queue)
    _close_finished(queue)
    _tie(queue)
    for row in settled:
        found.interrupted.append(row)
        queue.told((row["submission"], row["idx"]), Ending(states.INTERRUPT))
    _resume(queue)
    queue.pump()
    return found


def _take_over(queue: Queue, found: Recovered, *, same_boot: bool) -> list[Row]:
    """Moves what was active; the jobs that ended by it."""
    settled = []
    for row in list(queue.store.in_states(*states.ACTIVE)):
        key = (row["submission"], row["idx"])
        ran = row["attempts"] + int(row["state"] == states.STARTING and not same_boot)
        event = states.recovered(row["state"], same_boot=same_boot, again=ran <= row["retries"])
        if row["cancelled_by"]:
            event = states.CANCEL
        values: dict[str, object] = {"reason": _REASONS[event], "attempts": ran}
        if event == states.RETRY:
            values["not_before"] = now_ms() + _SAFE_MS
        elif states.after(row["state"], event) in states.FINAL:
            values["spooled"] = queue.spool.size(key, row["attempts"])
            settled.append(row)
        queue.store.move(key, row["state"], event, **values)
        found.events[event] = found.events.get(event, 0) + 1
    return settled


def _count(queue: Queue) -> None:
    for number, (tenant, jobs) in queue.store.unfinished_by_submission().items():
        queue.pending[tenant] = queue.pending.get(tenant, 0) + jobs
        queue.dependencies.begin(number, jobs, failed=_failed(queue, number))


def _failed(queue: Queue, number: int) -> bool:
    row = queue.store.submission(number)
    return row is not None and row["failed"] > 0


def _tie(queue: Queue) -> None:
    """Who waits for whom; what ended meanwhile is seen by `_resume`."""
    needs: dict[int, list[Need]] = {}
    for row in queue.store.needs():
        need = Need(row["needs"], row["idx"], any_end=bool(row["any_end"]))
        needs.setdefault(row["submission"], []).append(need)
    for number, wanted in needs.items():
        met = [queue.admission.met(need) for need in wanted]
        if None in met:
            queue.skip(number)
        else:
            queue.dependencies.need(number, [need for need, answer in zip(wanted, met, strict=True) if not answer])


def _close_finished(queue: Queue) -> None:
    """Submissions whose last job ended just before the service did."""
    for number in queue.store.open_submissions():
        if queue.dependencies.progress(number) is None:
            queue.store.finished(number)


def _resume(queue: Queue) -> None:
    released = set()
    for row in list(queue.store.in_states(states.HELD)):
        key = (row["submission"], row["idx"])
        if row["attempts"]:
            queue.resume_after(max(0.0, (row["not_before"] - now_ms()) / 1000), key)
        elif not queue.dependencies.waits(key[0]) and key[0] not in released:
            released.add(key[0])
            queue.release(key[0])
    for row in queue.store.in_states(states.QUEUED):
        queue.enqueue((row["submission"], row["idx"]), row["tenant"], json.loads(row["demand"]), row["priority"])
