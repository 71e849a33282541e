"""Laws of the scheduler: limits are never exceeded, nobody starves, order holds, shares are fair, cost is flat."""

from __future__ import annotations

import time
from collections import Counter, deque
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.service.queue.amounts import NOTHING, UNLIMITED, add, exceeded
from launcher.service.queue.scheduling import MOST_OVERTAKING, Scheduler, Share, Waiting

if TYPE_CHECKING:
    from launcher.service.queue.amounts import Amounts, Capacity

GIB = 1 << 30
HOST: Capacity = (4, 4000, 8 * GIB, None)
TENANTS = ("alice", "bob", "carol", "dave")
DEMAND = st.tuples(st.just(1), st.sampled_from([100, 1000, 4000]), st.sampled_from([0, GIB, 8 * GIB]), st.just(0))
JOB = st.tuples(st.sampled_from(TENANTS), DEMAND, st.integers(-2, 2))
SHARE = st.builds(
    Share,
    st.tuples(st.integers(1, 4), st.sampled_from([4000, None]), st.sampled_from([8 * GIB, None]), st.none()),
    st.sampled_from([0.5, 1.0, 3.0]),
)


def scheduler(capacity: Capacity = HOST, **shares: Share) -> Scheduler:
    return Scheduler(capacity, lambda name: shares.get(name, Share()))


def job(number: int, tenant: str = "alice", demand: Amounts = (1, 1000, 0, 0), priority: int = 0) -> Waiting:
    return Waiting((number, 0), tenant, demand, priority=priority, order=number)


def started(found: Scheduler) -> list[Waiting]:
    """Everything that may start now, in its order."""
    jobs = []
    while (chosen := found.next()) is not None:
        jobs.append(chosen)
    return jobs


# -- laws ---------------------------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(st.lists(JOB, max_size=40), st.dictionaries(st.sampled_from(TENANTS), SHARE), st.data())
def test_limits_hold_at_every_moment_and_everything_runs_once(
    wanted: list[tuple[str, Amounts, int]], shares: dict[str, Share], data: st.DataObject
) -> None:
    """Whatever is submitted, in whatever order jobs end: no limit of a tenant or of the host is ever exceeded, every
    job that could ever run does, once, and what cannot ever run says so before it waits."""
    found = Scheduler(HOST, lambda name: shares.get(name, Share()))
    pending = deque(Waiting((at, 0), *row[:2], priority=row[2], order=at) for at, row in enumerate(wanted))
    possible = {one.key for one in pending if not found.never(one.tenant, one.demand)}
    running: list[Waiting] = []
    seen: Counter[tuple[int, int]] = Counter()
    while pending or running or found.used != NOTHING:
        while pending and (not running or data.draw(st.booleans())):
            one = pending.popleft()
            if one.key in possible:
                found.add(one)
            running += started(found)
        running += started(found)
        check(found, running, shares)
        if running:
            ended = running.pop(data.draw(st.integers(0, len(running) - 1)))
            seen[ended.key] += 1
            found.end(ended.key, data.draw(st.sampled_from([0.0, 1.0, 60.0])))
            running += started(found)
            check(found, running, shares)
    assert seen == Counter(possible)


def check(found: Scheduler, running: list[Waiting], shares: dict[str, Share]) -> None:
    total = NOTHING
    for name in TENANTS:
        held = NOTHING
        for one in running:
            if one.tenant == name:
                held = add(held, one.demand)
        assert found.held(name) == held
        assert not exceeded(NOTHING, held, shares.get(name, Share()).capacity), f"{name} holds more than it may"
        total = add(total, held)
    assert found.used == total
    assert not exceeded(NOTHING, total, HOST)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(-3, 3), min_size=1, max_size=30))
def test_within_a_tenant_order_is_priority_then_age(priorities: list[int]) -> None:
    found = scheduler((1, None, None, None))
    for at, priority in enumerate(priorities):
        found.add(job(at, priority=priority))
    order = []
    while (one := found.next()) is not None:
        order.append((-one.priority, one.order))
        found.end(one.key, 1.0)
    assert order == sorted(order)
    assert len(order) == len(priorities)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 30), st.sampled_from([0.0, 0.5, 600.0]), st.integers(0, 20))
