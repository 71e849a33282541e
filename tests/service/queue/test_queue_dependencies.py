"""What waits for what: against an oracle that looks at everything after each end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.service.queue.dependencies import ALL, Dependencies, Need

if TYPE_CHECKING:
    Plan = list[tuple[int, list[tuple[int, int, bool]]]]


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Submissions of 1 to 3 jobs, each of which needs some of the earlier ones."""
    plan: Plan = []
    for at in range(draw(st.integers(1, 6))):
        needs = []
        for _ in range(draw(st.integers(0, 2)) if at else 0):
            on = draw(st.integers(0, at - 1))
            needs.append((on, draw(st.integers(ALL, plan[on][0] - 1)), draw(st.booleans())))
        plan.append((draw(st.integers(1, 3)), needs))
    return plan


def verdict(needs: list[tuple[int, int, bool]], plan: Plan, done: dict[tuple[int, int], bool]) -> str:
    """ "released", "hopeless" or "waits", from the words of the documentation alone."""
    open_needs = False
    for on, index, any_end in needs:
        wanted = range(plan[on][0]) if index == ALL else [index]
        ends = [done.get((on, at)) for at in wanted]
        if not any_end and False in ends:
            return "hopeless"
        open_needs = open_needs or None in ends
    return "waits" if open_needs else "released"


@settings(max_examples=300, deadline=None)
@given(plans(), st.data())
def test_each_submission_is_released_or_skipped_once_and_when_the_rules_say_so(plan: Plan, data: st.DataObject) -> None:
    graph = Dependencies()
    state = {}
    for at, (jobs, needs) in enumerate(plan):
        graph.begin(at, jobs)
        graph.need(at, [Need(on, index, any_end=any_end) for on, index, any_end in needs])
        state[at] = "waits" if needs else "released"
        assert graph.waits(at) == bool(needs)
    done: dict[tuple[int, int], bool] = {}

    def end(at: int, index: int, *, success: bool) -> None:
        done[at, index] = success
        released, hopeless = graph.ended(at, index, success=success)
        for names, word in ((released, "released"), (hopeless, "hopeless")):
            for name in names:
                assert state[name] == "waits"
                state[name] = word
        for name in hopeless:
            for one in range(plan[name][0]):
                end(name, one, success=False)

    while True:
        able = [(at, index) for at, (jobs, _) in enumerate(plan) if state[at] == "released"
                for index in range(jobs) if (at, index) not in done]  # fmt: skip
        if not able:
            break
        end(*data.draw(st.sampled_from(able)), success=data.draw(st.booleans()))
        for at, (_jobs, needs) in enumerate(plan):
            assert state[at] == verdict(needs, plan, done)
    assert len(done) == sum(jobs for jobs, _ in plan), "every job ended"
    assert not graph._progress
    assert not graph._outstanding


def test_who_needs_all_of_a_submission_does_not_wait_for_the_rest_of_a_failed_one() -> None:
    graph = Dependencies()
    graph.begin(1, 1000)
    graph.begin(2, 1)
    graph.need(2, [Need(1)])
    assert graph.ended(1, 17, success=False) == ([], [2])


def test_a_submission_that_was_there_half_done_counts_what_had_failed() -> None:
    """After a restart only the jobs that are left are told; that one had failed before is told with them."""
    graph = Dependencies()
    graph.begin(1, 1, failed=True)
    graph.begin(2, 1)
    graph.need(2, [Need(1)])
    assert graph.ended(1, 0, success=True) == ([], [2])
