"""`database`: SQLite as real files under grants, and the judging of PostgreSQL statements (pure)."""

from __future__ import annotations

import os
import sqlite3
from typing import Any

import pytest

from launcher.runtime.errors import CapabilityError
from launcher.runtime.stdlib import _sql
from launcher.runtime.stdlib._postgres import arranged, value_of
from tests.runtime_stdlib.conftest import Workbench


def filled(bench: Workbench, name: str = "db/x.db") -> str:
    path = bench.put(name, "")
    connection = sqlite3.connect(path)
    connection.executescript(
        "create table people (id integer primary key, name text); create table secrets (k text);"
        "insert into people (name) values ('ada'), ('bob'), ('eve'); insert into secrets values ('s');"
    )
    connection.close()
    return path


# --- SQLite -------------------------------------------------------------------------------------------------------

STATEMENTS = [
    ("select * from people", "read"),
    ("select count(*) from people where id in (select id from people)", "read"),
    ("with x as (select 1 as a) select * from x", "read"),
    ("pragma table_info(people)", "read"),
    ("insert into people (name) values ('x')", "write"),
    ("update people set name = 'x'", "write"),
    ("delete from people", "write"),
    ("create table t (a)", "write"),
    ("drop table secrets", "write"),
    ("alter table people add column x", "write"),
    ("create index i on people (name)", "write"),
    ("create trigger t after insert on people begin delete from secrets; end", "write"),
    ("attach '/etc/hostname' as x", "never"),
    ("attach ':memory:' as x", "never"),
    ("select load_extension('x')", "never"),
    ("select writefile('/tmp/x', 'y')", "never"),
    ("vacuum into '/tmp/mlsandbox-x'", "never"),
    ("pragma journal_mode = wal", "never"),
    ("pragma temp_store_directory = '/tmp'", "never"),
    ("pragma writable_schema = on", "never"),
    ("pragma user_version = 5", "never"),
    ("update sqlite_master set sql = ''", "never"),
    ("select 1; drop table people", "never"),
]


@pytest.mark.parametrize(("sql", "needs"), STATEMENTS)
@pytest.mark.parametrize("held", ["read", "write"])
def test_statements(bench: Workbench, sql: str, needs: str, held: str) -> None:
    filled(bench)
    bench.hold("file.read db/*", *(["file.write db/*"] if held == "write" else []))
    connection = bench.call("database.connect", "sqlite:db/x.db")
    allowed = needs == "read" or (needs == "write" and held == "write")
    try:
        connection.execute(sql)
        ran = True
    except (CapabilityError, RuntimeError):
        ran = False
    connection.close()
    assert ran is allowed
    assert os.listdir(bench.path("db")) == ["x.db"]


def test_opening_needs_reading(bench: Workbench) -> None:
    filled(bench)
    bench.hold("file.write db/*")
    for url in ("sqlite:db/x.db", f"sqlite://{bench.path('db/x.db')}", "sqlite:../../../../etc/hostname"):
        with pytest.raises(CapabilityError):
            bench.call("database.connect", url)


def test_a_link_is_followed_before_the_check(bench: Workbench) -> None:
    filled(bench, "outside.db")
    os.makedirs(bench.path("db"))
    os.symlink("../outside.db", bench.path("db/link.db"))
    bench.hold("file.read,write db/*")
    with pytest.raises(CapabilityError):
        bench.call("database.connect", "sqlite:db/link.db")


def test_uri_parameters_are_part_of_the_name(bench: Workbench) -> None:
    bench.put("db/x", "")
    bench.hold("file.read db/*")
    with pytest.raises((CapabilityError, RuntimeError)):
        bench.call("database.connect", "sqlite:db/x?mode=rwc&vfs=unix-none")


def test_memory_needs_nothing(bench: Workbench) -> None:
    bench.hold()
    connection = bench.call("database.connect", "sqlite::memory:")
    connection.execute("create table t (a)")
    assert connection.execute_many("insert into t values (?)", [[1], [2]]) == 2


def test_rules_for_the_file_narrow(bench: Workbench) -> None:
    path = filled(bench)
    rule = bench.grant(f"database.select sqlite://{path}", tables=["people"], max_rows=2)
    bench.hold("file.read,write db/*", rule)
    connection = bench.call("database.connect", "sqlite:db/x.db")
    assert len(connection.query("select * from people limit 2")) == 2
    with pytest.raises(CapabilityError, match="max_rows 2"):
        connection.query("select * from people")
    with pytest.raises(CapabilityError, match="table 'secrets'"):
        connection.query("select * from people, secrets")
    bench.hold("file.read,write db/*", denies=(f"database.delete sqlite://{path}",))
    with pytest.raises(CapabilityError, match="denied"):
        connection.execute("delete from people")


