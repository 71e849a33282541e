"""The event loop of the service: one thread, epoll, callbacks. Each callback does a bounded piece and returns.

Level-triggered, so whoever has not read everything is called again. A callback that raises is reported to `failed` and
its descriptor is forgotten: a bug in one conversation does not end the others.
"""

from __future__ import annotations

import select
from time import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

READ = select.EPOLLIN
WRITE = select.EPOLLOUT
GONE = select.EPOLLHUP | select.EPOLLERR  # told whether they are asked for or not
_BATCH = 64  # events taken at once: bounds how long one turn of the loop is


class Timer:
    """One call in the future. `cancel` may be called at any time, also after it was made."""

    __slots__ = ("_callback", "due")

    def __init__(self, due: float, callback: Callable[[], None]) -> None:
        self.due = due
        self._callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self._callback = None

    @property
    def cancelled(self) -> bool:
        return self._callback is None

    def fire(self) -> None:
        callback, self._callback = self._callback, None
        if callback:
            callback()


class Loop:
    """`watch` descriptors, `at` times, `soon`; `run` until `stop`."""

    __slots__ = ("_epoll", "_running", "_sequence", "_soon", "_timers", "_watched", "failed")

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._watched: dict[int, Callable[[int], None]] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._sequence = 0
        self._soon: list[Callable[[], None]] = []
        self._running = False
        self.failed: Callable[[BaseException], None] = _raise

    # -- descriptors --------------------------------------------------------------------------------------------------

    def watch(self, fd: int, callback: Callable[[int], None], events: int = READ) -> None:
        """Calls `callback(events)` whenever `fd` is ready for any of `events`, or hung up.

        Raises OSError (EPERM) for what cannot be waited for: regular files, directories.
        """
        self._epoll.register(fd, events)
        self._watched[fd] = callback

    def change(self, fd: int, events: int) -> None:
        """Wait for other events on a watched descriptor; 0 for hang-ups and errors alone."""
        self._epoll.modify(fd, events)

    def forget(self, fd: int) -> None:
        """Watch no longer; to be called before a descriptor is closed. Does nothing for one that is not watched."""
        if self._watched.pop(fd, None) is not None:
            try:
                self._epoll.unregister(fd)
            except OSError:  # EBADF, ENOENT: it is closed already, which took it out of the epoll
                return

    def watches(self, fd: int) -> bool:
        return fd in self._watched

    # -- time ---------------------------------------------------------------------------------------------------------

    def at(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Calls `callback()` once, `seconds` from now."""
        from heapq import heappush

        timer = Timer(monotonic() + seconds, callback)
        self._sequence += 1
        heappush(self._timers, (timer.due, self._sequence, timer))
        return timer

    def soon(self, callback: Callable[[], None]) -> None:
        """Calls `callback()` in the next turn, after what is ready now."""
        self._soon.append(callback)

    # -- running ------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Until `stop` is called."""
        self._running = True
        while self._running:
            self.turn()

    def stop(self) -> None:
        self._running = False

    def turn(self) -> None:
        """One turn: waits for the first thing that happens, and does what is due."""
        for fd, events in self._epoll.poll(self._timeout(), _BATCH):
            callback = self._watched.get(fd)  # a callback before this one may have forgotten it
            if callback is not None:
                self._guard(fd, callback, events)
        self._fire()
        soon, self._soon = self._soon, []
        for call in soon:
            self._call(call)

    def _timeout(self) -> float:
        if self._soon:
            return 0.0
        while self._timers and self._timers[0][2].cancelled:
            self._pop()
        return max(0.0, self._timers[0][0] - monotonic()) if self._timers else -1

    def _fire(self) -> None:
        now = monotonic()
        while self._timers and self._timers[0][0] <= now:
            self._call(self._pop().fire)

    def _pop(self) -> Timer:
        from heapq import heappop

        return heappop(self._timers)[2]

    def _guard(self, fd: int, callback: Callable[[int], None], events: int) -> None:
        try:
            callback(events)
        except Exception as error:  # noqa: BLE001  a bug in one conversation must not end the service
            if self._watched.get(fd) is callback:
                self.forget(fd)
            self.failed(error)

    def _call(self, callback: Callable[[], None]) -> None:
        try:
            callback()
        except Exception as error:  # noqa: BLE001  as above
            self.failed(error)


def _raise(error: BaseException) -> None:
    raise error
