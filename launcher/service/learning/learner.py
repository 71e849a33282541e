"""The loop: grow until nothing new is refused, take away what changes nothing, generalise, and confirm.

Each run begins with nothing but what was learnt before, in the base profile's view: it is never wide open. What a job
does under the grown policy is the reference; a grant without which status, output and writes are the same is not
needed, and left out. What differs between two runs with the very same policy is not compared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher.errors import RefusedError
from launcher.service.learning import runs, wants
from launcher.service.learning.document import policy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from launcher.service.learning.runs import Outcome
    from launcher.service.request import Request

_LAST_WORDS = 2000  # bytes of the job's stderr in an error


class Learner:
    """Learns from one job. `run` gives the grants; `notes` are then what was asked for and not granted."""

    def __init__(
        self, request: Request, bounds: wants.Bounds, start: Sequence[str], kept: Sequence[str], *,
        status: int, most: int, tell: Callable[[str], None],
    ) -> None:  # fmt: skip
        """`start` is what the command itself needs; `kept` was learnt before and stays. `status` is the exit status of
        a run that passes, `most` the number of runs, `tell` takes lines about the progress.
        """
        self._request = request
        self._bounds = bounds
        self._kept = list(dict.fromkeys(kept))
        self._grants = [grant for grant in dict.fromkeys(start) if grant not in self._kept]
        self._needed = frozenset(start)
        self._status = status
        self._left = most
        self._tell = tell
        self._given = runs.standard_input()
        self._places: list[int] = []
        self._notes: dict[str, str] = {}

    @property
    def notes(self) -> list[str]:
        """`file.read:/etc/shadow (outside of ...)`: refusals that did not become grants."""
        return [f"{what} ({why})" for what, why in self._notes.items()]

    def run(self, level: str) -> list[str]:
        """The grants with which the job passes. Raises RefusedError where it cannot be made to."""
        outcome = self._grow()
        if outcome.error or outcome.status != self._status:
            raise self._unlearnable(outcome)
        reference = self._reference()
        self._shrink(reference)
        said = [grant for grant in self._grants if grant in self._needed]  # by the command line, or a declaration
        found = [grant for grant in self._grants if grant not in self._needed]
        grants = [*self._kept, *said, *wants.generalised(found, level, self._bounds.workspace)]
        return list(dict.fromkeys(grants))

    def confirm(self, grants: Sequence[str], *, commit: bool) -> Outcome:
        """A launch as any other, with the policy that was written. Raises RefusedError where it does not pass."""
        outcome = runs.once(self._request, grants, self._given, traced=False, commit=commit)
        if outcome.error or outcome.status != self._status:
            raise self._unlearnable(outcome)
        return outcome

    # -- growing -------------------------------------------------------------------------------------------------------

    def _grow(self) -> Outcome:
        while True:
            outcome = self._once([*self._kept, *self._grants, runs.LISTENING])
            new = self._learnt(outcome)
            self._tell(f"ended with {outcome.error or outcome.status}; {len(new)} grants more")
            if not new or self._left <= 0:
                return outcome
            self._grants += new

    def _learnt(self, outcome: Outcome) -> list[str]:
        found: list[str] = []
        for row in outcome.denials:
            grant = str(row["grant"])
            if grant in found or grant in self._grants or grant in self._kept:
                continue
            why = self._bounds.refusal(row) or _unreadable(grant)
            if why:
                self._notes.setdefault(grant or f"{row['capability']}.{row['operation']} {row['resource']}", why)
            else:
                # the names of a directory, or of the tree below it: where the first is enough the second goes later
                found += [grant, grant[:-1]] if grant.startswith("path.read:") and grant.endswith("/**") else [grant]
        return found

    def _once(self, grants: Sequence[str], *, traced: bool = True) -> Outcome:
        self._left -= 1
        return runs.once(self._request, grants, self._given, traced=traced)

    # -- shrinking -----------------------------------------------------------------------------------------------------

    def _reference(self) -> Outcome:
        everything = [*self._kept, *self._grants]
        first, second = (self._once(everything, traced=False) for _ in range(2))
        self._places = first.shared(second)
        if not first.same(second, ()):
            raise RefusedError(
                "two runs with the same grants did not do the same", hint="learn from a job that is deterministic"
            )
        if len(self._places) < len(first.traces):
            self._tell("what it says or writes differs from run to run, and is compared without that")
        return first

    def _shrink(self, reference: Outcome) -> None:
        before = -1
        while before != len(self._grants):  # what was needed for something that is gone now, is not any more
            before = len(self._grants)
            self._without([grant for grant in self._grants if grant not in self._needed], reference)
        self._tell(f"{len(self._grants)} grants are needed")

    def _without(self, chunk: Sequence[str], reference: Outcome) -> None:
        """Takes `chunk` out where nothing changes, else looks at its halves (delta debugging)."""
        if not chunk or self._left <= 0:
            return
        left = [grant for grant in self._grants if grant not in chunk]
        if self._once([*self._kept, *left], traced=False).same(reference, self._places):
            self._grants = left
        elif len(chunk) > 1:
            half = len(chunk) // 2
            self._without(chunk[:half], reference)
            self._without(chunk[half:], reference)

    def _unlearnable(self, outcome: Outcome) -> RefusedError:
        said = outcome.said[-_LAST_WORDS:].decode("utf-8", "replace").strip()
        reason = outcome.error or f"it ends with status {outcome.status}, not {self._status}"
        asked = [f"  {note}" for note in self.notes]
        return RefusedError(
            "\n".join([f"the job does not pass with what may be learnt: {reason}", *asked, *([said] if said else [])]),
            hint=outcome.hint or "look at what was not granted; --within, --host and --status widen what may be learnt",
        )


def _unreadable(grant: str) -> str:
    """Why a policy would not take this grant, "" where it does."""
    from launcher.errors import ConfigurationError

    try:
        policy([grant])
    except (ConfigurationError, UnicodeError) as error:
        return f"no policy can say it: {error}"
    return ""
