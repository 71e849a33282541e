"""The table of states, and what becomes of each state when the service dies."""

from __future__ import annotations

import pytest

from launcher.service.queue import states
from launcher.service.queue.states import ACTIVE, FINAL, STATES, TABLE, after, recovered


def test_the_table_is_closed_and_every_state_leads_to_an_end() -> None:
    reached = {states.HELD, states.QUEUED}
    while more := {after(state, event) for state in reached for event in TABLE[state]} - reached:
        reached |= more
    assert reached == set(STATES)
    for state in STATES:
        seen, front = set(), {state}
        while front:
            seen |= front
            front = {following for one in front for following in TABLE[one].values()} - seen
        assert seen & FINAL


def test_nothing_happens_to_a_job_that_has_ended() -> None:
    """Counting an end twice would free what another job holds."""
    for state in FINAL:
        for event in {event for events in TABLE.values() for event in events}:
            with pytest.raises(ValueError, match=state):
                after(state, event)


@pytest.mark.parametrize("same_boot", [True, False])
@pytest.mark.parametrize("again", [True, False])
@pytest.mark.parametrize("state", STATES)
def test_after_a_crash_nothing_runs_twice_that_may_not(state: str, same_boot: bool, again: bool) -> None:
    """A job that may have run is queued again only where `--retries` allows it; one that cannot have run always is."""
    event = recovered(state, same_boot=same_boot, again=again)
    if state not in ACTIVE:
        assert event == ""
        return
    follows = after(state, event)
    may_have_run = state == states.RUNNING or not same_boot
    if may_have_run and not again:
        assert follows == states.INTERRUPTED
    else:
        assert follows in {states.QUEUED, states.HELD}
