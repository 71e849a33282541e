"""A client of the service: connects, calls, and receives answers. On the path of every warm launch: few imports."""

from __future__ import annotations

import _socket
import os

from launcher.errors import SandboxError
from launcher.service.calls import error_from
from launcher.service.wire import ClosedError, Connection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from launcher.service.wire import Message


def connect(path: str) -> Client | None:
    """A connection to the service that listens at `path`, or None where none is running.

    Only a service of root or of this very user is spoken to: in a directory of somebody else's anybody could listen,
    and would be handed descriptors and tokens. Raises SandboxError where it is there and does not answer.
    """
    socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    try:
        socket.connect(path)
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
        socket.close()
        return None
    except OSError as error:
        socket.close()
        raise SandboxError(f"cannot reach the service at {path}: {error.strerror}") from error
    uid = int.from_bytes(socket.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12)[4:8], "little")
    if uid not in {0, os.geteuid()}:
        socket.close()
        raise SandboxError(f"the service at {path} is user {uid}'s, and not the host's", hint="give --embedded")
    return Client(Connection(socket))


class Client:
    """One connection. One call at a time, or several by number."""

    __slots__ = ("_last", "connection")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._last = 0

    def call(self, verb: str, message: Message) -> Message:
        """Calls `verb` and waits for its answer; parts of a stream are passed over. Raises SandboxError."""
        return [*self.stream(verb, message)][-1]

    def begin(self, verb: str, message: Message) -> int:
        """Sends a call; its number. Raises SandboxError."""
        self._last += 1
        try:
            self.connection.send({**message, "verb": verb, "call": self._last})
        except ClosedError:
            self.next(self._last)  # where the service refused the connection, it said why before it closed it
            raise
        return self._last

    def more(self, number: int, message: Message) -> None:
        """Says more about an open call: a signal, the terminal's size."""
        self.connection.send({**message, "to": number})

    def stream(self, verb: str, message: Message) -> Iterator[Message]:
        """The parts of the answer as they come, then the answer itself. Raises SandboxError."""
        number = self.begin(verb, message)
        while True:
            done, answer, received = self.next(number)
            for fd in received:
                os.close(fd)
            yield answer
            if done:
                return

    def next(self, number: int) -> tuple[bool, Message, list[int]]:
        """Waits for the next of call `number`: (whether it is the last, what it says, descriptors).

        Raises SandboxError where the answer is an error, or the service went away.
        """
        while True:
            try:
                received = self.connection.receive()
            except ClosedError as error:
                raise SandboxError("the service went away before it answered", hint="its log says why") from error
            if received is None:
                raise SandboxError("the connection to the service is non-blocking")
            message, fds = received
            if message.get("call") not in {number, 0}:
                continue
            if "error" in message:
                raise error_from(message["error"])
            return "ok" in message, message["ok"] if "ok" in message else message["part"], fds

    def close(self) -> None:
        self.connection.close()
