"""Long work in short pieces: so that a cancelled array of 100,000 jobs costs others a turn of the loop at a time."""

from __future__ import annotations

from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from launcher.service.queue.clock import Loop

SLICE = 200  # rows that a chore may write before it yields: 2 to 4 ms


class Chores:
    """Generators that yield between pieces; each gets a piece in turn, whoever's it is."""

    __slots__ = ("_loop", "_waiting")

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._waiting: deque[Iterator[None]] = deque()

    def begin(self, chore: Iterator[None]) -> None:
        """Its first piece is done at once; so what is short is done when this returns."""
        if self._step(chore):
            self._waiting.append(chore)
            if len(self._waiting) == 1:
                self._loop.soon(self._turn)

    def _turn(self) -> None:
        chore = self._waiting.popleft()
        try:
            if self._step(chore):
                self._waiting.append(chore)
        finally:
            if self._waiting:
                self._loop.soon(self._turn)

    def _step(self, chore: Iterator[None]) -> bool:
        """Whether anything is left."""
        try:
            next(chore)
        except StopIteration:
            return False
        return True
