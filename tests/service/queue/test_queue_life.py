"""Jobs from submission to their end, and every crash on the way."""

from __future__ import annotations

import itertools
import os
import tempfile
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.errors import EnforcementError, RefusedError, SandboxError
from launcher.service.queue import states
from launcher.service.queue.dependencies import ALL, Need
from tests.service.queue.host import Crash, Host

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(str(tmp_path), max_jobs=2, retry_delay=1)
    yield made
    made.store.close()


# -- the ordinary life ------------------------------------------------------------------------------------------------


def test_jobs_run_as_there_is_room_and_end_with_their_status(host: Host) -> None:
    number = host.submit(5)
    assert len(host.running) == 2
    host.running[0].end(3)
    host.run_all()
    assert host.states(number) == {"ended": 5}
    assert host.store.job((number, 0))["exit_code"] == 3  # type: ignore[index]
    assert set(host.started.values()) == {1}
    row = host.store.submission(number)
    assert row is not None
    assert (row["succeeded"], row["failed"]) == (4, 1)
    assert row["ended"]


def test_the_same_key_is_the_same_submission(host: Host) -> None:
    """A client whose connection broke asks again: it must not queue its jobs twice."""
    first = host.submit(300, key="k")
    assert host.submit(300, key="k") == first
    assert host.submit(300, "bob", key="k") != first, "another tenant's key is another key"
    answers: list[int] = []
    for _ in range(2):  # and while the first is being written
        host.queue.submit(host.submission(900, key="both"), lambda number, _error: answers.append(number))
    host.loop.settle()
    assert len(answers) == 2
    assert len(set(answers)) == 1


def test_a_failed_job_is_run_again_as_often_as_it_says(host: Host) -> None:
    number = host.submit(1, retries=2)
    for attempt in (1, 2, 3):
        assert [job.key for job in host.running] == [(number, 0)]
        host.running[0].end(1)
        host.loop.settle()
        assert host.state((number, 0)) == ("held" if attempt < 3 else "ended")
        host.loop.pass_time(0.5)
        assert not host.running, "the delay before the next attempt"
        host.loop.pass_time(10)
    assert host.started[number, 0] == 3


def test_a_success_is_not_run_again_and_neither_is_a_refusal_by_policy(host: Host) -> None:
    good, refused, broken = host.submit(1, retries=3), host.submit(1, retries=3), host.submit(1, retries=1)
    host.running[0].end(0)
    host.running[0].end(error=RefusedError("no policy applies to alice"))
    host.loop.settle()
    host.running[0].end(error=SandboxError("cannot fork"))
    host.run_all()
    assert host.state((good, 0)) == "ended"
    assert host.state((refused, 0)) == "refused"
    assert "no policy" in host.store.job((refused, 0))["reason"]  # type: ignore[index]
    assert host.state((broken, 0)) == "ended"
    assert host.started == {(good, 0): 1, (refused, 0): 1, (broken, 0): 2}


def test_who_lost_the_right_meanwhile_is_refused_at_the_start(host: Host) -> None:
    host.submit(2)
    number = host.submit(1)
    host.refuse = RefusedError("the user 'alice' is disabled")
    for _ in range(2):
        host.running[0].end()
    host.loop.settle()
    assert host.state((number, 0)) == "refused"
    assert host.started[number, 0] == 0
    host.refuse = None
    other = host.submit(1)
    assert [job.key for job in host.running] == [(other, 0)], "what it held was freed"


def test_a_launcher_that_was_killed_is_an_interruption(host: Host) -> None:
    once, again = host.submit(1), host.submit(1, retries=1)
    for job in list(host.running):
        job.end(error=EnforcementError("keep", "the job's launcher"))
    host.loop.settle()
    assert host.state((once, 0)) == "interrupted"
    host.run_all()
    assert host.state((again, 0)) == "ended"


# -- cancelling -------------------------------------------------------------------------------------------------------


def test_cancelling_stops_what_runs_and_what_waits_and_frees_it(host: Host) -> None:
    number = host.submit(1000)
    assert host.cancel((number, ALL)) == 1000
    assert host.states(number) == {"cancelled": 1000}
    assert host.queue.pending == {}
    assert host.queue.scheduler.used == (0, 0, 0, 0)
    assert host.cancel((number, ALL)) == 0
    host.submit(1)
    assert len(host.running) == 1
    assert host.store.job((number, 3))["cancelled_by"] == "somebody"  # type: ignore[index]


def test_a_job_that_is_cancelled_between_claim_and_start_does_not_start(host: Host) -> None:
    made = host.submission(1)
    host.queue.submit(made, lambda _number, _error: None)
    host.queue._pump()
    assert host.state((1, 0)) == "starting"
    host.queue.cancel([(1, 0)], "somebody", lambda _count: None)
    host.loop.settle()
    assert host.state((1, 0)) == "cancelled"
    assert not host.started


