"""Whose message is next: one of each user in turn, and nobody has more than a part of the loop while others want it.

Who floods the service with messages, over one connection or a thousand, is served one message, after which it waits
PENALTY times as long as that message took, while somebody else has been there lately. So what a flood costs others is
the one message that is under way when theirs comes, whatever it asks for.
"""

from __future__ import annotations

from collections import deque
from time import perf_counter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    class Served(Protocol):
        """A connection. `serve` handles one message and says whether another is there already; `pause` and `resume`
        tell the loop whether to watch for more.
        """

        closed: bool

        def serve(self) -> bool: ...
        def pause(self) -> None: ...
        def resume(self) -> None: ...

    class Loop(Protocol):
        def at(self, seconds: float, callback: Callable[[], None]) -> object: ...
        def soon(self, callback: Callable[[], None]) -> None: ...


PENALTY = 3.0  # a user has at most a quarter of the loop while others want it
LATELY = 1.0  # seconds
_BURST = 0.001  # seconds within which a second message of a user waits for a turn of the loop
_NEVER = float("inf")
_MOST_USERS = 1024  # that are remembered


class _User:
    __slots__ = ("after", "served", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[Served] = deque()
        self.served = 0.0  # when it was served last
        self.after = 0.0  # when it may be served next


class Turns:
    """The order in which messages are handled. Users are known by their uid."""

    __slots__ = ("_clock", "_due", "_loop", "_users")

    def __init__(self, loop: Loop, clock: Callable[[], float] = perf_counter) -> None:
        self._loop = loop
        self._clock = clock
        self._users: dict[int, _User] = {}
        self._due = _NEVER  # when the next turn is

    def ready(self, uid: int, client: Served) -> None:
        """A message of `client` is there. It is handled now where nobody is before it."""
        user = self._users.get(uid)
        if user is None:
            user = self._users[uid] = _User()
            self._forget_others()
        now = self._clock()
        if not user.waiting and now >= user.after and now - user.served > _BURST:
            if self._serve(user, client) and not client.closed:
                self._enqueue(user, client)
        else:
            self._enqueue(user, client)

    def _enqueue(self, user: _User, client: Served) -> None:
        client.pause()
        user.waiting.append(client)
        self._schedule(0.0)

    def _schedule(self, seconds: float) -> None:
        """A turn, `seconds` from now or earlier."""
        due = self._clock() + seconds
        if self._due <= due:
            return
        self._due = due
        if seconds > 0:
            self._loop.at(seconds, self._turn)
        else:
            self._loop.soon(self._turn)

    def _turn(self) -> None:
        """One message of each user who may be served."""
        self._due = _NEVER
        now = self._clock()
        for user in [user for user in self._users.values() if user.waiting and user.after <= now]:
            client = user.waiting.popleft()
            if client.closed:
                continue
            if self._serve(user, client) and not client.closed:
                user.waiting.append(client)
            elif not client.closed:
                client.resume()
        waiting = [user.after for user in self._users.values() if user.waiting]
        if waiting:
            self._schedule(min(waiting) - self._clock())

    def _serve(self, user: _User, client: Served) -> bool:
        """Handles one message; whether there is another."""
        began = self._clock()
        user.served = began
        try:
            return client.serve()
        finally:
            ended = self._clock()
            user.served = ended
            user.after = ended + (PENALTY * (ended - began) if self._others(user, ended) else 0.0)

    def _others(self, user: _User, now: float) -> bool:
        """Whether anybody else was there lately."""
        return any(other is not user and now - other.served < LATELY for other in self._users.values())

    def _forget_others(self) -> None:
        if len(self._users) > _MOST_USERS:
            now = self._clock()
            self._users = {uid: user for uid, user in self._users.items() if user.waiting or now - user.served < LATELY}
