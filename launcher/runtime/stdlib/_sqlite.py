"""SQLite under file grants: the file is opened as far as it may be read or written, and each action is authorised.

SQLite's own authorizer is asked for every table and column while a statement is compiled, so nothing here reads SQL.
"""

from __future__ import annotations

import sqlite3
from urllib.parse import quote

from launcher.runtime.context import current
from launcher.runtime.errors import CapabilityError
from launcher.runtime.quota import least
from launcher.runtime.stdlib import _disk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MEMORY = ":memory:"
OPTIONS = frozenset(("timeout",))

_DDL = tuple(
    getattr(sqlite3, name)
    for name in dir(sqlite3)
    if name.startswith(("SQLITE_CREATE_", "SQLITE_DROP_", "SQLITE_ALTER", "SQLITE_REINDEX", "SQLITE_ANALYZE"))
)
# What an action is under the database vocabulary. What is not here, in FREE or among the PRAGMAs is refused: ATTACH
# opens another file, load_extension runs native code.
OPERATIONS: dict[int, str] = {
    sqlite3.SQLITE_READ: "select",
    sqlite3.SQLITE_INSERT: "insert",
    sqlite3.SQLITE_UPDATE: "update",
    sqlite3.SQLITE_DELETE: "delete",
    **dict.fromkeys(_DDL, "ddl"),
}
FREE = frozenset((
    sqlite3.SQLITE_SELECT, sqlite3.SQLITE_TRANSACTION, sqlite3.SQLITE_SAVEPOINT, sqlite3.SQLITE_RECURSIVE,
))  # fmt: skip
# PRAGMAs that only tell something.
PRAGMAS = frozenset((
    "table_info", "table_xinfo", "table_list", "index_list", "index_info", "foreign_key_list", "foreign_key_check",
    "user_version", "encoding", "integrity_check", "quick_check", "page_count", "page_size", "data_version",
))  # fmt: skip
# SQL functions that reach out of the database.
FUNCTIONS_REFUSED = frozenset(("load_extension", "readfile", "writefile", "edit", "fts3_tokenizer"))


class _Database(sqlite3.Connection):
    """A connection that closes itself when the program has dropped it: CPython 3.13 only warns then."""

    def __del__(self) -> None:
        try:
            self.close()
        except sqlite3.ProgrammingError:  # it could not even be opened
            pass


class SqliteSession:
    """One SQLite database. Made by `connect`."""

    def __init__(self, connection: sqlite3.Connection, path: str, url: str) -> None:
        self.url = url
        self._connection = connection
        self._path = path
        self._refused: Exception | None = None
        self._wrote = False
        self._rows: int | None = None
        connection.set_authorizer(self._authorize)

    # --- authorising: called by SQLite while it compiles a statement -----------------------------------------

    def _authorize(
        self, action: int, first: str | None, second: str | None, _database: str | None, _view: str | None
    ) -> int:
        try:
            return self._judged(action, first or "", second or "")
        except Exception as error:  # noqa: BLE001  an exception cannot pass through SQLite: kept and raised after it
            self._refused = error
            return sqlite3.SQLITE_DENY

    def _judged(self, action: int, first: str, second: str) -> int:
        if action in FREE:
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_FUNCTION:
            return self._unless(second.lower() in FUNCTIONS_REFUSED, f"the SQL function {second}")
        if action == sqlite3.SQLITE_PRAGMA:
            telling = first.lower() in PRAGMAS and (not second or first.lower() != "user_version")
            return self._unless(not telling, f"PRAGMA {first}")
        operation = OPERATIONS.get(action)
        if operation is None:
            return self._unless(True, "this statement")
        self._check(operation, first)
        return sqlite3.SQLITE_OK

    def _unless(self, refused: bool, what: str) -> int:
        if refused:
            self._refused = CapabilityError(f"{what} is not available in SQLite here", "database", "", self.url)
        return sqlite3.SQLITE_DENY if refused else sqlite3.SQLITE_OK

    def _check(self, operation: str, table: str) -> None:
        """File grants decide; a database rule that names this file narrows what they allow."""
        if operation != "select" and self._path != MEMORY and not self._wrote:
            current().require("file", "write", self._path)
            self._wrote = True
        if self._path == MEMORY:
            return
        decision = current().permissions.decide("database", operation, self.url)
        internal = table.startswith("sqlite_")
        if not decision.allowed and decision.deciders and not internal:
            current().require("database", operation, self.url)
        if decision.allowed:
            self._rows = least(decision.deciders, "max_rows") if operation == "select" else self._rows
            if not internal and not table_granted(decision.deciders, table.lower()):
                raise CapabilityError(
                    f"database.{operation} is not granted for table '{table}'", "database", operation, table
                )

    # --- statements -----------------------------------------------------------------------------------------

    def query(self, sql: str, parameters: Any) -> list[dict[str, Any]]:
        cursor = self._run(sql, parameters)
        names = [column[0] for column in cursor.description or ()]
        try:
            rows = cursor.fetchall() if self._rows is None else cursor.fetchmany(self._rows + 1)
        except sqlite3.Error as error:
            raise RuntimeError(f"Database error: {error}") from None
        finally:
            cursor.close()
        refuse_more(len(rows), self._rows, self.url)
        return [dict(zip(names, row, strict=True)) for row in rows]

    def execute(self, sql: str, parameters: Any) -> int:
        cursor = self._run(sql, parameters)
        changed = cursor.rowcount
        cursor.close()
        return max(changed, 0)

    def control(self, word: str) -> None:
        self._run(word, None).close()

    def tables(self) -> list[str]:
        rows = self.query("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name", None)
        return [row["name"] for row in rows if not row["name"].startswith("sqlite_")]

    def close(self) -> None:
        self._connection.close()

    def _run(self, sql: str, parameters: Any) -> sqlite3.Cursor:
        self._refused, self._wrote, self._rows = None, False, None
        try:
            return self._connection.execute(sql, bound(parameters))
        except (sqlite3.Error, sqlite3.Warning) as error:
            if self._refused is not None:
                raise self._refused from None
            raise RuntimeError(f"Database error: {error}") from None


