"""How an attempt of a job ended, and what follows from it. Pure."""

from __future__ import annotations

from launcher.errors import EXIT_LAUNCHER, EXIT_REFUSED, EnforcementError
from launcher.service.queue import states

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from launcher.service.jobs import Ended

EXIT_CANCELLED = 143  # 128 + SIGTERM: what a shell shows for a job that somebody stopped
# What `wait` exits with for a job that has no exit status of its own.
EXITS = {
    states.REFUSED: EXIT_REFUSED,
    states.CANCELLED: EXIT_CANCELLED,
    states.INTERRUPTED: EXIT_LAUNCHER,
    states.SKIPPED: EXIT_LAUNCHER,
}


class Ending:
    """`event` of the table of states; `result` is the launch's, None where nothing ran to its end."""

    __slots__ = ("event", "exit_code", "reason", "result")

    def __init__(
        self, event: str, *, exit_code: int | None = None, reason: str = "", result: Mapping[str, Any] | None = None
    ) -> None:
        self.event = event
        self.exit_code = exit_code
        self.reason = reason
        self.result = result


def ending_of(ended: Ended, *, cancelled: bool, again: bool) -> Ending:
    """What the end of an attempt means. `again`: it may be run another time.

    A refusal by policy is not tried again: it would be refused again. What the launcher could not build may have been
    for want of something that is there a second later.
    """
    error, result = ended.error, ended.result
    if cancelled:
        return Ending(states.CANCEL, reason="cancelled while it ran", result=result)
    if isinstance(error, EnforcementError):  # the process that held the job is gone, and with it the job
        return Ending(states.RETRY if again else states.INTERRUPT, reason=error.message)
    if error is not None:
        retry = again and error.status != EXIT_REFUSED
        return Ending(states.RETRY if retry else states.REFUSE, exit_code=error.status, reason=str(error))
    if result is None:
        raise ValueError("a job ended with neither result nor error")
    exit_code = int(result["exit_code"])
    if exit_code and again:
        return Ending(states.RETRY, exit_code=exit_code, reason=f"attempt ended with {exit_code}")
    return Ending(states.END, exit_code=exit_code, result=result)


def succeeded(state: str, exit_code: int | None) -> bool:
    return state == states.ENDED and exit_code == 0


def exit_status(state: str, exit_code: int | None) -> int:
    """What `wait JOB` exits with."""
    if exit_code is not None and state in {states.ENDED, states.REFUSED}:
        return exit_code
    return EXITS[state]
