"""A small event loop: edge-triggered epoll, coroutines that wait for one descriptor, callbacks for relays.

Edge-triggered, each descriptor registered once: whoever waits has just seen EAGAIN, so no edge can be lost, and a
tunnel costs no epoll_ctl per wake-up. asyncio's transports cost twice the CPU for a connection (egress.md section 4).
"""

from __future__ import annotations

import heapq
import select
from collections import deque
from time import monotonic
from types import coroutine
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

EVENTS = select.EPOLLIN | select.EPOLLPRI | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
READ = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
WRITE = select.EPOLLOUT | select.EPOLLHUP | select.EPOLLERR
# A stream that was read short holds nothing more (epoll(7)) unless its end, an error or urgent data, where the kernel
# stops a read, was part of the same edge.
MORE = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR | select.EPOLLPRI
BATCH = 256  # events taken at once: bounds how long one turn of the loop is
NEVER = float("inf")


@coroutine
def _park() -> Generator[None, None, None]:
    yield


class Cancelled(BaseException):
    """Thrown into a task that is to end."""


class Task:
    """A running coroutine. `done` turns true once; an error other than OSError goes to `Loop.failed`."""

    __slots__ = ("coroutine", "deadline", "done", "loop", "parked", "timer", "waker")

    def __init__(self, loop: Loop, coro: Coroutine[Any, Any, None]) -> None:
        self.loop = loop
        self.coroutine = coro
        self.deadline = NEVER
        self.timer = NEVER  # when the heap will look at this task next
        self.parked = False
        self.done = False
        self.waker: Callable[[], None] | None = None  # of whoever joins

    def wake(self) -> None:
        if self.parked:
            self.parked = False
            self.loop.step(self, None)

    def cancel(self) -> None:
        if not self.done:
            self.parked = False
            self.loop.step(self, Cancelled())

    async def join(self) -> None:
        """Wait until the task has ended."""
        if not self.done:
            self.waker = self.loop.current_waker()
            while not self.done:
                await self.loop.pause(NEVER)


