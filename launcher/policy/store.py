"""Grants and exclusions of policies, in SQLite. Not on the launch path: the policy cache carries what is here.

Journal mode is DELETE, not WAL: a commit then always writes the database file itself, so its stat changes and the
cache sees it. With WAL the file stays as it was until a checkpoint, and a revocation would go unnoticed.
"""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing, contextmanager

from launcher.errors import ConfigurationError, UsageError
from launcher.policy.model import SUBJECTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from launcher.policy.paths import Locations

SCHEMA_VERSION = 1
BUSY_SECONDS = 10.0
GRANT, EXCLUDE = "grant", "exclude"
MAX_SUBJECT = 256

_SCHEMA = """
CREATE TABLE assignment (
    policy TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('user', 'group', 'role')),
    name TEXT NOT NULL,
    effect TEXT NOT NULL CHECK (effect IN ('grant', 'exclude')),
    by TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (policy, kind, name)
) WITHOUT ROWID, STRICT
"""


class Row:
    """One assignment: `policy` granted to or taken from a user, group or role; by whom and when (epoch seconds)."""

    __slots__ = ("at", "by", "effect", "kind", "name", "policy")

    def __init__(self, policy: str, kind: str, name: str, effect: str, by: str, at: int) -> None:
        self.policy = policy
        self.kind = kind
        self.name = name
        self.effect = effect
        self.by = by
        self.at = at

    def __repr__(self) -> str:
        return f"Row({self.effect} {self.policy} {self.kind} {self.name})"

    def fields(self) -> list[str]:
        """What deciding needs: policy, effect, kind, name."""
        return [self.policy, self.effect, self.kind, self.name]


class GrantStore:
    """The database `Locations.grants`. Every call is one transaction; errors are ConfigurationError."""

    __slots__ = ("_path",)

    def __init__(self, locations: Locations) -> None:
        self._path = locations.grants

    def grant(self, policy: str, kind: str, name: str, by: str) -> None:
        """Gives `policy` to a user, group or role, and lifts an exclusion of the same."""
        self._put(policy, kind, name, GRANT, by)

    def revoke(self, policy: str, kind: str, name: str, by: str) -> None:
        """Takes `policy` from a user, group or role: beats `applies_to` and every other grant."""
        self._put(policy, kind, name, EXCLUDE, by)

    def _put(self, policy: str, kind: str, name: str, effect: str, by: str) -> None:
        check_subject(kind, name)
        row = (policy, kind, name, effect, by, int(time.time()))
        with self._writing() as database:
            database.execute("INSERT OR REPLACE INTO assignment VALUES (?, ?, ?, ?, ?, ?)", row)

    def forget(self, policy: str) -> None:
        """Removes every grant and exclusion of `policy`."""
        with self._writing() as database:
            database.execute("DELETE FROM assignment WHERE policy = ?", (policy,))

    def rows(self) -> list[Row]:
        """All assignments, sorted."""
        return self._query("SELECT * FROM assignment ORDER BY policy, kind, name", ())

    def rows_of(self, policy: str) -> list[Row]:
        """The assignments of one policy, sorted."""
        return self._query("SELECT * FROM assignment WHERE policy = ? ORDER BY kind, name", (policy,))

    def _query(self, statement: str, values: tuple[str, ...]) -> list[Row]:
        if not os.path.exists(self._path):
            return []
        with self._reporting(), closing(self._open("ro")) as database:
            if _version(database) == 0:
                return []
            return [Row(*fields) for fields in database.execute(statement, values)]

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._reporting():
            self._create_file()
            with closing(self._open("rw")) as database:
                database.execute("PRAGMA journal_mode = DELETE")
                database.execute("PRAGMA synchronous = FULL")
                database.execute("BEGIN IMMEDIATE")
                if _version(database) == 0:
                    database.execute(_SCHEMA)
                    database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
                yield database
                database.execute("COMMIT")

    def _open(self, mode: str) -> sqlite3.Connection:
        name = self._path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
        database = sqlite3.connect(f"file:{name}?mode={mode}", uri=True, timeout=BUSY_SECONDS, isolation_level=None)
        found = _version(database)
        if found > SCHEMA_VERSION:
            database.close()
            raise ConfigurationError(
                f"{self._path} has schema version {found}; this mlsandbox knows {SCHEMA_VERSION}",
                hint="use the newer mlsandbox",
            )
        return database

    def _create_file(self) -> None:
        # The mode is given before there is anything to read: SQLite itself would use the umask.
        os.makedirs(os.path.dirname(self._path), 0o700, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        os.close(os.open(self._path, flags, 0o600))

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise ConfigurationError(f"cannot use the grants in {self._path}: {reason}") from None


def _version(database: sqlite3.Connection) -> int:
    return int(database.execute("PRAGMA user_version").fetchone()[0])


def check_subject(kind: str, name: str) -> None:
    """Raises UsageError unless `kind` is user, group or role and `name` can be one's name."""
    if kind not in SUBJECTS:
        raise UsageError(f"a policy is granted to a user, a group or a role, not to a {kind!r}")
    if not name or len(name) > MAX_SUBJECT or not name.isprintable():
        raise UsageError(f"{name!r} is not the name of a {kind}")