def test_a_job_that_waits_for_its_next_attempt_can_be_cancelled(host: Host) -> None:
    number = host.submit(1, retries=5)
    host.running[0].end(1)
    host.loop.settle()
    assert host.cancel((number, 0)) == 1
    host.run_all()
    assert host.states(number) == {"cancelled": 1}
    assert host.started[number, 0] == 1


# -- dependencies -----------------------------------------------------------------------------------------------------


def test_a_job_waits_for_what_it_needs_and_is_skipped_where_that_fails(host: Host) -> None:
    first = host.submit(2)
    then = host.submit(3, needs=[Need(first)])
    last = host.submit(1, needs=[Need(then)])
    whatever = host.submit(1, needs=[Need(first, any_end=True)])
    assert host.states(then) == {"held": 3}
    host.running[0].end()
    host.running[0].end(1)
    host.run_all()
    assert host.states(then) == {"skipped": 3}
    assert host.states(last) == {"skipped": 1}
    assert host.states(whatever) == {"ended": 1}


def test_what_has_happened_already_is_not_waited_for_and_what_failed_is_refused(host: Host) -> None:
    good, bad = host.submit(1), host.submit(1)
    host.running[0].end()
    host.running[0].end(1)
    host.loop.settle()
    host.submit(1, needs=[Need(good, 0), Need(bad, any_end=True)])
    assert len(host.running) == 1
    with pytest.raises(RefusedError, match=f"job {bad} did not succeed") as refused:
        host.submit(1, needs=[Need(bad)])
    assert "--after-any" in refused.value.hint


# -- limits -----------------------------------------------------------------------------------------------------------


def test_a_full_queue_refuses_and_says_what_to_do(tmp_path: Path) -> None:
    host = Host(str(tmp_path), max_jobs=1, max_queued=12, tenant={"max_queued": 10})
    host.submit(10)
    with pytest.raises(RefusedError, match="alice has 10 jobs in the queue and may have 10; 1 more") as refused:
        host.submit(1)
    assert "cancel" in refused.value.hint
    host.submit(2, "bob")
    with pytest.raises(RefusedError, match="the queue is full"):
        host.submit(1, "carol")
    host.running[0].end()
    host.loop.settle()
    host.submit(1)
    host.store.close()


def test_a_job_that_could_never_start_is_refused_when_it_is_submitted(tmp_path: Path) -> None:
    host = Host(str(tmp_path), tenants={"alice": {"max_memory": 1 << 30}})
    demand = host.queue.settings.demand("alice", {"max_memory": 2 << 30})
    with pytest.raises(RefusedError, match=r"could never start.*memory"):
        host.submit(1, demand=demand)
    assert host.queue.settings.demand("bob", {"max_memory": 2 << 30}) == (1, 0, 0, 0), "nobody counts bob's memory"
    host.store.close()


# -- secrets ----------------------------------------------------------------------------------------------------------


def contents(directory: str) -> bytes:
    found = b""
    for name in os.listdir(directory):
        if name.startswith("queue.db"):
            assert os.stat(f"{directory}/{name}").st_mode & 0o077 == 0, "for root alone"
            with open(f"{directory}/{name}", "rb") as file:
                found += file.read()
    return found


def test_variables_reach_the_job_and_are_gone_when_it_has_ended(tmp_path: Path) -> None:
    host = Host(str(tmp_path))
    canary = "canary-0123456789abcdef"
    number = host.submit(2, secret={"environment": {"TOKEN": canary}})
    assert host.running[0].start.request.environment == {"TOKEN": canary}
    host.running[0].end()
    host.loop.settle()
    assert host.store.secret((number, 1))["environment"] == {"TOKEN": canary}, "another job of it still runs"
    host.run_all()
    assert host.store.secret((number, 1)) == {}
    host.store.checkpoint()
    host.store.close()
    assert canary.encode() not in contents(str(tmp_path)), "secure_delete"


# -- crashes ----------------------------------------------------------------------------------------------------------


def test_what_runs_when_the_service_dies_is_interrupted_or_run_again(host: Host) -> None:
    once, again, waits = host.submit(1), host.submit(1, retries=1), host.submit(1)
    host.crash()
    assert host.state((once, 0)) == "interrupted"
    assert host.state((again, 0)) == "held"
    assert [job.key for job in host.running] == [(waits, 0)]
    host.loop.pass_time(1.0)
    assert len(host.running) == 1, "not while the sandbox of the last attempt may still be ending"
    host.loop.pass_time(2.0)
    assert len(host.running) == 2
    host.run_all()
    assert host.state((again, 0)) == "ended"


def test_an_interrupted_job_skips_who_needed_it(host: Host) -> None:
    first = host.submit(1)
    then = host.submit(1, needs=[Need(first)])
    host.crash()
    assert host.states(then) == {"skipped": 1}


