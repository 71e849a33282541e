"""The life of a queued job, as a table. Pure.

Only what the table has can happen: an event that a state does not know is a bug of the service and raises, so that no
job is counted twice because two ends of it were seen.
"""

from __future__ import annotations

HELD = "held"  # waits for other jobs, or for the time of its next attempt
QUEUED = "queued"  # may start
STARTING = "starting"  # claimed for this run of the service; its image has not been started
RUNNING = "running"  # its start is recorded: from here on it may have had effects
ENDED = "ended"  # ran to its end, whatever its exit status
REFUSED = "refused"  # policy, or the launcher, refused it when its turn came
CANCELLED = "cancelled"
INTERRUPTED = "interrupted"  # the service died while it ran, and it may not be run again
SKIPPED = "skipped"  # a job that it needs did not succeed

RELEASE, CLAIM, UNCLAIM, START, END, RETRY, REFUSE, CANCEL, INTERRUPT, SKIP = (
    "release", "claim", "unclaim", "start", "end", "retry", "refuse", "cancel", "interrupt", "skip",
)  # fmt: skip

TABLE: dict[str, dict[str, str]] = {
    HELD: {RELEASE: QUEUED, CANCEL: CANCELLED, SKIP: SKIPPED, REFUSE: REFUSED},
    QUEUED: {CLAIM: STARTING, CANCEL: CANCELLED, REFUSE: REFUSED},
    STARTING: {START: RUNNING, UNCLAIM: QUEUED, REFUSE: REFUSED, CANCEL: CANCELLED, INTERRUPT: INTERRUPTED},
    RUNNING: {END: ENDED, RETRY: HELD, REFUSE: REFUSED, CANCEL: CANCELLED, INTERRUPT: INTERRUPTED},
    ENDED: {},
    REFUSED: {},
    CANCELLED: {},
    INTERRUPTED: {},
    SKIPPED: {},
}
STATES = tuple(TABLE)
FINAL = frozenset(state for state, events in TABLE.items() if not events)
ACTIVE = frozenset({STARTING, RUNNING})  # what a service that starts finds of the one before it


def after(state: str, happened: str) -> str:
    """The state that follows. Raises ValueError for an event that `state` does not know."""
    following = TABLE[state].get(happened)
    if following is None:
        raise ValueError(f"a job that is {state} cannot {happened}")
    return following


def recovered(state: str, *, same_boot: bool, again: bool) -> str:
    """The event that a job of a service that died goes through, "" for none.

    A claimed job has not run: its start is recorded before its image is started. But only a record that reached the
    disk says so after a reboot, and the start's need not have: then it counts as one that ran. A job that ran died with
    the service (its sandbox ends with its supervisor), and is run again only where `again` says that it may be.
    """
    if state not in ACTIVE:
        return ""
    if state == STARTING and same_boot:
        return UNCLAIM
    return RETRY if again and state == RUNNING else UNCLAIM if again else INTERRUPT
