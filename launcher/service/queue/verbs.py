"""The verbs of the queue: submit, jobs, results, logs, cancel, wait. Who may see a job: its tenant, and operators.

For anybody else it is not there: that a number exists is no secret, whose it is and what became of it is.
"""

from __future__ import annotations

import os

from launcher.audit.event import event
from launcher.errors import IdentityError, RefusedError, SandboxError, UsageError
from launcher.service.queue import rows, states
from launcher.service.queue.dependencies import ALL
from launcher.service.queue.endings import exit_status
from launcher.service.queue.model import selected_name, selector
from launcher.service.queue.received import flag, integer, keys_of, place, submission_of, words
from launcher.service.queue.watching import ENDED, STARTED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from sqlite3 import Row
    from typing import Any

    from launcher.audit.log import AuditLog
    from launcher.policy.cache import Snapshot
    from launcher.service.calls import Call
    from launcher.service.queue.model import Key, Submission
    from launcher.service.queue.queue import Queue
    from launcher.service.queue.watching import Watching

_PAGE = 100  # rows of one answer: some milliseconds
_MOST_PAGE_BYTES = 1 << 18
_NEWEST = (1 << 60, 0)
_PROGRESS_SECONDS = 0.2
_MOST_SELECTED = 2000  # jobs by name in one message: each is looked up, 10 us in everybody's loop
_MOST_WAITED = 500  # the same, where they are looked up again to be counted


