"""One request of a client, as a verb's handler sees it."""

from __future__ import annotations

from launcher.errors import SandboxError
from launcher.service.wire import ClosedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from launcher.identity.acting import Acting
    from launcher.identity.user import User
    from launcher.service.server import Client
    from launcher.service.wire import Message

_MOST_BACKLOG = 1 << 20  # bytes of a stream that wait for a client that does not read; more ends its connection


class Call:
    """One message of one client. A handler answers with `reply` or `fail`, now or later, exactly once; a streaming
    verb answers first with any number of `stream`. What it holds for a client that goes away it frees in `on_gone`.

    `caller` is who the kernel says is connected; `acting` is who that is for, from the token and the user of the
    message. A client passes no descriptors here: a verb that needs some gives it a socket for them (`launches`).
    """

    __slots__ = ("_client", "acting", "answered", "message", "number", "on_gone", "on_message")

    def __init__(self, client: Client, message: Message) -> None:
        self._client = client
        self.message = message
        self.number = message.get("call", 0)
        self.acting: Acting
        self.answered = False
        # the client has closed its connection before the answer
        self.on_gone: Callable[[], None] | None = None
        # a further message of the client about this call (`{"to": number, ...}`): signals, the terminal's size
        self.on_message: Callable[[Message], None] | None = None

    @property
    def caller(self) -> User:
        return self._client.user

    @property
    def peer(self) -> tuple[int, int, int]:
        """(pid, uid, gid) of who connected, at the time of connect(2)."""
        return self._client.peer

    def reply(self, message: Message, fds: Sequence[int] = ()) -> None:
        """The answer. Nothing more can be said afterwards."""
        self._answer({"ok": message}, fds)

    def fail(self, error: SandboxError) -> None:
        """The answer is an error, with its place, hint and exit status."""
        self._answer({"error": error_data(error)})

    def stream(self, message: Message, fds: Sequence[int] = ()) -> None:
        """One of several answers; `reply` or `fail` is still to come."""
        if not self.answered:
            self._say({"part": message}, fds)
            if self.backlog > _MOST_BACKLOG:
                self._client.close()

    @property
    def backlog(self) -> int:
        """Bytes that wait for this client to read; a stream waits while there are many."""
        return self._client.connection.backlog

    def when_drained(self, callback: Callable[[], None]) -> None:
        """Calls `callback()` once, when nothing waits for this client any more."""
        self._client.when_drained(callback)

    def _answer(self, message: Message, fds: Sequence[int] = ()) -> None:
        if self.answered:
            return
        self.answered = True
        self._say(message, fds)
        self._client.answered(self)

    def _say(self, message: Message, fds: Sequence[int] = ()) -> None:
        try:
            self._client.send({**message, "call": self.number}, fds)
        except ClosedError:
            self._client.close()


def error_data(error: SandboxError) -> Message:
    """An error as it travels."""
    return {
        "kind": type(error).__name__,
        "message": error.message,
        "hint": error.hint,
        "place": error.place,
        "status": error.status,
        "ended_by": error.ended_by,
    }


def error_from(data: Message) -> SandboxError:
    """The error that the service sent, with the same words and exit status."""
    error = SandboxError(str(data["message"]), hint=str(data["hint"]), place=str(data["place"]))
    error.status = int(data["status"])
    error.ended_by = str(data["ended_by"])
    return error
