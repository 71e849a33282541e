"""Which submissions wait for which, and what the end of a job releases. Pure.

The needs of a submission hold for all its jobs, so the graph has an edge a submission and not one a job: an array of
10,000 jobs that waits for another is one edge. There are no cycles, since one can only need what was there before.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

ALL = -1  # the index that means every job of a submission


class Need:
    """One thing that is waited for: a job, or with ALL every job, of `submission`.

    `any_end`: however it ends. Without it, only success will do.
    """

    __slots__ = ("any_end", "index", "submission")

    def __init__(self, submission: int, index: int = ALL, *, any_end: bool = False) -> None:
        self.submission = submission
        self.index = index
        self.any_end = any_end


class _Progress:
    """The jobs of a submission that have not ended, and whether one of them did not succeed."""

    __slots__ = ("failed", "left", "watchers")

    def __init__(self, left: int, *, failed: bool = False) -> None:
        self.left = left
        self.failed = failed
        self.watchers: dict[int, list[tuple[int, bool]]] = {}  # index -> (who waits, any_end)


class Dependencies:
    """What has not ended, and who waits for it."""

    __slots__ = ("_outstanding", "_progress")

    def __init__(self) -> None:
        self._progress: dict[int, _Progress] = {}
        self._outstanding: dict[int, int] = {}

    def begin(self, submission: int, jobs: int, *, failed: bool = False) -> None:
        """`jobs` jobs of `submission` have not ended; `failed`: one that has did not succeed."""
        if jobs:
            self._progress[submission] = _Progress(jobs, failed=failed)

    def need(self, waiter: int, needs: Iterable[Need]) -> None:
        """`waiter` waits for all of `needs`, each of which has not ended yet."""
        for need in needs:
            watchers = self._progress[need.submission].watchers
            watchers.setdefault(need.index, []).append((waiter, need.any_end))
            self._outstanding[waiter] = self._outstanding.get(waiter, 0) + 1

    def progress(self, submission: int) -> tuple[int, bool] | None:
        """(jobs that have not ended, whether one did not succeed); None where all have ended."""
        found = self._progress.get(submission)
        return (found.left, found.failed) if found else None

    def waits(self, submission: int) -> bool:
        return submission in self._outstanding

    def ended(self, submission: int, index: int, *, success: bool) -> tuple[list[int], list[int]]:
        """One job has ended for good: (submissions that wait for nothing more, submissions that wait in vain).

        With the last job of a submission that is forgotten.
        """
        progress = self._progress[submission]
        progress.left -= 1
        progress.failed = progress.failed or not success
        released: list[int] = []
        hopeless: list[int] = []
        self._tell(progress.watchers.pop(index, []), released, hopeless, success=success)
        if not success:
            self._give_up(progress, hopeless)
        if not progress.left:
            del self._progress[submission]
            self._tell(progress.watchers.pop(ALL, []), released, hopeless, success=not progress.failed)
        return released, hopeless

    def _give_up(self, progress: _Progress, hopeless: list[int]) -> None:
        """Who needs every job of a submission to succeed need not wait for the rest of it."""
        watchers = progress.watchers.get(ALL, [])
        progress.watchers[ALL] = [row for row in watchers if row[1]]
        self._tell([row for row in watchers if not row[1]], [], hopeless, success=False)

    def _tell(
        self, watchers: list[tuple[int, bool]], released: list[int], hopeless: list[int], *, success: bool
    ) -> None:
        for waiter, any_end in watchers:
            if waiter not in self._outstanding:
                continue  # it was hopeless already
            if not (success or any_end):
                del self._outstanding[waiter]
                hopeless.append(waiter)
                continue
            self._outstanding[waiter] -= 1
            if not self._outstanding[waiter]:
                del self._outstanding[waiter]
                released.append(waiter)
