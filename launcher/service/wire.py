"""The words of the service: JSON objects in frames over a Unix stream socket, descriptors beside them.

    frame = magic (4 bytes "mls1"), length of the body (4 bytes, little endian), number of descriptors (4 bytes), body
    body  = one JSON object, UTF-8, at most LONGEST bytes

The descriptors of a frame travel with its first byte (SCM_RIGHTS). Client and server speak the same; a server's socket
is non-blocking. The peer of a server is a tenant, who may write anything: whatever is not a frame raises WireError,
which ends that connection and nothing else. No `json`: it costs a client 8 ms of imports.
"""

from __future__ import annotations

import _json
import _socket
import os

from launcher.canonical import canonical_json
from launcher.errors import SandboxError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    Message = dict[str, Any]

MAGIC = b"mls1"
HEADER = 12
LONGEST = 4 << 20  # bytes of one body that a server takes: arguments and an environment as execve(2) takes them fit
LONGEST_ANSWER = 256 << 20  # and of one that comes from the service: the result of a job that wrote a million files
MOST_DESCRIPTORS = 16  # of one frame
_CHUNK = 1 << 16


class WireError(SandboxError):
    """The other side did not speak the protocol. The connection is of no use any more."""


class ClosedError(WireError):
    """The other side has closed the connection."""


class Connection:
    """One end. The socket may be blocking (`send` and `receive` wait) or not (they do what is possible now)."""

    __slots__ = ("_descriptors", "_input", "_longest", "_most", "_output", "_space", "socket")

    def __init__(self, socket: _socket.socket, *, most: int = MOST_DESCRIPTORS, longest: int = LONGEST_ANSWER) -> None:
        """`longest`: how many bytes a message may have that is received; `most`: how many descriptors may come with it.
        With 0 the kernel itself drops what is sent: closing a stranger's descriptor can wait for a file system that he
        answers for (FUSE_FLUSH).
        """
        self.socket = socket
        self._most = most
        self._longest = longest
        self._space = _socket.CMSG_SPACE(most * 4) if most else 0
        self._input = bytearray()
        self._descriptors: list[int] = []
        self._output: list[tuple[bytes, tuple[int, ...]]] = []

    def fileno(self) -> int:
        return self.socket.fileno()

    # -- sending ------------------------------------------------------------------------------------------------------

    @property
    def backlog(self) -> int:
        """Bytes that wait for the other side to read."""
        return sum([len(data) for data, _fds in self._output])

    @property
    def held(self) -> int:
        """Descriptors that wait with it."""
        return sum([len(fds) for _data, fds in self._output])

    @property
    def buffered(self) -> int:
        """Bytes that have come of a message that is not whole yet."""
        return len(self._input)

    def send(self, message: Message, fds: Sequence[int] = ()) -> None:
        """Sends one message. What a non-blocking socket does not take stays in `backlog` for `flush`; descriptors are
        then held until they are sent. Raises WireError, ClosedError.
        """
        body = encode(message)
        header = MAGIC + len(body).to_bytes(4, "little") + len(fds).to_bytes(4, "little")
        held = tuple([os.dup(fd) for fd in fds])
        self._output.append((header + body, held))
        self.flush()

    def flush(self) -> bool:
        """Sends what waits; whether nothing waits any more. Raises ClosedError."""
        while self._output:
            data, fds = self._output[0]
            try:
                sent = self._send(data, fds)
            except BlockingIOError:
                return False
            except OSError as error:
                self._discard()
                raise ClosedError(f"the connection broke: {error.strerror}") from error
            for fd in fds:
                os.close(fd)
            rest = data[sent:]
            if rest:
                self._output[0] = (rest, ())
            else:
                del self._output[0]
        return True

    def _send(self, data: bytes, fds: tuple[int, ...]) -> int:
        if not fds:
            return self.socket.send(data, _socket.MSG_NOSIGNAL)
        packed = b"".join([fd.to_bytes(4, "little") for fd in fds])
        rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, packed)]
        return self.socket.sendmsg([data], rights, _socket.MSG_NOSIGNAL)

    # -- receiving ----------------------------------------------------------------------------------------------------

    def receive(self) -> tuple[Message, list[int]] | None:
        """The next message and its descriptors, which are the caller's to close. None where a non-blocking socket has
        no whole message yet. Raises ClosedError at the end of the stream, WireError for anything malformed.
        """
        while True:
            message = self._take()
            if message is not None:
                return message
            try:
                data, ancillary, flags, _address = self.socket.recvmsg(_CHUNK, self._space, _socket.MSG_CMSG_CLOEXEC)
            except BlockingIOError:
                return None
            except OSError as error:
                raise ClosedError(f"the connection broke: {error.strerror}") from error
            self._keep(ancillary)
            if flags & _socket.MSG_CTRUNC or len(self._descriptors) > self._most:
                raise WireError(f"more than {self._most} descriptors with one message")
            if not data:
                raise ClosedError("the other side closed the connection")
            self._input += data

    def _keep(self, ancillary: Sequence[tuple[int, int, bytes]]) -> None:
        for level, kind, packed in ancillary:
            if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
                starts = range(0, len(packed) - 3, 4)
                self._descriptors += [int.from_bytes(packed[at : at + 4], "little") for at in starts]

    def _take(self) -> tuple[Message, list[int]] | None:
        """The first message of what has come, if all of it has."""
        if len(self._input) < HEADER:
            return None
        length, count = self._header()
        if len(self._input) < HEADER + length:
            return None
        if count > len(self._descriptors):
            raise WireError(f"{count} descriptors were announced and {len(self._descriptors)} came")
        message = decode(bytes(self._input[HEADER : HEADER + length]))
        fds = self._descriptors[:count]
        del self._input[: HEADER + length], self._descriptors[:count]
        if not self._input and self._descriptors:
            raise WireError("descriptors came that no message announced")
        return message, fds

    def _header(self) -> tuple[int, int]:
        if self._input[:4] != MAGIC:
            raise WireError("that is not the protocol of mlsandbox")
        length = int.from_bytes(self._input[4:8], "little")
        count = int.from_bytes(self._input[8:12], "little")
        if not 2 <= length <= self._longest:
            raise WireError(f"a message of {length} bytes; at most {self._longest} are taken")
        if count > self._most:
            raise WireError(f"a message with {count} descriptors; at most {self._most} are taken")
        return length, count

    def close(self) -> None:
        """Closes the socket, and every descriptor that was received and not taken, or not sent yet."""
        self.socket.close()
        for fd in self._descriptors:
            os.close(fd)
        self._descriptors.clear()
        self._discard()

    def _discard(self) -> None:
        """Closes what was to be sent: whoever waits at the other end of it sees that nobody will come."""
        for _data, fds in self._output:
            for fd in fds:
                os.close(fd)
        self._output.clear()