def bound(parameters: Any) -> Any:
    """Parameters for a driver: an array or an object of plain values. Raises TypeError."""
    if parameters is None:
        return ()
    if not isinstance(parameters, (list, tuple, dict)):
        raise TypeError(f"parameters must be an array or an object, not {type(parameters).__name__}")
    values = parameters.values() if isinstance(parameters, dict) else parameters
    for value in values:
        if value is not None and not isinstance(value, (bool, int, float, str, bytes)):
            raise TypeError(f"a parameter must be a plain value, not {type(value).__name__}")
    return parameters


def table_granted(deciders: Any, table: str) -> bool:
    """Whether one of the grants is for all tables or names this one."""
    lists = [rule.constraints.get("tables") for rule in deciders]
    return any(names is None or table in {form for name in names for form in (name, name.lower())} for names in lists)


def refuse_more(count: int, most: int | None, url: str) -> None:
    """Raises CapabilityError when a result has more rows than `max_rows`."""
    if most is not None and count > most:
        raise CapabilityError(
            f"the result has more rows than max_rows {most} allows", "database", "select", url, "add a LIMIT"
        )


def connect(url: str, options: dict[str, Any]) -> SqliteSession:
    """`sqlite:PATH`, `sqlite:///ABSOLUTE` or `sqlite::memory:`. Raises CapabilityError, ValueError, RuntimeError."""
    unknown = sorted(str(key) for key in options if key not in OPTIONS)
    if unknown:
        raise ValueError(f"sqlite has no option {unknown[0]!r}")
    name = url.partition(":")[2]
    if name in {MEMORY, "", "//"}:
        return _opened(MEMORY, MEMORY, url, options)
    path = _disk.resolved(name.removeprefix("//"))
    context = current()
    context.require("file", "read", path, written=url)
    writable = context.allows("file", "write", path)
    location = f"file:{quote(path)}?mode={'rwc' if writable else 'ro'}"
    if writable:
        with _disk.Walk(path, make_parents=True):
            pass
    return _opened(location, path, f"sqlite://{path}", options)


def _opened(location: str, path: str, url: str, options: dict[str, Any]) -> SqliteSession:
    try:
        timeout = float(options.get("timeout", 30))
        connection = sqlite3.connect(
            location, timeout=timeout, isolation_level=None, uri=True, check_same_thread=False, factory=_Database
        )
        # The journal and temporary tables stay in memory: no other file beside the granted one is made.
        for setting in ("temp_store=MEMORY", "trusted_schema=OFF", "cell_size_check=ON", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {setting}")
        if "mode=ro" not in location:
            connection.execute("PRAGMA journal_mode=MEMORY").fetchall()
    except sqlite3.Error as error:
        raise RuntimeError(f"Database error: {error}: '{path}'") from None
    return SqliteSession(connection, path, url)
