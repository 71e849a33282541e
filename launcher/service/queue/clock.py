"""What the queue needs of the service's loop, and what time it is."""

from __future__ import annotations

import time
from typing import Protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Loop(Protocol):
    """`launcher.service.loop.Loop`."""

    def watch(self, fd: int, callback: Callable[[int], None], events: int = ...) -> None: ...
    def forget(self, fd: int) -> None: ...
    def at(self, seconds: float, callback: Callable[[], None]) -> object: ...
    def soon(self, callback: Callable[[], None]) -> None: ...


def now_ms() -> int:
    """Milliseconds since the epoch: what is stored, since a queue outlives a boot."""
    return time.time_ns() // 1_000_000