def test_a_claim_without_a_start_is_undone_but_not_after_a_reboot(host: Host) -> None:
    """The claim is on disk before the job starts; the record of the start is not. After a power cut nobody knows."""
    for reboot, expected in ((False, "running"), (True, "interrupted")):
        host.queue.submit(host.submission(1), lambda _number, _error: None)
        number = host.store.open_submissions()[-1]
        host.queue._pump()
        assert host.state((number, 0)) == "starting"
        host.crash(reboot=reboot)
        assert host.state((number, 0)) == expected
        host.run_all()


def test_a_submission_that_was_not_acknowledged_is_gone_and_the_key_is_free(host: Host) -> None:
    host.queue.submit(host.submission(1000, key="k"), lambda _number, _error: None)  # one slice of five
    host.crash()
    assert host.recovered.abandoned == 1
    assert host.queue.pending == {}
    number = host.submit(1000, key="k")
    assert sum(host.states(number).values()) == 1000


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("submit"), st.sampled_from(["alice", "bob"]), st.integers(1, 3), st.integers(0, 2)),
        st.tuples(st.just("after"), st.integers(0, 9), st.booleans()),
        st.tuples(st.just("end"), st.integers(0, 9), st.sampled_from([0, 0, 1])),
        st.tuples(st.just("cancel"), st.integers(0, 9)),
        st.tuples(st.just("time"), st.sampled_from([1, 5])),
    ),
    max_size=25,
)
CRASHES = st.lists(st.tuples(st.integers(1, 12), st.booleans(), st.sampled_from([False, False, True])), max_size=6)


def act(host: Host, action: tuple[Any, ...], acknowledged: dict[int, int]) -> None:
    what, *values = action
    known = sorted(acknowledged)
    if what == "submit":
        number = host.submit(values[1], values[0], retries=values[2])
        acknowledged[number] = values[1]
    elif what == "after" and known:
        need = Need(known[values[0] % len(known)], any_end=values[1])
        try:
            acknowledged[host.submit(1, needs=[need])] = 1
        except RefusedError:
            return
    elif what == "end" and host.running:
        host.running[values[0] % len(host.running)].end(values[1])
    elif what == "cancel" and known:
        host.cancel((known[values[0] % len(known)], ALL))
    elif what == "time":
        host.loop.pass_time(values[0])
    host.loop.settle()


@settings(max_examples=150, deadline=None)
@given(ACTIONS, CRASHES)
def test_every_job_is_accounted_for_once_whenever_the_service_is_killed(
    actions: list[tuple[Any, ...]], crashes: list[tuple[int, bool, bool]]
) -> None:
    """The service dies at any commit, just before or just after it, any number of times. Every acknowledged job comes to
    one end, none starts more often than its retries allow, and nothing is left held, counted or unfinished."""
    with tempfile.TemporaryDirectory() as directory:
        host = Host(directory, max_jobs=2, retry_delay=1)
        acknowledged: dict[int, int] = {}
        plan = iter(crashes)

        def arm() -> bool:
            armed = next(plan, None)
            if armed:
                host.store.countdown, host.store.after, reboot = armed
                return reboot
            return False

        reboot = arm()
        for action in itertools.chain(actions, [("finish",)]):
            while True:
                try:
                    if action == ("finish",):
                        host.run_all()
                    else:
                        act(host, action, acknowledged)
                    break
                except Crash:
                    host.crash(reboot=reboot)
                    reboot = arm()
                    if action != ("finish",):
                        break
        for number, jobs in acknowledged.items():
            assert sum(host.states(number).values()) == jobs, "no job was lost"
        counts = host.store.counts()
        assert set(counts) <= states.FINAL, f"not all came to an end: {counts}"
        for key, starts in host.started.items():
            row = host.store.job(key)
            assert starts <= (1 + row["retries"] if row is not None else 1), f"{key} was run {starts} times"
            if row is not None and row["state"] == states.ENDED:
                assert starts >= 1
        assert host.queue.pending == {}
        assert host.queue.scheduler.used == (0, 0, 0, 0)
        assert host.store.open_submissions() == []
        ended = [key for key, _event in host.events]
        assert len(ended) == len(set(ended)), "an end was told twice"
        host.store.close()


def test_a_disk_that_is_full_loses_no_end(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of a job is recorded when the disk takes it again; until then the job counts as running."""
    number = host.submit(1)
    host.store._database.execute("PRAGMA max_page_count = 1")
    big = {"exit_code": 0, "job": "x" * 3_000_000}
    job = host.running[0]
    host.running.remove(job)
    from launcher.service.jobs import Ended

    job._on_end(Ended("run", big, None))
    host.loop.settle()
    assert host.state((number, 0)) == "running"
    host.store._database.execute("PRAGMA max_page_count = 1073741823")
    host.loop.pass_time(1.5)
    assert host.state((number, 0)) == "ended"
    assert host.queue.scheduler.used == (0, 0, 0, 0)
