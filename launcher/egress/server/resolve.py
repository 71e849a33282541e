"""Names to addresses, outside the sandbox: getaddrinfo in a few threads, woken through an eventfd.

getaddrinfo honours the host's own configuration (hosts file, search order, DNS over whatever the host uses). One call
for a connection, never two: what was checked is what is dialled (rebinding, codex #10213).
"""

from __future__ import annotations

import os
import queue
import socket
import threading
from collections import deque
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from launcher.egress.server.loop import Loop

    Lookup = Callable[[str], Sequence[str]]

Entry = TypeVar("Entry")

THREADS = 4  # lookups at once in one job: a slow name server must not stop the others
MAX_WAITING = 256  # lookups in the queue; beyond it they fail
MAX_ADDRESSES = 16  # of one answer that are looked at
REMEMBER = 5.0  # seconds an answer is used again: a burst of connections to one name is one lookup
MAX_REMEMBERED = 1024  # names


def system_lookup(name: str) -> list[str]:
    """The addresses of a name in the system's order of preference. Raises OSError."""
    answers = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(answer[4][0]) for answer in answers))


class Resolver:
    """`lookup` runs in threads that start with the first name and die with the process."""

    def __init__(self, loop: Loop, lookup: Lookup = system_lookup) -> None:
        self._loop = loop
        self._lookup = lookup
        self._queue: queue.SimpleQueue[tuple[str, _Answer] | None] = queue.SimpleQueue()
        self._finished: deque[_Answer] = deque()
        self._threads: list[threading.Thread] = []
        self._waiting = 0
        self._known: dict[str, tuple[float, list[str]]] = {}
        self._own: dict[str, tuple[float, bool]] = {}
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        loop.watch(self._event)
        loop.readers[self._event] = self._collect

    async def addresses(self, name: str, deadline: float) -> list[str]:
        """The addresses, empty where the name does not resolve. Raises TimeoutError."""
        known = self._known.get(name)
        if known is not None and known[0] > self._loop.now:
            return known[1]
        if self._waiting >= MAX_WAITING:
            raise TimeoutError
        answer = _Answer(self._loop.current_waker())
        self._start_thread()
        self._waiting += 1
        try:
            self._queue.put((name, answer))
            while answer.addresses is None:
                await self._loop.pause(deadline)
        finally:
            self._waiting -= 1
            answer.wake = None
        found = answer.addresses[:MAX_ADDRESSES]
        if found:
            _remember(self._known, name, (self._loop.now + REMEMBER, found))
        return found

    def own(self, address: str, judge: Callable[[str], bool]) -> bool:
        """Whether an address is the host's own, as `judge` says, asked once in a while."""
        known = self._own.get(address)
        if known is None or known[0] <= self._loop.now:
            known = (self._loop.now + REMEMBER, judge(address))
            _remember(self._own, address, known)
        return known[1]

    def _start_thread(self) -> None:
        if len(self._threads) < THREADS:
            thread = threading.Thread(target=self._work, daemon=True, name=f"resolve-{len(self._threads)}")
            self._threads.append(thread)
            thread.start()

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            name, answer = item
            try:
                answer.addresses = list(self._lookup(name))
            except (OSError, UnicodeError):
                answer.addresses = []
            self._finished.append(answer)
            os.eventfd_write(self._event, 1)

    def _collect(self) -> None:
        try:
            os.eventfd_read(self._event)
        except BlockingIOError:
            return
        while self._finished:
            answer = self._finished.popleft()
            if answer.wake is not None:
                answer.wake()

    def close(self) -> None:
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join(timeout=0.1)
        self._loop.forget(self._event)
        if not any(thread.is_alive() for thread in self._threads):
            os.close(self._event)


def _remember(table: dict[str, Entry], key: str, value: Entry) -> None:
    if len(table) >= MAX_REMEMBERED:
        table.clear()
    table[key] = value


class _Answer:
    __slots__ = ("addresses", "wake")

    def __init__(self, wake: Callable[[], None]) -> None:
        self.wake: Callable[[], None] | None = wake
        self.addresses: list[str] | None = None


def is_own(address: str) -> bool:
    """Whether an address is the host's own: only those can be bound."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True
