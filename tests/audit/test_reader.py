from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from launcher.audit.event import event
from launcher.audit.log import AuditLog
from launcher.audit.reader import Filters, moment, read
from launcher.audit.rotate import rotate
from launcher.errors import AuditError, UsageError

if TYPE_CHECKING:
    from launcher.audit.files import AuditFiles

ROWS: list[dict[str, Any]] = [
    {"user": "alice", "outcome": "ALLOWED", "job": "j1", "capability": "file", "time": "2025-10-01T08:00:00.000000Z"},
    {"user": "alice", "outcome": "DENIED", "job": "j1", "capability": "network", "time": "2025-10-02T08:00:00.000000Z"},
    {"user": "bob", "outcome": "DENIED", "job": "j2", "capability": "file", "time": "2025-10-03T08:00:00.000000Z"},
    {"user": 'eve","user":"alice', "outcome": "DENIED", "job": "j3", "time": "2025-10-04T08:00:00.000000Z"},
    {"user": "al\udcffce", "outcome": "DENIED", "job": "j4", "time": "2025-10-05T08:00:00.000000Z"},
]


@pytest.fixture
def rows(files: AuditFiles) -> AuditFiles:
    log = AuditLog.at(files)
    for row in ROWS:
        log.append([{**event("access", "policy"), **row}])
    log.close()
    return files


def jobs(files: AuditFiles, **wanted: str) -> list[str]:
    return [str(item["job"]) for item in read(files, Filters(**wanted))]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({}, ["j1", "j1", "j2", "j3", "j4"]),
        ({"user": "alice"}, ["j1", "j1"]),
        ({"user": "al\udcffce"}, ["j4"]),
        ({"user": "lic"}, []),
        ({"outcome": "DENIED"}, ["j1", "j2", "j3", "j4"]),
        ({"job": "j2"}, ["j2"]),
        ({"capability": "file", "user": "bob"}, ["j2"]),
        ({"since": "2025-10-02T08:00:00.000000Z", "until": "2025-10-04T08:00:00.000000Z"}, ["j1", "j2"]),
    ],
)
def test_filters(rows: AuditFiles, wanted: dict[str, str], found: list[str]) -> None:
    assert jobs(rows, **wanted) == found


def test_segments_are_read_oldest_first(rows: AuditFiles) -> None:
    rotate(rows)
    AuditLog.at(rows).append([event("access", "policy", job="j9")])
    assert jobs(rows) == ["j1", "j1", "j2", "j3", "j4", "", "j9"]


def test_torn_and_damaged_lines(rows: AuditFiles) -> None:
    with open(rows.log, "ab") as stream:
        stream.write(b"not json\n[1]\n{")
    places: list[str] = []
    assert len(list(read(rows, damaged=places.append))) == 5
    assert places == [f"{rows.log}:6", f"{rows.log}:7"]
    assert len(list(read(rows))) == 5


def test_no_log_is_an_empty_log(files: AuditFiles) -> None:
    assert list(read(files)) == []


def test_a_log_that_is_a_symlink_is_not_followed(rows: AuditFiles) -> None:
    os.rename(rows.log, rows.log + "x")
    os.symlink(rows.log + "x", rows.log)
    with pytest.raises(AuditError, match="cannot read"):
        list(read(rows))


NOW = datetime(2025, 10, 3, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("1h", "2025-10-03T11:00:00.000000Z"),
        ("90s", "2025-10-03T11:58:30.000000Z"),
        ("2d", "2025-10-01T12:00:00.000000Z"),
        ("1w", "2025-09-26T12:00:00.000000Z"),
        ("2025-10-01T00:00:00Z", "2025-10-01T00:00:00.000000Z"),
        ("2025-10-01T02:00:00+02:00", "2025-10-01T00:00:00.000000Z"),
    ],
)
def test_moments(text: str, meant: str) -> None:
    assert moment(text, NOW) == meant


def test_a_date_is_local_midnight() -> None:
    local = datetime(2025, 10, 1).astimezone()
    assert moment("2025-10-01", NOW) == local.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@pytest.mark.parametrize("text", ["", "soon", "1y", "2025-13-01", "999999w", "1h\n2", "٣h\x1b[2J"])
def test_what_is_no_time_is_an_error_with_a_hint(text: str) -> None:
    with pytest.raises(UsageError, match="not a time") as caught:
        moment(text, NOW)
    assert "1h" in caught.value.hint
    assert "\x1b" not in caught.value.message