class Verbs:
    """Handlers by name in `table`."""

    def __init__(
        self, queue: Queue, watching: Watching, log: AuditLog, root: str | None, snapshot: Callable[[], Snapshot]
    ) -> None:
        self._queue = queue
        self._watching = watching
        self._log = log
        self._root = root
        self._snapshot = snapshot
        self.table = {
            "submit": self._submit,
            "jobs": self._jobs,
            "results": self._results,
            "logs": self._logs,
            "cancel": self._cancel,
            "wait": self._wait,
        }

    # -- submit -------------------------------------------------------------------------------------------------------

    def _submit(self, call: Call) -> None:
        made = submission_of(call.message, call.acting, self._queue.settings, self._root)
        if self._queue.draining:
            raise RefusedError("the service is being drained", hint="submit again when it is up again")
        if not self._snapshot().policies_for(call.acting.user):
            raise RefusedError(
                f"no policy applies to {made.tenant}",
                hint=f"an administrator can run: mlsandbox admin grant POLICY --user {made.tenant}",
            )
        for need in made.needs:
            self._find(call, (need.submission, need.index))

        def done(number: int, error: SandboxError | None) -> None:
            failure = self._queue.starter.durable.failure
            if error or failure:
                call.fail(error or SandboxError(f"the submission may be lost: {failure}", hint="see that disk"))
                return
            call.reply({"submission": number, "jobs": len(made.members)})

        self._queue.submit(made, done)
        self._record(call, "job.submitted", made)

    def _record(self, call: Call, name: str, made: Submission) -> None:
        words_ = [made.request.get("program") or "", *made.request.get("command", ())]
        detail: dict[str, object] = {"jobs": len(made.members), "name": made.name, "priority": made.priority}
        resource = next((word for word in words_ if word), "")
        said = event(
            name, "service", user=made.tenant, actor=call.acting.caller.name, resource=resource, detail=detail
        )  # fmt: skip
        self._log.append([said], sync=False)

    # -- looking ------------------------------------------------------------------------------------------------------

    def _find(self, call: Call, key: Key) -> Row:
        """The submission, where the caller may see it. Raises UsageError."""
        row = self._queue.store.submission(key[0])
        hidden = row is None or not (call.acting.operator or row["tenant"] == call.acting.user.name)
        if row is None or hidden or (key[1] != ALL and key[1] >= row["jobs"]):
            raise UsageError(f"there is no job {selected_name(key)}", hint="`mlsandbox jobs` lists yours")
        return row

    def _selected(self, call: Call, most: int = _MOST_SELECTED) -> list[Key]:
        keys = keys_of(call.message, most)
        jobs: dict[int, int] = {}  # how many each submission has that was found: many may be of one
        for key in keys:
            if key[1] >= jobs.get(key[0], 0) or key[0] not in jobs:
                jobs[key[0]] = self._find(call, key)["jobs"]
        return keys

    def _jobs(self, call: Call) -> None:
        """A page of jobs: those that are named, in order, or all that may be seen, newest first."""
        limit = integer(call.message, "limit", 1, _PAGE, _PAGE)
        wanted = words(call.message, "states", states.STATES)
        if "jobs" in call.message:
            after = place(call.message, "after", (0, ALL))
            found = self._queue.store.selected(self._selected(call), after, limit)
            chosen = [row for row in found if row["state"] in wanted]
        else:
            before = place(call.message, "after", _NEWEST)
            chosen = found = self._queue.store.listed(self._tenant(call), wanted, before, limit)
        _reply_page(call, found, [rows.shown(row) for row in chosen], limit)

    def _tenant(self, call: Call) -> str | None:
        """Whose jobs are listed: None for everybody's."""
        if not flag(call.message, "all"):
            return call.acting.user.name
        if not call.acting.operator:
            raise IdentityError("only operators see the jobs of all tenants", hint="leave out --all")
        return None

    def _results(self, call: Call) -> None:
        """A page of the results of named jobs, in order: as many as fit into an answer."""
        keys = self._selected(call)
        after = place(call.message, "after", (0, ALL))
        found = self._queue.store.selected(keys, after, _PAGE)
        chosen: list[Row] = []
        size = 0
        for row in found:
            size += len(row["result"] or "") + 1000
            if chosen and size > _MOST_PAGE_BYTES:
                break
            chosen.append(row)
        _reply_page(call, chosen, [rows.result(row) for row in chosen], len(found))

    # -- output -------------------------------------------------------------------------------------------------------

    def _logs(self, call: Call) -> None:
        """Hands out descriptors of the output of an attempt, the last unless one is named; with `follow` also of those
        to come, until the job has ended. The client reads the files; the service does nothing for it meanwhile.
        """
        key = selector(str(call.message.get("job", "")))
        submission = self._find(call, key)
        if key[1] == ALL and submission["jobs"] > 1:
            raise UsageError(
                f"{key[0]} is {submission['jobs']} jobs", hint=f"name one of them: {key[0]}.0 is the first"
            )
        _Follower(call, self._queue, self._watching, (key[0], max(key[1], 0))).begin()

    # -- cancelling ---------------------------------------------------------------------------------------------------

    def _cancel(self, call: Call) -> None:
        if flag(call.message, "all"):
            keys = [(number, ALL) for number in self._queue.store.live_submissions(call.acting.user.name)]
        else:
            keys = self._selected(call)
        by = call.acting.caller.name

        def done(stopped: int) -> None:
            call.reply({"cancelled": stopped})

        self._queue.cancel(keys, by, done)
        said = event("job.cancelled", "service", user=call.acting.user.name, actor=by)
        said["detail"] = {"jobs": [selected_name(key) for key in keys[:100]], "selected": len(keys)}
        self._log.append([said], sync=False)

    # -- waiting ------------------------------------------------------------------------------------------------------

    def _wait(self, call: Call) -> None:
        keys = sorted(set(self._selected(call, _MOST_WAITED)))
        _Waiter(call, self._queue, self._watching, keys, progress=flag(call.message, "progress")).begin()


def _reply_page(call: Call, found: Sequence[Row], data: list[dict[str, Any]], limit: int) -> None:
    more = bool(found) and len(found) >= min(limit, _PAGE)
    call.reply({"jobs": data, "next": [found[-1]["submission"], found[-1]["idx"]] if more else None})


