"""PostgreSQL under database grants: each statement is judged (`_sql`) and sent as it was judged.

The connection's parameters are taken apart here and handed over one by one: libpq would let a `?host=` in a URL name
another server than the one that was judged. What the role may do on the server is the server's own affair; a session
without a granted change is read-only there too.
"""

from __future__ import annotations

import sys

from launcher.capability.databases import split_connection
from launcher.capability.kinds import KINDS
from launcher.errors import DocumentError
from launcher.runtime.context import current
from launcher.runtime.errors import CapabilityError
from launcher.runtime.quota import least
from launcher.runtime.stdlib import _sql
from launcher.runtime.stdlib._sqlite import bound, refuse_more, table_granted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from launcher.capability.decision import Decision

OPTIONS = frozenset(("user", "password", "sslmode", "timeout"))
SSL_MODES = frozenset(("disable", "prefer", "require", "verify-ca", "verify-full"))
CHANGES = ("insert", "update", "delete", "ddl")


class Worded:
    """`with Worded():` errors of the driver become errors that ML knows, in the server's words."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        import psycopg

        if isinstance(error, psycopg.Error):
            raise RuntimeError(f"Database error: {str(error).strip()}") from None  # noqa: TRY004  the server's error


class PostgresSession:
    """One PostgreSQL session. Made by `connect`."""

    def __init__(self, connection: Any, url: str) -> None:
        self.url = url
        self._connection = connection

    def query(self, sql: str, parameters: Any) -> list[dict[str, Any]]:
        statement = _sql.judge(sql)
        most = self._require(statement)
        with Worded(), self._run(statement, parameters) as cursor:
            if cursor.description is None:
                return []
            names = [column.name for column in cursor.description]
            rows = cursor.fetchall() if most is None else cursor.fetchmany(most + 1)
        refuse_more(len(rows), most, self.url)
        return [dict(zip(names, [value_of(value) for value in row], strict=True)) for row in rows]

    def execute(self, sql: str, parameters: Any) -> int:
        statement = _sql.judge(sql)
        self._require(statement)
        with Worded(), self._run(statement, parameters) as cursor:
            return max(int(cursor.rowcount), 0)

    def control(self, word: str) -> None:
        with Worded():
            self._connection.execute(word)

    def tables(self) -> list[str]:
        current().require("database", "select", self.url)
        with Worded():
            rows = self._connection.execute(
                "SELECT tablename FROM pg_catalog.pg_tables WHERE schemaname = 'public' ORDER BY tablename"
            )
            return [str(row[0]) for row in rows]

    def close(self) -> None:
        self._connection.close()

    def _require(self, statement: _sql.Statement) -> int | None:
        """Asks for each operation of the statement; gives `max_rows` of the selects."""
        decisions: dict[str, Decision] = {}
        for operation, table in statement.needs:
            if operation not in decisions:
                decisions[operation] = current().require("database", operation, self.url)
            if table and not table_granted(decisions[operation].deciders, table):
                raise CapabilityError(
                    f"database.{operation} is not granted for table '{table}'", "database", operation, table
                )
        return least(decisions["select"].deciders, "max_rows") if "select" in decisions else None

    def _run(self, statement: _sql.Statement, parameters: Any) -> Any:
        import psycopg

        values = arranged(statement, bound(parameters))
        cursor = psycopg.RawCursor(self._connection)
        try:
            return cursor.execute(statement.text, values or None)
        except psycopg.Error:
            cursor.close()
            raise


def arranged(statement: _sql.Statement, parameters: Any) -> list[Any]:
    """The parameters in the order of the statement's numbers. Raises ValueError when they do not fit."""
    if statement.names:
        if not isinstance(parameters, dict):
            raise ValueError("the statement has parameters by name: give an object")
        missing = [name for name in statement.names if name not in parameters]
        if missing:
            raise ValueError(f"parameter {missing[0]!r} is missing")
        return [parameters[name] for name in statement.names]
    if isinstance(parameters, dict) or len(parameters) != statement.count:
        raise ValueError(f"the statement has {statement.count} parameters, {len(parameters)} were given")
    return list(parameters)


def value_of(value: Any) -> Any:
    """A server's value as an ML value: exact where ML has the type, else its text."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    if isinstance(value, (list, tuple)):
        return [value_of(item) for item in value]
    if isinstance(value, dict):
        return {str(key): value_of(item) for key, item in value.items()}
    if type(value).__name__ == "Decimal":
        return int(value) if value.is_finite() and value == value.to_integral_value() else float(value)
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def connect(url: str, options: dict[str, Any]) -> PostgresSession:
    """`postgresql://[user[:password]@]host[:port]/database`. Raises CapabilityError, ValueError, RuntimeError."""
    unknown = sorted(str(key) for key in options if key not in OPTIONS)
    if unknown or options.get("sslmode", "prefer") not in SSL_MODES:
        raise ValueError(f"postgresql has no option {unknown[0]!r}" if unknown else "Invalid sslmode")
    bare, password = _without_password(url)
    try:
        user, base = split_connection(bare)
    except DocumentError as error:
        raise ValueError(f"Invalid database URL: {error.message}") from None
    judged = base if not user else base.replace("://", f"://{user}@", 1)
    allowed = [word for word in KINDS["database"].operations if current().allows("database", word, judged)]
    if not allowed:
        current().require("database", "select", judged)
    host, _, database = base.partition("://")[2].partition("/")
    settings = _settings(host, database, options.get("user") or user, options.get("password") or password, options)
    return PostgresSession(_dialled(settings, read_only=not set(allowed).intersection(CHANGES)), judged)


def _without_password(url: str) -> tuple[str, str]:
    from urllib.parse import unquote

    scheme, separator, rest = url.partition("://")
    credentials, at, server = rest.rpartition("@")
    user, _, password = credentials.partition(":")
    return f"{scheme}{separator}{user}{at}{server}", unquote(password)


def _settings(host: str, database: str, user: str, password: str, options: dict[str, Any]) -> dict[str, Any]:
    name, separator, port = host.rpartition(":") if not host.endswith("]") else (host, "", "")
    settings = {
        "host": (name if separator else host).strip("[]"),
        "port": int(port or 5432) if separator else 5432,
        "dbname": database,
        "user": user,
        "password": password,
        "sslmode": options.get("sslmode", "prefer"),
        "connect_timeout": int(options.get("timeout", 30)),
        "application_name": "mlsandbox",
        # A table's name must mean the one that was judged, not one of the same name elsewhere.
        "options": "-c search_path=public",
    }
    return {key: value for key, value in settings.items() if value != ""}


def _dialled(settings: dict[str, Any], *, read_only: bool) -> Any:
    try:
        import psycopg
    except ImportError:
        sys.path.extend(path for path in current().job.packages if path not in sys.path)
        try:
            import psycopg
            import sqlglot  # noqa: F401  wanted at the first statement: better said now
        except ImportError:
            raise RuntimeError(
                "PostgreSQL needs the packages of mlsandbox[postgres], which are not installed"
            ) from None
    try:
        connection = psycopg.connect(**settings, autocommit=True)
        if read_only:
            connection.execute("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
    except psycopg.Error as error:
        raise ConnectionError(f"Database error: {str(error).strip()}") from None
    return connection