# -- JSON --------------------------------------------------------------------------------------------------------------


def encode(message: Message) -> bytes:
    """The body of a message. Raises WireError for one that is too long."""
    body = canonical_json(message)
    if len(body) > LONGEST_ANSWER:
        raise WireError(f"a message of {len(body)} bytes; at most {LONGEST_ANSWER} can be sent")
    return body


def decode(body: bytes) -> Message:
    """The object that a body holds. Raises WireError for anything else: other JSON, a name twice, bad UTF-8."""
    try:
        text = body.decode("utf-8")
        value, end = _scan(text, 0)
    except StopIteration as error:
        raise WireError("the message is not JSON") from error
    except SystemError as error:  # a scanner that would raise JSONDecodeError, and finds json.decoder not imported
        raise WireError("the message is not JSON") from error
    except (ValueError, RecursionError) as error:
        raise WireError(f"the message is not JSON: {str(error)[:200]}") from error
    if end != len(text):
        raise WireError("something follows the message's JSON object")
    if type(value) is not dict:
        raise WireError("the message is not a JSON object")
    return value


def _once(pairs: list[tuple[str, object]]) -> Message:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a name stands twice in an object")
    return made


def _no_float(text: str) -> object:
    raise ValueError(f"{text[:20]} is not a whole number")


class _Context:
    """What the scanner of the `json` module is told, without importing that."""

    strict = True
    object_hook = None
    object_pairs_hook = staticmethod(_once)
    parse_float = staticmethod(_no_float)  # canonical JSON has none, and NaN is none
    parse_int = int
    parse_constant = staticmethod(_no_float)
    memo: dict[str, str] = {}  # noqa: RUF012  as the scanner wants it


_scan = _json.make_scanner(_Context())  # type: ignore[arg-type]  # any object with these attributes
