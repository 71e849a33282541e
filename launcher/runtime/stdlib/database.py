"""ML `database`: SQLite files that were granted as files, PostgreSQL servers that were granted as databases."""

from __future__ import annotations

from launcher.runtime.library import Object
from launcher.runtime.stdlib._declare import module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, ClassVar, Protocol

    class Session(Protocol):
        """What a driver gives: statements in, rows or a count out."""

        url: str

        def query(self, sql: str, parameters: Any) -> list[dict[str, Any]]: ...
        def execute(self, sql: str, parameters: Any) -> int: ...
        def control(self, word: str) -> None: ...
        def tables(self) -> list[str]: ...
        def close(self) -> None: ...


class Connection(Object):
    """An open database. Statements take parameters as `?` with an array, or `:name` with an object."""

    __slots__ = ("_session",)
    methods: ClassVar = {
        "query": "query",
        "queryOne": "query_one",
        "execute": "execute",
        "executeMany": "execute_many",
        "begin": "begin",
        "commit": "commit",
        "rollback": "rollback",
        "transaction": "transaction",
        "tables": "tables",
        "close": "close",
    }
    properties: ClassVar = {"url": "url"}

    def __init__(self, session: Session) -> None:
        self._session: Session | None = session

    @property
    def url(self) -> str:
        return self._open().url

    def query(self, sql: str, parameters: Any = None) -> list[dict[str, Any]]:
        """All rows as objects by column name."""
        return self._open().query(_statement(sql), parameters)

    def query_one(self, sql: str, parameters: Any = None) -> dict[str, Any] | None:
        rows = self.query(sql, parameters)
        return rows[0] if rows else None

    def execute(self, sql: str, parameters: Any = None) -> int:
        """How many rows were changed."""
        return self._open().execute(_statement(sql), parameters)

    def execute_many(self, sql: str, many: list[Any]) -> int:
        """One statement for each of the parameters, all of them or none."""

        def each(_: Connection) -> int:
            return sum(self.execute(sql, parameters) for parameters in many)

        return int(self.transaction(each))

    def begin(self) -> None:
        self._open().control("BEGIN")

    def commit(self) -> None:
        self._open().control("COMMIT")

    def rollback(self) -> None:
        self._open().control("ROLLBACK")

    def transaction(self, work: Callable[[Connection], Any]) -> Any:
        """Calls `work` with the connection; what it did is undone when it raises, and the error goes on unchanged."""
        self.begin()
        try:
            result = work(self)
        except BaseException:
            try:
                self.rollback()
            except RuntimeError:  # the server or SQLite has undone it already: the first error is the one to tell
                pass
            raise
        self.commit()
        return result

    def tables(self) -> list[str]:
        """The names of the tables, sorted."""
        return self._open().tables()

    def close(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None

    def _open(self) -> Session:
        if self._session is None:
            raise RuntimeError("the database connection is closed")
        return self._session


def _statement(sql: object) -> str:
    if not isinstance(sql, str):
        raise TypeError(f"a statement must be a string, not {type(sql).__name__}")
    return sql


def _connect(url: str, options: dict[str, Any] | None = None) -> Connection:
    scheme = str(url).partition(":")[0].lower()
    chosen = dict(options or {})
    if scheme == "sqlite":
        from launcher.runtime.stdlib import _sqlite

        return Connection(_sqlite.connect(url, chosen))
    if scheme in {"postgres", "postgresql"}:
        from launcher.runtime.stdlib import _postgres

        return Connection(_postgres.connect(url, chosen))
    raise ValueError(f"Invalid database URL: {url}: sqlite: and postgresql: are known")


MODULE = module(
    "database",
    "SQLite files and PostgreSQL servers.",
    (("connect open", _connect, "", "connect(url[, options]): a Connection"),),
)
