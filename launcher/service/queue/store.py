"""The queue on disk: SQLite in WAL mode, below the state directory, for root alone.

A commit here survives kill -9 of the service; `durable` makes it survive the power. Every change of a job's state names
the state that it comes from, in SQL: what was changed already is not changed again.

Variables given with `submit` are in a table of their own and go when the job has ended (`secure_delete` overwrites).
"""

from __future__ import annotations

import json
import os
import sqlite3
from typing import Self

from launcher.errors import ConfigurationError
from launcher.service.queue import states
from launcher.service.queue.clock import now_ms
from launcher.service.queue.dependencies import ALL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from types import TracebackType
    from typing import Any

    from launcher.service.queue.model import Key, Member, Submission

SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE submission (
    id INTEGER PRIMARY KEY AUTOINCREMENT, tenant TEXT NOT NULL, key TEXT NOT NULL, name TEXT NOT NULL,
    caller TEXT NOT NULL, user TEXT NOT NULL, operator INTEGER NOT NULL, request TEXT NOT NULL,
    priority INTEGER NOT NULL, retries INTEGER NOT NULL, demand TEXT NOT NULL, jobs INTEGER NOT NULL,
    submitted INTEGER NOT NULL, whole INTEGER NOT NULL, ended INTEGER NOT NULL DEFAULT 0,
    succeeded INTEGER NOT NULL DEFAULT 0, failed INTEGER NOT NULL DEFAULT 0, UNIQUE (tenant, key)
) STRICT;
CREATE INDEX submission_ended ON submission (ended) WHERE ended > 0;
CREATE TABLE job (
    submission INTEGER NOT NULL, idx INTEGER NOT NULL, number INTEGER NOT NULL, tenant TEXT NOT NULL,
    name TEXT NOT NULL, request TEXT, state TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,
    not_before INTEGER NOT NULL DEFAULT 0, runs TEXT NOT NULL DEFAULT '', started INTEGER NOT NULL DEFAULT 0,
    ended INTEGER NOT NULL DEFAULT 0, exit_code INTEGER, reason TEXT NOT NULL DEFAULT '',
    cancelled_by TEXT NOT NULL DEFAULT '', spooled INTEGER NOT NULL DEFAULT 0, result TEXT,
    PRIMARY KEY (submission, idx)
) STRICT, WITHOUT ROWID;
CREATE INDEX job_of_tenant ON job (tenant, state, submission, idx);
CREATE INDEX job_in_state ON job (state, submission, idx);
CREATE INDEX job_failed ON job (submission, idx) WHERE ended > 0 AND NOT (state = 'ended' AND exit_code = 0);
CREATE INDEX job_spooled ON job (tenant, ended) WHERE spooled > 0;
CREATE TABLE secret (
    submission INTEGER NOT NULL, idx INTEGER NOT NULL, data TEXT NOT NULL, PRIMARY KEY (submission, idx)
) STRICT, WITHOUT ROWID;
CREATE TABLE need (
    submission INTEGER NOT NULL, needs INTEGER NOT NULL, idx INTEGER NOT NULL, any_end INTEGER NOT NULL,
    PRIMARY KEY (submission, needs, idx, any_end)
) STRICT, WITHOUT ROWID;
CREATE INDEX need_of ON need (needs);
CREATE TABLE service (what TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
"""
_LIVE = tuple(sorted(set(states.STATES) - states.FINAL))


class Store:
    """One database, one writer: the service. Errors of SQLite are ConfigurationError with the path."""

    __slots__ = ("_database", "_depth", "path")

    def __init__(self, path: str) -> None:
        """Opens or makes it. Raises ConfigurationError."""
        self.path = path
        self._depth = 0
        try:
            os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
            for name in (path, f"{path}-wal", f"{path}-shm"):  # the mode before there is anything to read
                os.close(os.open(name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
            self._database = sqlite3.connect(path, isolation_level=None, timeout=10.0)
            self._prepare()
        except (sqlite3.Error, OSError) as error:
            raise ConfigurationError(f"cannot use the queue in {path}: {error}") from error

    def _prepare(self) -> None:
        database = self._database
        database.row_factory = sqlite3.Row
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        database.execute("PRAGMA secure_delete = ON")
        version = int(database.execute("PRAGMA user_version").fetchone()[0])
        if version > SCHEMA_VERSION:
            raise ConfigurationError(
                f"{self.path} has schema version {version}; this mlsandbox knows {SCHEMA_VERSION}",
                hint="use the newer mlsandbox",
            )
        if version == 0:
            database.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")

    def checkpoint(self) -> None:
        """Moves what is in the log into the database file, and empties the log: deleted secrets are gone from both."""
        self._run("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        self._database.close()

    # -- transactions: `with store:`, which may be nested -------------------------------------------------------------

    def __enter__(self) -> Self:
        if not self._depth:
            self._database.execute("BEGIN IMMEDIATE")
        self._depth += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._depth -= 1
        if self._depth:
            return
        self._database.execute("COMMIT" if kind is None else "ROLLBACK")

    # -- submitting ---------------------------------------------------------------------------------------------------

    def find(self, tenant: str, key: str) -> int | None:
        """The submission that has this key, if it is whole."""
        row = self._one("SELECT id FROM submission WHERE tenant = ? AND key = ? AND whole = 1", (tenant, key))
        return row["id"] if row else None

    def begin(self, made: Submission) -> int:
        """The number of a new submission, which is not whole before `complete`."""
        row = (
            made.tenant, made.key, made.name, json.dumps(made.caller), json.dumps(made.user), int(made.operator),
            json.dumps(made.request), made.priority, made.retries, json.dumps(made.demand), len(made.members), now_ms(),
        )  # fmt: skip
        names = "tenant, key, name, caller, user, operator, request, priority, retries, demand, jobs, submitted, whole"
        with self:
            marks = ", ".join("?" * len(row))
            cursor = self._database.execute(f"INSERT INTO submission ({names}) VALUES ({marks}, 0)", row)  # noqa: S608
            number = int(cursor.lastrowid or 0)
            needs = [(number, need.submission, need.index, int(need.any_end)) for need in made.needs]
            self._database.executemany("INSERT OR IGNORE INTO need VALUES (?, ?, ?, ?)", needs)
            if made.secret:
                self._keep_secret(number, ALL, made.secret)
        return number

    def add(self, number: int, tenant: str, state: str, members: Iterable[tuple[int, Member]]) -> None:
        """Some of the jobs of a submission: (index, what it has of its own)."""
        with self:
            for index, member in members:
                own = json.dumps(member.request) if member.request else None
                row = (number, index, member.number, tenant, member.name, own, state)
                self._database.execute(
                    "INSERT INTO job (submission, idx, number, tenant, name, request, state) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?)",
                    row,
                )
                if member.secret:
                    self._keep_secret(number, index, member.secret)

    def complete(self, number: int) -> None:
        """The submission is whole: from here on it survives."""
        self._run("UPDATE submission SET whole = 1 WHERE id = ?", (number,))

    def abandon(self) -> int:
        """Removes submissions that never became whole: nobody was told that they had; how many."""
        with self:
            found = [row["id"] for row in self._all("SELECT id FROM submission WHERE whole = 0")]
            for number in found:
                self.remove(number)
        return len(found)

    def _keep_secret(self, number: int, index: int, data: Any) -> None:
        self._run("INSERT INTO secret VALUES (?, ?, ?)", (number, index, json.dumps(data)))

    def secret(self, key: Key) -> dict[str, Any]:
        """What was given with `submit` and is shown to nobody: {"environment": .., "inherited": ..}."""
        found: dict[str, Any] = {}
        statement = "SELECT data FROM secret WHERE submission = ? AND idx IN (?, ?) ORDER BY idx"
        for row in self._all(statement, (key[0], ALL, key[1])):
            for name, values in json.loads(row["data"]).items():
                found.setdefault(name, {}).update(values)
        return found

    # -- the life of a job --------------------------------------------------------------------------------------------

    def move(self, key: Key, state: str, event: str, **values: Any) -> str:
        """Takes a job from `state` through `event`, and sets columns; the new state. Raises ValueError where it is not
        in that state, or the state does not know that event.
        """
        following = states.after(state, event)
        if following in states.FINAL:
            values.setdefault("ended", now_ms())
        columns = "".join(f", {name} = ?" for name in values)
        statement = f"UPDATE job SET state = ?{columns} WHERE submission = ? AND idx = ? AND state = ?"  # noqa: S608
        with self:
            columns_ = map(_storable, values.values())
            changed = self._database.execute(statement, (following, *columns_, *key, state)).rowcount
            if not changed:
                raise ValueError(f"the job {key} is not {state}")
            if following in states.FINAL:
                column = "succeeded" if following == states.ENDED and values.get("exit_code") == 0 else "failed"
                self._run(f"UPDATE submission SET {column} = {column} + 1 WHERE id = ?", key[:1])  # noqa: S608
                self._run("DELETE FROM secret WHERE submission = ? AND idx = ?", key)
        return following

    def finished(self, number: int) -> None:
        """All jobs of a submission have ended: what was kept for running them goes."""
        with self:
            self._run("UPDATE submission SET ended = ? WHERE id = ?", (now_ms(), number))
            self._run("DELETE FROM secret WHERE submission = ?", (number,))
            self._run("DELETE FROM need WHERE submission = ?", (number,))

    def set(self, key: Key, **values: Any) -> None:
        """Sets columns of a job that do not change its state."""
        columns = ", ".join(f"{name} = ?" for name in values)
        statement = f"UPDATE job SET {columns} WHERE submission = ? AND idx = ?"  # noqa: S608
        self._run(statement, (*map(_storable, values.values()), *key))

    # -- reading ------------------------------------------------------------------------------------------------------

    def submission(self, number: int) -> sqlite3.Row | None:
        return self._one("SELECT * FROM submission WHERE id = ? AND whole = 1", (number,))

    def job(self, key: Key) -> sqlite3.Row | None:
        """One job, with what its submission says beside it."""
        return self._one(f"{_JOINED} WHERE job.submission = ? AND job.idx = ? AND whole = 1", key)

    def first_failed(self, number: int) -> sqlite3.Row | None:
        """The first job of a submission that ended without success."""
        chosen = f"FROM job INDEXED BY job_failed WHERE submission = ? AND {_FAILED}"
        return self._one(f"SELECT * {chosen} ORDER BY idx LIMIT 1", (number,))

    def live_submissions(self, tenant: str) -> list[int]:
        """The submissions of a tenant that have jobs that have not ended."""
        marks = ", ".join("?" * len(_LIVE))
        rows = self._all(
            f"SELECT DISTINCT submission FROM job WHERE tenant = ? AND state IN ({marks}) ORDER BY 1",  # noqa: S608
            (tenant, *_LIVE),
        )
        return [row["submission"] for row in rows]

    def selected(self, keys: Sequence[Key], after: Key, limit: int) -> list[sqlite3.Row]:
        """The next jobs after `after` that the selectors name, in order."""
        found: list[sqlite3.Row] = []
        for number, index in sorted(set(keys)):
            if number < after[0] or len(found) >= limit:
                continue
            where, values = ("AND job.idx = ?", [index]) if index != ALL else ("", [])
            floor = after[1] if number == after[0] else ALL
            statement = (
                f"{_JOINED} WHERE job.submission = ? AND job.idx > ? AND whole = 1 {where} ORDER BY job.idx LIMIT ?"
            )
            found += self._all(statement, (number, floor, *values, limit - len(found)))
        return found

    def listed(self, tenant: str | None, wanted: Sequence[str], before: Key, limit: int) -> list[sqlite3.Row]:
        """The newest jobs before `before`: of one tenant or of all (None), in one of the states `wanted`."""
        found: list[sqlite3.Row] = []
        for state in wanted:
            where, values = ("AND job.tenant = ?", [tenant]) if tenant is not None else ("", [])
            joined = _JOINED.replace("FROM job", f"FROM job INDEXED BY {'job_of_tenant' if where else 'job_in_state'}")
            statement = (
                f"{joined} WHERE job.state = ? {where} AND "
                "whole = 1 AND (job.submission, job.idx) < (?, ?) ORDER BY job.submission DESC, job.idx DESC LIMIT ?"
            )
            found += self._all(statement, (state, *values, *before, limit))
        found.sort(key=lambda row: (row["submission"], row["idx"]), reverse=True)
        return found[:limit]

    def counts(self, tenant: str | None = None) -> dict[str, int]:
        """How many jobs are in each state, of one tenant or of all."""
        where, values = ("WHERE tenant = ?", (tenant,)) if tenant is not None else ("", ())
        rows = self._all(f"SELECT state, count(*) AS n FROM job {where} GROUP BY state", values)  # noqa: S608
        return {row["state"]: row["n"] for row in rows}

    def in_states(self, *wanted: str) -> Iterator[sqlite3.Row]:
        """All jobs in some states, oldest first."""
        for state in wanted:
            statement = f"{_JOINED} WHERE job.state = ? AND whole = 1 ORDER BY job.submission, job.idx"
            yield from self._all(statement, (state,))

    def needs(self) -> list[sqlite3.Row]:
        """The needs of submissions whose jobs are held."""
        return self._all(
            "SELECT need.* FROM need JOIN submission ON submission.id = need.submission WHERE whole = 1 AND EXISTS "
            "(SELECT 1 FROM job WHERE job.submission = need.submission AND job.state = ?)",
            (states.HELD,),
        )

    def unfinished_by_submission(self) -> dict[int, tuple[str, int]]:
        """Of each submission that has any: its tenant, and how many jobs have not ended."""
        marks = ", ".join("?" * len(_LIVE))
        rows = self._all(
            f"SELECT submission, tenant, count(*) AS n FROM job WHERE state IN ({marks}) GROUP BY submission",  # noqa: S608
            _LIVE,
        )
        return {row["submission"]: (row["tenant"], row["n"]) for row in rows}

    def open_submissions(self) -> list[int]:
        """Submissions that are not known to be finished."""
        return [row["id"] for row in self._all("SELECT id FROM submission WHERE ended = 0 AND whole = 1")]

    # -- output, and what is kept how long ----------------------------------------------------------------------------

    def spooled_by_tenant(self) -> dict[str, int]:
        rows = self._all("SELECT tenant, sum(spooled) AS n FROM job WHERE spooled > 0 GROUP BY tenant")
        return {row["tenant"]: row["n"] for row in rows}

    def oldest_output(self, tenant: str, limit: int) -> list[sqlite3.Row]:
        """The jobs of `tenant` that ended longest ago and have output."""
        return self._all(
            "SELECT submission, idx, attempts, spooled FROM job INDEXED BY job_spooled WHERE tenant = ? "
            "AND spooled > 0 AND ended > 0 ORDER BY ended LIMIT ?",
            (tenant, limit),
        )

    def expired(self, before: int, limit: int) -> list[sqlite3.Row]:
        """Jobs of submissions that finished before a time (ms), and that nobody waits for."""
        row = self._one(
            "SELECT id FROM submission WHERE ended > 0 AND ended < ? AND NOT EXISTS "
            "(SELECT 1 FROM need WHERE needs = submission.id) ORDER BY ended LIMIT 1",
            (before,),
        )
        if row is None:
            return []
        statement = "SELECT submission, idx, tenant, attempts, spooled FROM job WHERE submission = ? LIMIT ?"
        return self._all(statement, (row["id"], limit))

    def drop(self, keys: Sequence[Key]) -> None:
        """Removes jobs that have ended, and submissions that have none left."""
        with self:
            for key in keys:
                self._run("DELETE FROM job WHERE submission = ? AND idx = ?", key)
            for number in {key[0] for key in keys}:
                if not self._one("SELECT 1 FROM job WHERE submission = ? LIMIT 1", (number,)):
                    self.remove(number)

    def remove(self, number: int) -> None:
        """Removes a submission with everything of it."""
        for table, column in (
            ("job", "submission"),
            ("secret", "submission"),
            ("need", "submission"),
            ("submission", "id"),
        ):
            self._run(f"DELETE FROM {table} WHERE {column} = ?", (number,))  # noqa: S608  names of this module

    # -- the service --------------------------------------------------------------------------------------------------

    def note(self, what: str) -> str:
        row = self._one("SELECT value FROM service WHERE what = ?", (what,))
        return str(row["value"]) if row else ""

    def set_note(self, what: str, value: str) -> None:
        self._run("INSERT OR REPLACE INTO service VALUES (?, ?)", (what, value))

    # -- SQL ----------------------------------------------------------------------------------------------------------

    def _one(self, statement: str, values: Sequence[Any] = ()) -> sqlite3.Row | None:
        row: sqlite3.Row | None = self._database.execute(statement, values).fetchone()
        return row

    def _all(self, statement: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        return self._database.execute(statement, values).fetchall()

    def _run(self, statement: str, values: Sequence[Any] = ()) -> None:
        self._database.execute(statement, values)


def _storable(value: Any) -> Any:
    """As SQLite takes it: a reason may quote a word of the job with bytes that are no UTF-8, and an end that cannot be
    written down would hold its place in the queue for good.
    """
    return value.encode("utf-8", "backslashreplace").decode() if type(value) is str else value


_FAILED = "ended > 0 AND NOT (state = 'ended' AND exit_code = 0)"  # as the index has it
_JOINED = """SELECT job.*, submission.name AS submission_name, submission.request AS shared, submission.jobs,
submission.caller, submission.user, submission.operator, submission.priority, submission.retries, submission.demand,
submission.submitted FROM job JOIN submission ON submission.id = job.submission"""