class Loop:
    """One loop for one process. Times are `time.monotonic()` seconds; `now` is that of this turn."""

    def __init__(self) -> None:
        self.epoll = select.epoll()
        self.readers: dict[int, Callable[[], None]] = {}
        self.writers: dict[int, Callable[[], None]] = {}
        self.now = monotonic()
        self.drained = False  # whether, for who is called now, a short read means that there is nothing more
        self.tasks: set[Task] = set()
        self.failed: Callable[[BaseException], None] = _raise
        self._soon: deque[Callable[[], None]] = deque()
        self._timers: list[tuple[float, int, Task]] = []
        self._sequence = 0
        self._current: Task | None = None
        self._running = False

    # ---- descriptors

    def watch(self, fd: int) -> None:
        """Register a non-blocking descriptor."""
        self.epoll.register(fd, EVENTS)

    def watch_listener(self, fd: int) -> None:
        """Register a listening one, level-triggered: who accepts one connection need not see EAGAIN."""
        self.epoll.register(fd, select.EPOLLIN)

    def forget(self, fd: int) -> None:
        """Drop the waiters of a descriptor that is about to be closed (closing removes it from epoll)."""
        self.readers.pop(fd, None)
        self.writers.pop(fd, None)

    async def readable(self, fd: int, deadline: float = NEVER) -> None:
        """Wait for an edge after EAGAIN. Raises TimeoutError."""
        await self._edge(self.readers, fd, deadline)

    async def writable(self, fd: int, deadline: float = NEVER) -> None:
        """As readable, for writing."""
        await self._edge(self.writers, fd, deadline)

    async def readable_any(self, fds: tuple[int, ...], deadline: float = NEVER) -> None:
        """Wait for an edge on any of several descriptors, after all gave EAGAIN. Raises TimeoutError."""
        wake = self.current_waker()
        for fd in fds:
            self.readers[fd] = wake
        try:
            await self.pause(deadline)
        finally:
            for fd in fds:
                if self.readers.get(fd) == wake:
                    del self.readers[fd]

    async def _edge(self, waiters: dict[int, Callable[[], None]], fd: int, deadline: float) -> None:
        wake = self.current_waker()
        waiters[fd] = wake
        try:
            await self.pause(deadline)
        finally:
            if waiters.get(fd) == wake:
                del waiters[fd]

    # ---- tasks and time

    def current_waker(self) -> Callable[[], None]:
        """What wakes the task that is running."""
        if self._current is None:
            raise RuntimeError("only a task can wait")
        return self._current.wake

    async def pause(self, deadline: float = NEVER) -> None:
        """Wait until somebody calls the task's waker. Raises TimeoutError at `deadline`."""
        task = self._current
        if task is None:
            raise RuntimeError("only a task can wait")
        task.deadline = deadline
        if deadline < task.timer:
            self._arm(task, deadline)
        await _park()
        task.deadline = NEVER

    async def sleep_until(self, deadline: float) -> None:
        """Wait for a time."""
        try:
            await self.pause(deadline)
        except TimeoutError:
            return

    def _arm(self, task: Task, when: float) -> None:
        # At most one live heap entry a task: a wait that ended early leaves it, and firing re-arms if need be.
        self._sequence += 1
        task.timer = when
        heapq.heappush(self._timers, (when, self._sequence, task))

    def spawn(self, coro: Coroutine[Any, Any, None]) -> Task:
        """Start a task now; it runs until its first wait."""
        task = Task(self, coro)
        self.tasks.add(task)
        self.step(task, None)
        return task

    def soon(self, call: Callable[[], None]) -> None:
        """Call in the next turn, after the descriptors that are ready have had theirs."""
        self._soon.append(call)

    def step(self, task: Task, error: BaseException | None) -> None:
        """Run a task to its next wait."""
        previous, self._current = self._current, task
        try:
            if error is None:
                task.coroutine.send(None)
            else:
                task.coroutine.throw(error)
            task.parked = True
        except (StopIteration, Cancelled, OSError):
            self._finish(task)
        except Exception as failure:  # noqa: BLE001  one connection's bug must not end the others; it is reported
            self._finish(task)
            self.failed(failure)
        finally:
            self._current = previous

    def _finish(self, task: Task) -> None:
        task.done = True
        self.tasks.discard(task)
        if task.waker is not None:
            self.soon(task.waker)

    # ---- running

    def run(self) -> None:
        """Until stop()."""
        self._running = True
        while self._running:
            self.turn()

    def stop(self) -> None:
        self._running = False

    def turn(self) -> None:
        """One turn: descriptors, then timers, then what was put off."""
        events = self.epoll.poll(self._patience(), BATCH)
        self.now = monotonic()
        readers, writers = self.readers, self.writers
        for fd, mask in events:
            if mask & READ and (reader := readers.get(fd)) is not None:
                self.drained = not mask & MORE
                reader()
                self.drained = False
            if mask & WRITE and (writer := writers.get(fd)) is not None:
                writer()
        if self._timers and self._timers[0][0] <= self.now:
            self._fire()
        for _ in range(len(self._soon)):
            self._soon.popleft()()

    def _patience(self) -> float:
        if self._soon:
            return 0
        return max(0.0, self._timers[0][0] - monotonic()) if self._timers else -1

    def _fire(self) -> None:
        while self._timers and self._timers[0][0] <= self.now:
            _, _, task = heapq.heappop(self._timers)
            task.timer = NEVER
            if task.done or task.deadline == NEVER:
                continue
            if task.deadline > self.now:
                self._arm(task, task.deadline)
            elif task.parked:
                task.parked = False
                self.step(task, TimeoutError())

    def close(self) -> None:
        """End every task and the loop."""
        for task in list(self.tasks):
            task.cancel()
        self.epoll.close()


def _raise(error: BaseException) -> None:
    raise error