def test_values_come_back_as_they_went(bench: Workbench) -> None:
    bench.hold()
    connection = bench.call("database.connect", "sqlite::memory:")
    connection.execute("create table t (a, b, c, d, e)")
    connection.execute("insert into t values (?, ?, ?, ?, ?)", [None, 2**62, 1.5, "é", b"\x00\xff"])
    assert connection.query_one("select * from t") == {"a": None, "b": 2**62, "c": 1.5, "d": "é", "e": b"\x00\xff"}


BAD: list[tuple[str, Any, type[Exception]]] = [
    ("insert into t values (?)", [[1]], TypeError),
    ("insert into t values (?)", "x", TypeError),
    ("insert into t values (?)", [2**70], OverflowError),
    ("insert into t values (?)", [], RuntimeError),
    ("insert into t values (:a)", {"b": 1}, RuntimeError),
    ("select", None, RuntimeError),
    ("select 1\0", None, RuntimeError),
    (5, None, TypeError),  # type: ignore[list-item]
]


@pytest.mark.parametrize(("sql", "parameters", "error"), BAD)
def test_bad_statements(bench: Workbench, sql: str, parameters: Any, error: type[Exception]) -> None:
    bench.hold()
    connection = bench.call("database.connect", "sqlite::memory:")
    connection.execute("create table t (a)")
    with pytest.raises(error):
        connection.execute(sql, parameters)
    connection.close()


# --- PostgreSQL: judging ------------------------------------------------------------------------------------------

S, I, U, D, DDL = "select", "insert", "update", "delete", "ddl"  # noqa: E741
JUDGED: list[tuple[str, list[tuple[str, str]]]] = [
    ("select 1", [(S, "")]),
    ("select a, lower(b) from s.t join public.u on true", [(S, "s.t"), (S, "u")]),
    ('select * from "Secret", Secret', [(S, "Secret"), (S, "secret")]),
    ("select (select 1 from q) from t where exists (select 1 from r)", [(S, "q"), (S, "r"), (S, "t")]),
    ("select * from a union select * from b", [(S, "a"), (S, "b")]),
    ("values (1)", [(S, "")]),
    ("table t", [(S, "t")]),
    ("select * into x from t", [(DDL, "x"), (S, "t")]),
    ("select * from generate_series(1, 3)", [(S, "")]),
    ("with t as (select * from t) select * from t", [(S, "t")]),
    ("with recursive t as (select 1 union all select n + 1 from t) select * from t", [(S, "")]),
    ("with a as (select * from b), b as (select 1) select * from b", [(S, "b")]),
    ("select * from (with s as (select 1) select * from s) x, s", [(S, "s")]),
    ("insert into t (a) values (1)", [(I, "t")]),
    ("insert into t select a from s returning (select max(x) from z)", [(I, "t"), (S, "s"), (S, "z")]),
    ("insert into t values (1) on conflict do nothing", [(I, "t")]),
    ("insert into t values (1) on conflict (a) do update set a = 2", [(I, "t"), (U, "t")]),
    ("update t set a = 1 from u where t.id = u.id", [(S, "u"), (U, "t")]),
    ("delete from only t using u", [(D, "t"), (S, "u")]),
    ("with d as (delete from t returning *) insert into u select * from d", [(D, "t"), (I, "u")]),
    ("with d as (delete from t returning *) select * from d", [(D, "t")]),
    ("merge into t using s on t.id = s.id when matched then delete", [(D, "t"), (I, "t"), (S, "s"), (U, "t")]),
    ("create table t (a int)", [(DDL, "t")]),
    ("create table x as with d as (delete from t returning *) select * from d", [(DDL, "x"), (D, "t")]),
    ("create view v as select * from t", [(DDL, "v"), (S, "t")]),
    ("create index i on t (a)", [(DDL, "t")]),
    ("drop table a, b", [(DDL, "a"), (DDL, "b")]),
    ("truncate a, b", [(DDL, "a"), (DDL, "b")]),
    ("alter table t add column x int", [(DDL, "t")]),
]


