"""The grant store: last word counts, every commit is visible to stat, and a broken file is an error."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from launcher.errors import ConfigurationError, UsageError
from launcher.policy.paths import Locations
from launcher.policy.store import GrantStore


@pytest.fixture
def locations(tmp_path: Path) -> Locations:
    """Everything below a temporary directory."""
    return Locations.below(str(tmp_path))


def fields(store: GrantStore) -> list[list[str]]:
    """All rows, as deciding sees them."""
    return [row.fields() for row in store.rows()]


def test_there_is_nothing_before_the_first_grant(locations: Locations) -> None:
    assert GrantStore(locations).rows() == []
    assert not os.path.exists(locations.grants)


def test_a_revocation_replaces_a_grant_and_a_grant_a_revocation(locations: Locations) -> None:
    store = GrantStore(locations)
    store.grant("p", "user", "alice", "root")
    store.grant("p", "group", "team", "root")
    store.revoke("p", "user", "alice", "root")
    assert fields(store) == [["p", "grant", "group", "team"], ["p", "exclude", "user", "alice"]]
    store.grant("p", "user", "alice", "root")
    assert fields(store)[1] == ["p", "grant", "user", "alice"]
    store.forget("p")
    assert fields(store) == []


def test_who_and_when_are_kept(locations: Locations) -> None:
    GrantStore(locations).grant("p", "user", "alice", "carol")
    (row,) = GrantStore(locations).rows_of("p")
    assert row.by == "carol"
    assert abs(row.at - time.time()) < 60


def test_the_database_is_its_owners_alone(locations: Locations) -> None:
    before = os.umask(0)
    try:
        GrantStore(locations).grant("p", "user", "alice", "root")
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(locations.grants).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(locations.state).st_mode) == 0o700


def test_every_commit_changes_the_stat_of_the_file(locations: Locations) -> None:
    store = GrantStore(locations)
    seen = set()
    for number in range(5):
        store.grant("p", "user", f"u{number}", "root")
        status = os.stat(locations.grants)
        seen.add((status.st_mtime_ns, status.st_ctime_ns))
        time.sleep(0.02)  # longer than the kernel's tick; within one, the cache distrusts what is so new
    assert len(seen) == 5
    assert os.listdir(locations.state) == ["grants.db"]


def test_a_commit_is_seen_while_another_process_has_the_database_open(locations: Locations) -> None:
    """With WAL the file would stay as it was until the last reader is gone, and a revocation would not count."""
    store = GrantStore(locations)
    store.grant("p", "user", "alice", "root")
    with closing(sqlite3.connect(locations.grants)) as reader:
        assert reader.execute("SELECT count(*) FROM assignment").fetchone() == (1,)
        before = os.stat(locations.grants)
        time.sleep(0.02)
        store.revoke("p", "user", "alice", "root")
        after = os.stat(locations.grants)
    assert (before.st_mtime_ns, before.st_ctime_ns) != (after.st_mtime_ns, after.st_ctime_ns)


def test_writers_at_once_lose_nothing(locations: Locations) -> None:
    def write(number: int) -> None:
        for step in range(5):
            GrantStore(locations).grant("p", "user", f"u{number}-{step}", "root")

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(GrantStore(locations).rows()) == 20


def test_a_newer_schema_and_a_broken_file_are_errors(locations: Locations) -> None:
    GrantStore(locations).grant("p", "user", "alice", "root")
    database = sqlite3.connect(locations.grants)
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(ConfigurationError, match="schema version 99"):
        GrantStore(locations).rows()
    Path(locations.grants).write_bytes(b"not a database" * 100)
    with pytest.raises(ConfigurationError, match="cannot use the grants"):
        GrantStore(locations).rows()
    with pytest.raises(ConfigurationError, match="cannot use the grants"):
        GrantStore(locations).grant("p", "user", "alice", "root")


@pytest.mark.parametrize(
    ("kind", "name"), [("host", "alice"), ("user", ""), ("user", "a\nb"), ("user", "a\x1b[0m"), ("role", "x" * 300)]
)
def test_odd_subjects_are_refused(locations: Locations, kind: str, name: str) -> None:
    with pytest.raises(UsageError):
        GrantStore(locations).grant("p", kind, name, "root")


def test_names_are_data(locations: Locations) -> None:
    odd = ["--", "-e", "$(x)", "%s", "a:b", "a,b", "'; DROP TABLE assignment; --"]
    for name in odd:
        GrantStore(locations).grant("p", "user", name, "root")
    assert sorted(row.name for row in GrantStore(locations).rows()) == sorted(odd)


def test_a_path_with_marks_of_a_uri_is_a_path(tmp_path: Path) -> None:
    locations = Locations.below(str(tmp_path / "a?b#c%41"))
    GrantStore(locations).grant("p", "user", "alice", "root")
    assert os.path.exists(locations.grants)
    assert len(GrantStore(locations).rows()) == 1