def test_a_tenant_that_floods_delays_another_by_one_job(crowd: int, seconds: float, before: int) -> None:
    """mallory has any number of jobs, of any length, and goes on submitting: bob's only job is the next to start once
    something ends."""
    found = scheduler((2, None, None, None))
    for at in range(crowd + 2):
        found.add(job(at, "mallory"))
    running = started(found)
    for at in range(before):
        found.end(running.pop(0).key, seconds)
        found.add(job(1000 + at, "mallory", priority=9))
        running += started(found)
    found.add(job(5000, "bob"))
    found.end(running.pop(0).key, seconds)
    assert [one.tenant for one in started(found)] == ["bob"]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 3), max_size=200))
def test_a_large_job_does_not_starve_behind_small_ones(ends: list[int]) -> None:
    """A job for all of the host's memory is overtaken a bounded number of times, however many small ones come."""
    found = scheduler((4, None, 8 * GIB, None))
    running = []
    for at in range(4):
        found.add(job(at, f"small-{at}", (1, 0, 2 * GIB, 0)))
    running += started(found)
    found.add(job(99, "large", (1, 0, 8 * GIB, 0)))
    overtook = 0
    for at in range(400):
        for name in range(4):
            found.add(job(1000 + 4 * at + name, f"small-{name}", (1, 0, 2 * GIB, 0)))
        pick = ends[at] if at < len(ends) else 0
        found.end(running.pop(pick % len(running)).key, 1.0)
        new = started(found)
        if any(one.tenant == "large" for one in new):
            break
        overtook += len(new)
        running += new
    else:
        pytest.fail("the large job never started")
    assert overtook <= MOST_OVERTAKING + 4


@pytest.mark.parametrize(("weights", "expected"), [((1.0, 1.0), 0.5), ((3.0, 1.0), 0.75), ((1.0, 4.0), 0.2)])
def test_time_is_shared_by_weight(weights: tuple[float, float], expected: float) -> None:
    """One slot, two tenants, jobs of very different lengths: what counts is the time that they had, not the jobs."""
    found = scheduler((1, None, None, None), alice=Share(weight=weights[0]), bob=Share(weight=weights[1]))
    lengths, had, number = {"alice": 1.0, "bob": 7.0}, Counter[str](), 0
    for name in lengths:
        for _ in range(3000):
            number += 1
            found.add(job(number, name))
    while sum(had.values()) < 2000:
        one = found.next()
        assert one is not None
        had[one.tenant] += int(lengths[one.tenant])
        found.end(one.key, lengths[one.tenant])
    assert had["alice"] / sum(had.values()) == pytest.approx(expected, abs=0.03)


def test_slots_are_shared_by_what_is_held_not_by_how_many_jobs() -> None:
    """alice's jobs take two processors each, bob's half of one: both come to hold as much (dominant share)."""
    found = scheduler((None, 8000, None, None))
    for at in range(40):
        found.add(job(at, "alice", (1, 2000, 0, 0)))
        found.add(job(100 + at, "bob", (1, 500, 0, 0)))
    started(found)
    assert found.held("alice")[1] == found.held("bob")[1] == 4000


def test_a_pause_saves_nothing_up() -> None:
    """bob, away for a day while alice's jobs ran, gets his share from now on, and not the day."""
    found = scheduler((1, None, None, None))
    number = 0
    for _ in range(100):
        number += 1
        found.add(job(number, "alice"))
        one = found.next()
        assert one
        found.end(one.key, 864.0)
    for _ in range(40):
        number += 2
        found.add(job(number, "alice"))
        found.add(job(number + 1, "bob"))
    order = []
    for _ in range(20):
        one = found.next()
        assert one
        order.append(one.tenant)
        found.end(one.key, 1.0)
    assert 9 <= order.count("bob") <= 11


