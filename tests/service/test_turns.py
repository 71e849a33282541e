"""Whose message is next: laws on a clock that the test moves."""

from __future__ import annotations

from collections import Counter
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from launcher.service.turns import PENALTY, Turns

if TYPE_CHECKING:
    from collections.abc import Callable


class Loop:
    def __init__(self) -> None:
        self.now = 1000.0
        self._soon: list[Callable[[], None]] = []
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = 0

    def clock(self) -> float:
        return self.now

    def at(self, seconds: float, callback: Callable[[], None]) -> object:
        self._sequence += 1
        heappush(self._timers, (self.now + seconds, self._sequence, callback))
        return None

    def soon(self, callback: Callable[[], None]) -> None:
        self._soon.append(callback)

    def run(self, until: float) -> None:
        while self.now < until:
            callbacks, self._soon = self._soon, []
            for callback in callbacks:
                callback()
            if self._soon:
                continue
            if not self._timers or self._timers[0][0] > until:
                self.now = until
                return
            self.now = max(self.now, self._timers[0][0])
            heappop(self._timers)[2]()


class Client:
    """`messages` are waiting; each takes `cost` seconds."""

    def __init__(self, loop: Loop, turns: Turns, uid: int, cost: float) -> None:
        self.loop, self.turns, self.uid, self.cost = loop, turns, uid, cost
        self.messages = 0
        self.served = Counter[str]()
        self.closed = False
        self.watched = True
        self.delays: list[float] = []
        self._came = 0.0

    def send(self, messages: int = 1) -> None:
        self.messages += messages
        self._came = self.loop.now
        if self.watched:
            self.turns.ready(self.uid, self)

    def serve(self) -> bool:
        assert self.messages, "served without a message"
        self.delays.append(self.loop.now - self._came)
        self.messages -= 1
        self.loop.now += self.cost
        self.served["served"] += 1
        return self.messages > 0

    def pause(self) -> None:
        self.watched = False

    def resume(self) -> None:
        self.watched = True
        if self.messages:
            self.turns.ready(self.uid, self)


def setting() -> tuple[Loop, Turns]:
    loop = Loop()
    return loop, Turns(loop, loop.clock)


def test_a_lone_message_is_served_at_once() -> None:
    loop, turns = setting()
    client = Client(loop, turns, 1, 0.001)
    for _ in range(5):
        client.send()
        assert client.delays[-1] == 0.0
        loop.run(loop.now + 0.1)
    assert client.watched


def test_everything_is_served_once_and_in_the_order_of_a_connection() -> None:
    loop, turns = setting()
    clients = [Client(loop, turns, at % 3, 0.0005) for at in range(30)]
    for client in clients:
        client.send(7)
    loop.run(loop.now + 5)
    assert [client.served["served"] for client in clients] == [7] * 30
    assert all(client.watched and not client.messages for client in clients)


def test_a_flood_delays_another_user_by_one_message() -> None:
    """mallory pipelines thousands of costly messages on 200 connections; alice's wait for one of them at most."""
    loop, turns = setting()
    alice = Client(loop, turns, 1, 0.0002)
    flood = [Client(loop, turns, 2, 0.005) for _ in range(200)]
    for client in flood:
        client.send(1000)
    loop.run(loop.now + 0.5)
    for _ in range(100):
        alice.send()
        loop.run(loop.now + 0.01)
    assert len(alice.delays) == 100
    assert max(alice.delays) <= 0.005 + 1e-9


def test_who_floods_has_a_quarter_of_the_loop_while_others_are_there_and_all_of_it_alone() -> None:
    loop, turns = setting()
    mallory, alice = Client(loop, turns, 2, 0.004), Client(loop, turns, 1, 0.0001)
    mallory.send(100_000)
    loop.run(loop.now + 2)
    assert mallory.served["served"] >= 490
    before, began = mallory.served["served"], loop.now
    while loop.now < began + 2:
        alice.send()
        loop.run(loop.now + 0.05)
    share = (mallory.served["served"] - before) * 0.004 / (loop.now - began)
    assert share <= 1 / (1 + PENALTY) + 0.02


def test_a_connection_that_closes_while_it_waits_is_forgotten() -> None:
    loop, turns = setting()
    first, second = Client(loop, turns, 2, 0.004), Client(loop, turns, 2, 0.004)
    first.send(2)
    second.send()
    second.closed = True
    loop.run(loop.now + 1)
    assert second.served["served"] == 0
    assert first.served["served"] == 2
