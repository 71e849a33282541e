from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from launcher.audit.human import line

if TYPE_CHECKING:
    from collections.abc import Iterator

# Seed 000, "Step 8: Audit Log".
GOLDEN = """\
[2025-10-03 10:30:00] alice ALLOWED file.read data/sales.csv
[2025-10-03 10:30:01] alice ALLOWED network.get api.internal.company.com
[2025-10-03 10:30:02] alice DENIED file.write secret/passwords.txt"""

SEED = [
    ("2025-10-03T08:30:00.000000Z", "ALLOWED", "file", "read", "data/sales.csv"),
    ("2025-10-03T08:30:01.500000Z", "ALLOWED", "network", "network.get", "api.internal.company.com"),
    ("2025-10-03T08:30:02.999999Z", "DENIED", "file", "write", "secret/passwords.txt"),
]


@pytest.fixture(autouse=True)
def berlin() -> Iterator[None]:
    """Local time is what is printed: two hours ahead of UTC on that day."""
    old = os.environ.get("TZ")
    os.environ["TZ"] = "CET-1CEST,M3.5.0,M10.5.0/3"
    time.tzset()
    yield
    os.environ.pop("TZ")
    if old is not None:
        os.environ["TZ"] = old
    time.tzset()


def made(when: str, outcome: str, capability: str, operation: str, resource: str) -> dict[str, object]:
    return {"time": when, "user": "alice", "outcome": outcome, "capability": capability, "operation": operation,
            "resource": resource, "event": "access"}  # fmt: skip


def test_the_lines_of_the_seed() -> None:
    assert "\n".join([line(made(*row)) for row in SEED]) == GOLDEN


def test_a_newline_in_a_name_forges_no_line() -> None:
    forged = "x\n[2025-10-03 10:30:02] alice ALLOWED file.write secret/passwords.txt"
    printed = line(made("2025-10-03T08:30:02Z", "DENIED", "file", "write", forged))
    assert "\n" not in printed
    assert printed.startswith("[2025-10-03 10:30:02] alice DENIED file.write x\\n[2025")


def test_escape_sequences_do_not_reach_the_terminal() -> None:
    row = made("2025-10-03T08:30:02Z", "DENIED", "file", "write", "\x1b]52;c;eA==\x07\udcff")
    row["user"] = "ali\x1b[31mce"
    assert line(row) == "[2025-10-03 10:30:02] ali\\x1b[31mce DENIED file.write \\x1b]52;c;eA==\\x07\\xff"


def test_an_event_without_an_operation_shows_its_name() -> None:
    event = {
        "time": "2025-10-03T08:30:02Z",
        "event": "launch",
        "user": "alice",
        "outcome": "ALLOWED",
        "resource": "job.ml",
    }
    assert line(event) == "[2025-10-03 10:30:02] alice ALLOWED launch job.ml"


def test_a_time_that_is_none_does_not_stop_the_view() -> None:
    assert line({"time": "\x1b[2J", "event": "x"}) == "[---------- --------] - x"