def test_a_tenants_limit_holds_up_nobody_else() -> None:
    found = scheduler(alice=Share((1, None, None, None)))
    for at in range(10):
        found.add(job(at, "alice"))
    found.add(job(50, "bob"))
    assert sorted(one.tenant for one in started(found)) == ["alice", "bob"]


def test_what_never_fits_says_what_is_too_much() -> None:
    found = scheduler(alice=Share((None, None, GIB, None)))
    assert found.never("alice", (1, 0, 2 * GIB, 0)) == "memory"
    assert found.never("bob", (1, 5000, 0, 0)) == "cpus"
    assert not found.never("bob", (1, 4000, 8 * GIB, 0))


def test_a_discarded_job_does_not_start_and_its_key_may_come_again() -> None:
    """A retried job has the key that it had; one that was cancelled meanwhile must not start by an old entry."""
    found = scheduler()
    found.add(job(1))
    assert found.discard((1, 0), "alice")
    assert found.next() is None
    assert not found.discard((1, 0), "alice")
    found.add(job(1))
    assert [one.key for one in started(found)] == [(1, 0)]
    found.end((1, 0), 1.0)
    assert found.next() is None


def test_launches_beside_the_queue_count_against_their_tenant_alone() -> None:
    found = scheduler((1, None, None, None), bob=Share((1, None, None, None)))
    launch = job(7, "bob")
    found.hold(launch)
    found.add(job(1, "bob"))
    assert found.next() is None
    found.add(job(2, "alice"))
    one = found.next()
    assert one is not None
    assert one.tenant == "alice"
    found.end(one.key, 1.0)
    found.release(launch)
    assert found.next() is not None


def test_new_limits_hold_from_the_next_decision() -> None:
    found = scheduler(UNLIMITED)
    for at in range(4):
        found.add(job(at))
    assert len(started(found)) == 4
    found.configure((5, None, None, None), lambda _name: Share((2, None, None, None)))
    found.add(job(9))
    assert found.next() is None
    for at in range(3):
        found.end((at, 0), 1.0)
    assert [one.key for one in started(found)] == [(9, 0)]


def test_names_that_come_once_are_forgotten() -> None:
    """A stream of tenants with one job each costs no memory for good."""
    found = scheduler()
    for at in range(2000):
        found.add(job(at, f"tenant-{at}"))
        one = found.next()
        assert one
        found.end(one.key, 0.0)
    assert len(found._tenants) < 10
    assert len(found._turns) < 200


# -- cost ---------------------------------------------------------------------------------------------------------


def cost(queued: int, rounds: int = 2000) -> float:
    """CPU seconds of a decision, its end and one more submission, with `queued` jobs of four tenants waiting."""
    found = scheduler((8, None, None, None))
    for at in range(queued):
        found.add(job(at, TENANTS[at % 4], priority=at % 7))
    running = deque(started(found))
    number = queued
    began = time.process_time()
    for _ in range(rounds):
        found.end(running.popleft().key, 0.5)
        number += 1
        found.add(job(number, TENANTS[number % 4], priority=number % 7))
        running += started(found)
    return (time.process_time() - began) / rounds


def test_a_decision_costs_the_same_with_10_and_100000_queued() -> None:
    few, many = min(cost(10) for _ in range(3)), min(cost(100_000) for _ in range(2))
    assert many < 3 * few, f"{few * 1e6:.1f} us with 10 queued, {many * 1e6:.1f} us with 100,000"


def test_a_decision_costs_the_same_with_few_and_many_tenants() -> None:
    def spent(tenants: int) -> float:
        found = scheduler((8, None, None, None))
        for at in range(tenants * 2):
            found.add(job(at, f"t{at % tenants}"))
        running, number = deque(started(found)), tenants * 2
        began = time.process_time()
        for _ in range(1000):
            ended = running.popleft()
            found.end(ended.key, 0.5)
            number += 1
            found.add(job(number, ended.tenant))
            running += started(found)
        return time.process_time() - began

    assert min(spent(3000) for _ in range(2)) < 4 * min(spent(10) for _ in range(3))
