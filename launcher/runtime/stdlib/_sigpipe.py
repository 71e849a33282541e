"""Writing to a peer that went away: an error for the program, not its end.

The runtime leaves SIGPIPE at its default, so that `job | head` ends as other programs do (main.py). A socket or a
child's pipe that closes while something is sent must not end the job.
"""

from __future__ import annotations

from _signal import SIG_IGN, SIGPIPE, signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Ignored:
    """`with Ignored():` writes raise BrokenPipeError. Only the main thread can set that; others change nothing."""

    __slots__ = ("_before",)

    def __enter__(self) -> None:
        try:
            self._before: Any = signal(SIGPIPE, SIG_IGN)
        except ValueError:
            self._before = None

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal(SIGPIPE, self._before)