@pytest.mark.parametrize(("sql", "needs"), JUDGED)
def test_judged(sql: str, needs: list[tuple[str, str]]) -> None:
    statement = _sql.judge(sql)
    assert statement.needs == sorted(needs)
    assert _sql.judge(statement.text).needs == statement.needs, "what is sent is judged the same"


REFUSED = [
    "select pg_read_file('/etc/passwd')", "select pg_catalog.pg_read_file('/etc/passwd')", "select lo_import('x')",
    "select query_to_xml('delete from t', true, true, '')", "select dblink('x', 'y')", "select set_config('a', 'b', true)",
    "select pg_terminate_backend(1)", "select pg_sleep(100)", "select * from f(1)", "select evil.lower('x')",
    "select * from lateral f(1)", "select current_setting('x')", "select ts_stat('delete from t')",
    "copy t from '/etc/passwd'", "copy (select 1) to program 'id'", "do $$ begin end $$", "call f()", "set role x",
    "set search_path = x", "reset all", "show all", "explain analyze delete from t", "begin", "commit", "vacuum t",
    "grant all on t to x", "listen x", "notify x", "lock table t", "prepare x as select 1", "execute x",
    "create function f() returns int as $$ select 1 $$ language sql", "create extension x", "load 'x'",
    "create trigger x before insert on t execute function f()", "comment on table t is 'x'", "select 1; drop table t",
    "create rule r as on insert to t do also delete from u", "", "-- nothing", "selec 1", "declare c cursor for select 1",
]  # fmt: skip


@pytest.mark.parametrize("sql", REFUSED)
def test_refused(sql: str) -> None:
    with pytest.raises(ValueError, match="SQL error"):
        _sql.judge(sql)


def test_depth_is_an_error_and_no_crash() -> None:
    with pytest.raises(ValueError, match="SQL error"):
        _sql.judge("select " + "(" * 5000 + "1" + ")" * 5000)


def test_comments_are_not_sent() -> None:
    assert _sql.judge("select 1 /* drop */ -- x").text == "SELECT 1"


PARAMETERS: list[tuple[str, str, Any, list[Any]]] = [
    ("select * from t where a = ? and b = ?", "a = $1 AND b = $2", [1, 2], [1, 2]),
    ("select * from t where a = :x and b = :y and c = :x", "a = $1 AND b = $2 AND c = $1", {"y": 2, "x": 1}, [1, 2]),
    ("select * from t where a = $2 and b = $1", "a = $2 AND b = $1", [1, 2], [1, 2]),
    ("select '?', ':x' from t where a = ?", "a = $1", ["v"], ["v"]),
]


@pytest.mark.parametrize(("sql", "text", "given", "sent"), PARAMETERS)
def test_parameters(sql: str, text: str, given: Any, sent: list[Any]) -> None:
    statement = _sql.judge(sql)
    assert statement.text.endswith(text)
    assert arranged(statement, given) == sent


def test_parameters_that_do_not_fit() -> None:
    for sql, given in (
        ("select ?", []), ("select ?", [1, 2]), ("select :a", {}), ("select :a", [1]), ("select ?", {"a": 1}),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="parameter"):
            arranged(_sql.judge(sql), given)
    with pytest.raises(ValueError, match="mixed"):
        _sql.judge("select ?, :a")


def test_values_of_a_server() -> None:
    import datetime as dt
    import uuid
    from decimal import Decimal

    rows = [
        (Decimal("1.50"), 1.5), (Decimal(12), 12), (Decimal("NaN"), "nan"), (dt.date(2024, 1, 2), "2024-01-02"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"), (memoryview(b"x"), b"x"), ([1, None], [1, None]),
        ({"a": [Decimal(1)]}, {"a": [1]}), (True, True), ((1, "a"), [1, "a"]),
    ]  # fmt: skip
    for given, expected in rows:
        got = value_of(given)
        assert (str(got) if expected == "nan" else got) == expected
        assert type(got) in {int, float, str, bytes, list, dict, bool, type(None)}


URLS = [
    "postgresql://h/db?host=evil", "postgresql://h/db#x", "postgresql://h%2Fx/db", "postgresql:///db", "postgres://",
    "mysql://h/db", "oracle:x",
]  # fmt: skip


@pytest.mark.parametrize("url", URLS)
def test_urls_that_could_name_another_server(bench: Workbench, url: str) -> None:
    bench.hold("database.select postgresql://h/")
    with pytest.raises((ValueError, CapabilityError)):
        bench.call("database.connect", url)