class _Waiter:
    """One `wait`: until every job that it names has ended."""

    def __init__(self, call: Call, queue: Queue, watching: Watching, keys: list[Key], *, progress: bool) -> None:
        self._call = call
        self._queue = queue
        self._keys = keys
        self._progress = progress
        self._due = False
        self._open: set[Key] = set()  # what has jobs that have not ended; what is told is struck out, not looked up
        self._watches = [watching.watch(key, self._changed) for key in keys]
        call.on_gone = self._forget

    def begin(self) -> None:
        self._open = {key for key in self._keys if self._left(key)}
        self._look()

    def _changed(self, key: Key, what: str) -> None:
        """Many jobs may end in a turn: they are counted once, soon."""
        if what == ENDED:
            self._open.discard(key)
        if not self._due:
            self._due = True
            self._queue.loop.at(_PROGRESS_SECONDS if self._progress else 0.0, self._look)

    def _look(self) -> None:
        self._due = False
        if self._call.answered:
            return
        left = sum(self._left(key) if key[1] == ALL else 1 for key in self._open)
        if not left:
            self._forget()
            self._call.reply({**self._counted(left), "status": self._status()})
        elif self._progress and not self._call.backlog:
            self._call.stream(self._counted(left))

    def _left(self, key: Key) -> int:
        if key[1] == ALL:
            progress = self._queue.dependencies.progress(key[0])
            return progress[0] if progress else 0
        row = self._queue.store.job(key)
        return int(row is not None and row["state"] not in states.FINAL)

    def _counted(self, left: int) -> dict[str, Any]:
        succeeded = failed = 0
        for key in self._keys:
            row = self._queue.store.submission(key[0]) if key[1] == ALL else None
            if row is not None:
                succeeded, failed = succeeded + row["succeeded"], failed + row["failed"]
            elif key[1] != ALL and not self._left(key):
                good = self._status_of(key) == 0
                succeeded, failed = succeeded + good, failed + (not good)
        return {"left": left, "succeeded": succeeded, "failed": failed}

    def _status(self) -> int:
        """That of the first job that did not succeed."""
        return next((status for key in self._keys if (status := self._status_of(key))), 0)

    def _status_of(self, key: Key) -> int:
        row = self._queue.store.first_failed(key[0]) if key[1] == ALL else self._queue.store.job(key)
        return exit_status(row["state"], row["exit_code"]) if row is not None else 0

    def _forget(self) -> None:
        for watch in self._watches:
            watch.cancel()


class _Follower:
    """One `logs`: of an attempt, or of all to come."""

    def __init__(self, call: Call, queue: Queue, watching: Watching, key: Key) -> None:
        self._call = call
        self._queue = queue
        self._key = key
        self._follow = flag(call.message, "follow")
        self._watch = watching.watch(key, lambda _key, what: self._changed(what)) if self._follow else None
        call.on_gone = self._forget

    def begin(self) -> None:
        row = self._row()
        attempt = integer(self._call.message, "attempt", 1, 1 << 20, row["attempts"] or 1)
        if row["attempts"]:
            self._give(attempt)
        if not self._follow or row["state"] in states.FINAL:
            self._end(row)

    def _row(self) -> Row:
        row = self._queue.store.job(self._key)
        if row is None:
            raise UsageError(f"there is no job {selected_name(self._key)}", hint="it is not kept any longer")
        return row

    def _changed(self, what: str) -> None:
        row = self._row()
        if what == STARTED:
            self._give(row["attempts"])
        else:
            self._end(row)

    def _give(self, attempt: int) -> None:
        fds = self._queue.spool.read(self._key, attempt)
        try:
            self._call.stream({"attempt": attempt}, fds)
        finally:
            for fd in fds:
                os.close(fd)

    def _end(self, row: Row) -> None:
        self._forget()
        self._call.reply({"state": row["state"], "exit_code": row["exit_code"], "attempts": row["attempts"]})

    def _forget(self) -> None:
        if self._watch:
            self._watch.cancel()
