"""Long work in short pieces: a cancelled array of 100,000 jobs costs others a millisecond now and then."""

from __future__ import annotations

from collections import deque
from time import perf_counter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from launcher.service.queue.clock import Loop

SLICE = 50  # rows that a chore may write before it yields: about a millisecond


class Chores:
    """Generators that yield between pieces; each gets a piece in turn, whoever's it is.

    After each piece the loop has as long for everything else.
    """

    __slots__ = ("_loop", "_waiting")

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._waiting: deque[Iterator[None]] = deque()

    def begin(self, chore: Iterator[None]) -> None:
        """Its first piece is done at once, so what is short is done when this returns."""
        began = perf_counter()
        if self._step(chore):
            self._waiting.append(chore)
            if len(self._waiting) == 1:
                self._loop.at(perf_counter() - began, self._turn)

    def _turn(self) -> None:
        chore = self._waiting.popleft()
        began = perf_counter()
        try:
            if self._step(chore):
                self._waiting.append(chore)
        finally:
            if self._waiting:
                self._loop.at(perf_counter() - began, self._turn)

    def _step(self, chore: Iterator[None]) -> bool:
        """Whether anything is left."""
        try:
            next(chore)
        except StopIteration:
            return False
        return True
