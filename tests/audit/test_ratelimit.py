from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from launcher.audit.event import event
from launcher.audit.ratelimit import SUPPRESSED, DenialLimit

SECOND = 1_000_000_000


def denied(operation: str = "read") -> dict[str, Any]:
    return event("access", "runtime", "DENIED", user="alice", job="j1", capability="file", operation=operation)


def allowed() -> dict[str, Any]:
    return event("access", "runtime", "ALLOWED", user="alice", job="j1")


def test_a_million_denials_become_a_burst_and_a_count() -> None:
    limit = DenialLimit(rate=10, burst=100)
    item = denied()
    written = [kept for step in range(1_000_000) for kept in limit.passed([item], SECOND + step)]  # within 1 ms
    written += limit.flushed(2 * SECOND)
    assert len(written) == 101
    assert written[-1]["event"] == SUPPRESSED
    assert written[-1]["detail"] == {"dropped": 999_900, "kinds": {"file.read": 999_900}}
    assert (written[-1]["user"], written[-1]["job"]) == ("alice", "j1")


def test_what_was_allowed_is_never_dropped() -> None:
    limit = DenialLimit(rate=1, burst=1)
    assert len(limit.passed([denied(), denied(), allowed(), allowed()], SECOND)) == 3


def test_the_bucket_fills_again() -> None:
    limit = DenialLimit(rate=2, burst=4)
    assert len(limit.passed([denied()] * 10, SECOND)) == 4
    later = limit.passed([denied()] * 10, 2 * SECOND)
    assert [item["event"] for item in later].count("access") == 2


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, SECOND)), max_size=40))
def test_every_denial_is_written_or_counted(steps: list[tuple[int, int]]) -> None:
    limit, now = DenialLimit(rate=3, burst=5), SECOND
    written: list[dict[str, Any]] = []
    for count, pause in steps:
        now += pause
        written += limit.passed([denied()] * count, now)
    written += limit.flushed(now)
    counted = sum(item["detail"]["dropped"] for item in written if item["event"] == SUPPRESSED)
    assert counted == limit.dropped
    assert counted + sum(item["event"] == "access" for item in written) == sum(count for count, _ in steps)


def test_a_job_that_invents_operations_does_not_grow_the_summary() -> None:
    limit = DenialLimit(rate=1, burst=1)
    limit.passed([denied(f"o{number}") for number in range(1000)], SECOND)
    detail: Any = limit.flushed(SECOND)[0]["detail"]
    assert len(detail["kinds"]) <= 33
    assert sum(detail["kinds"].values()) == detail["dropped"] == 999
