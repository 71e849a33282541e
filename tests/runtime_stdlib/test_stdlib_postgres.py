"""`database` against a real PostgreSQL server, started for this file alone on a free port and a fresh directory."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import pytest

from launcher.runtime.errors import CapabilityError
from tests.runtime_stdlib.conftest import Workbench

PROGRAMS = sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1:]

pytestmark = pytest.mark.skipif(not PROGRAMS, reason="apt-get install postgresql brings the server")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """The server refuses to run as root: it runs as `postgres`, or as whoever runs the tests."""
    psycopg = pytest.importorskip("psycopg")
    user = "postgres" if os.geteuid() == 0 else None
    folder = tempfile.mkdtemp(prefix="mlsandbox-pg-")
    number, data = _free_port(), f"{folder}/data"
    if user:
        shutil.chown(folder, user)
    quiet: Any = {"user": user, "cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    made = ["initdb", "-D", data, "-U", "boss", "-A", "trust", "-N", "--no-instructions", "-E", "UTF8"]
    subprocess.run([f"{PROGRAMS[0]}/{made[0]}", *made[1:]], check=True, timeout=60, **quiet)
    settings = [
        "fsync=off",
        "listen_addresses=127.0.0.1",
        "unix_socket_directories=",
        f"port={number}",
        "max_connections=20",
    ]
    server = subprocess.Popen(
        [f"{PROGRAMS[0]}/postgres", "-D", data, *[word for text in settings for word in ("-c", text)]], **quiet
    )
    try:
        _prepare(psycopg, number)
        yield number
    finally:
        server.terminate()
        server.wait(20)
        shutil.rmtree(folder, ignore_errors=True)


def _prepare(psycopg: Any, number: int) -> None:
    deadline = time.monotonic() + 20
    while True:
        with contextlib.suppress(psycopg.OperationalError):
            connection = psycopg.connect(host="127.0.0.1", port=number, user="boss", dbname="postgres", autocommit=True)
            break
        assert time.monotonic() < deadline, "the server did not start"
        time.sleep(0.05)
    with connection:
        connection.execute(
            "create table orders (id int primary key, item text, price numeric(10,2), at timestamptz, tags text[], doc jsonb);"
            "create table secrets (k text); insert into secrets values ('s');"
            "create function evil() returns int language sql as $$ delete from secrets; select 1 $$;"
            "create schema other; create table other.orders (k text); insert into other.orders values ('hidden');"
            # By default the server looks into the schema of the user's name first.
            "create schema boss; create table boss.orders (k text); insert into boss.orders values ('hidden')"
        )


@pytest.fixture(autouse=True)
def fresh(port: int) -> None:
    import psycopg

    with psycopg.connect(host="127.0.0.1", port=port, user="boss", dbname="postgres", autocommit=True) as connection:
        connection.execute(
            "truncate public.orders; insert into public.orders values "
            "(1, 'tea', 1.50, '2024-01-02 03:04:05+00', '{a,b}', '{\"x\": [1, null]}'), (2, 'cup', 3, null, null, null)"
        )


def opened(bench: Workbench, port: int, operations: str, **constraints: Any) -> Any:
    url = f"postgresql://boss@127.0.0.1:{port}/postgres"
    bench.hold(bench.grant(f"database.{operations} postgresql://127.0.0.1:{port}/", **constraints))
    return bench.call("database.connect", url)


def test_rows_are_objects_of_ml_values(bench: Workbench, port: int) -> None:
    connection = opened(bench, port, "select")
    row = connection.query_one("select * from orders where id = ?", [1])
    assert row["at"].startswith("2024-01-02T03:04:05") or row["at"].startswith("2024-01-02")
    row.pop("at")
    assert row == {"id": 1, "item": "tea", "price": 1.5, "tags": ["a", "b"], "doc": {"x": [1, None]}}
    assert connection.tables() == ["orders", "secrets"]
    connection.close()


def test_operations_are_judged(bench: Workbench, port: int) -> None:
    statements = {
        "select": "select item from orders", "insert": "insert into orders (id, item) values (9, 'x')",
        "update": "update orders set item = 'y' where id = 9", "delete": "delete from orders where id = 9",
        "ddl": "create table if not exists extra (a int)",
    }  # fmt: skip
    for held in statements:
        connection = opened(bench, port, held)
        for operation, sql in statements.items():
            if operation == held:
                connection.execute(sql)
            else:
                with pytest.raises(CapabilityError, match=f"database.{operation}"):
                    connection.execute(sql)
        connection.close()


def test_parameters_are_no_sql(bench: Workbench, port: int) -> None:
    connection = opened(bench, port, "select,insert")
    connection.execute(
        "insert into orders (id, item) values (:id, :item)", {"id": 7, "item": "'); drop table orders; --"}
    )
    assert connection.query_one("select item from orders where id = ?", [7])["item"] == "'); drop table orders; --"
    connection.close()


def test_tables_and_rows_are_bounded(bench: Workbench, port: int) -> None:
    connection = opened(bench, port, "select,insert", tables=["orders"], max_rows=1)
    assert len(connection.query("select * from orders limit 1")) == 1
    with pytest.raises(CapabilityError, match="max_rows 1"):
        connection.query("select * from orders")
    for sql in ("select * from secrets", "select * from orders, secrets", "insert into secrets values ('x')",
                "select (select k from secrets)", "select * from other.orders", "select * from pg_catalog.pg_authid",
                "with orders as (select * from secrets) select * from orders"):  # fmt: skip
        with pytest.raises(CapabilityError, match="not granted for table"):
            connection.query(sql)
    connection.close()


def test_a_name_means_the_table_that_was_judged(bench: Workbench, port: int) -> None:
    connection = opened(bench, port, "select", tables=["orders"])
    assert connection.query_one("select * from orders limit 1")["item"] == "tea"
    assert connection.query_one("select count(*) as n from public.orders")["n"] == 2
    with pytest.raises(CapabilityError):
        connection.query("select * from boss.orders")
    connection.close()


def test_functions_of_the_server_stay_closed(bench: Workbench, port: int) -> None:
    connection = opened(bench, port, "select")
    for sql in (
        "select evil()",
        "select pg_read_file('postgresql.conf')",
        "select query_to_xml('select 1', true, true, '')",
    ):
        with pytest.raises(ValueError, match="is not available"):
            connection.query(sql)
    connection.close()


def test_the_session_is_read_only_on_the_server_too(bench: Workbench, port: int) -> None:
    connection = opened(bench, port, "select")
    with pytest.raises(Exception, match="read-only transaction"):
        connection._session._connection.execute("delete from orders")
    connection.close()


def test_transactions(bench: Workbench, port: int) -> None:
    connection = opened(bench, port, "select,delete")

    def fails(inner: Any) -> None:
        inner.execute("delete from orders")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        connection.transaction(fails)
    assert connection.query_one("select count(*) as n from orders")["n"] == 2
    assert connection.transaction(lambda inner: inner.execute("delete from orders where id = 1")) == 1
    assert connection.query_one("select count(*) as n from orders")["n"] == 1
    connection.close()


def test_errors_of_the_server_are_texts(bench: Workbench, port: int) -> None:
    connection = opened(bench, port, "select,insert")
    with pytest.raises(RuntimeError, match=r"Database error: .*absent"):
        connection.query("select * from absent")
    with pytest.raises(RuntimeError, match="Database error: duplicate key"):
        connection.execute("insert into orders (id) values (1)")
    assert connection.query_one("select 1 as one") == {"one": 1}
    connection.close()


def test_a_connection_that_was_cut_is_an_error_of_ml(bench: Workbench, port: int) -> None:
    import psycopg

    connection = opened(bench, port, "select")
    with psycopg.connect(host="127.0.0.1", port=port, user="boss", dbname="postgres", autocommit=True) as boss:
        boss.execute("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'mlsandbox'")
    for work in (lambda: connection.query("select 1"), connection.begin, connection.tables):
        with pytest.raises(RuntimeError, match="Database error"):
            work()
    connection.close()


def test_other_connections_are_refused(bench: Workbench, port: int) -> None:
    bench.hold(f"database.select postgresql://127.0.0.1:{port}/sales")
    with pytest.raises(CapabilityError):
        bench.call("database.connect", f"postgresql://boss@127.0.0.1:{port}/postgres")
    bench.hold("database.select postgresql://127.0.0.1/")
    with pytest.raises(CapabilityError):
        bench.call("database.connect", f"postgresql://boss@127.0.0.1:{port}/postgres")


def test_a_server_that_is_not_there(bench: Workbench, port: int) -> None:
    bench.hold("database.select postgresql://127.0.0.1:1/")
    with pytest.raises(ConnectionError, match="Database error"):
        bench.call("database.connect", "postgresql://127.0.0.1:1/x", {"timeout": 2})


def test_the_password_is_no_part_of_what_is_judged_or_told(bench: Workbench, port: int) -> None:
    bench.hold(f"database.select postgresql://127.0.0.1:{port}/")
    connection = bench.call("database.connect", f"postgresql://boss:hunter2@127.0.0.1:{port}/postgres")
    connection.query("select 1")
    assert "hunter2" not in connection.url
    assert "hunter2" not in str(bench.claims())
    connection.close()
