"""The socket between the supervisor and the sandbox's pid 1: one message a datagram, descriptors beside it.

It is also the lifeline: the supervisor holds the only other end, so pid 1 reads end-of-file when the supervisor
is gone, however it died (PR_SET_PDEATHSIG is cleared by id changes and fires per thread; kernel-facts 10).
The job never has it: it is close-on-exec and pid 1 is not dumpable.
"""

from __future__ import annotations

import _socket
import fcntl
import marshal
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_SCM_SPACE = 4 * 16
_MESSAGE = 1 << 16
FIRST_FREE = 64  # above every number that a job is handed a descriptor at

FAILED = "failed"  # (step, subject, errno, hint)
SCRATCH = "scratch"  # staged areas are mounted; descriptors: their file systems
PREPARED = "prepared"  # from the supervisor: snapshots are in place
TERMINAL = "terminal"  # descriptor: the master of the job's pty
LISTENERS = "listeners"  # what Network.in_child sends follows
READY = "ready"  # the view is complete and locked
GO = "go"  # from the supervisor: limits are in place, start the job
SIGNAL = "signal"  # from the supervisor: (number)
NOT_STARTED = "not-started"  # (errno, path)
REFUSED_EXEC = "refused-exec"  # (file, command line, reason, places of the rules)
LISTENER = "listener"  # descriptor: where the job's calls with path names are reported
ATTEMPTED = "attempted"  # (working directory, path): an exec that begins, told to the observer
ENDED = "ended"  # (wait status, user us, system us, max rss bytes)


class Channel:
    """One end. `send` and `receive` speak (kind, values, descriptors)."""

    __slots__ = ("socket",)

    def __init__(self, socket: _socket.socket) -> None:
        self.socket = socket

    def fileno(self) -> int:
        return self.socket.fileno()

    def send(self, kind: str, values: Sequence[object] = (), descriptors: Sequence[int] = ()) -> None:
        data = marshal.dumps((kind, tuple(values)))  # type: ignore[arg-type]  # plain values only
        ancillary = []
        if descriptors:
            packed = b"".join([fd.to_bytes(4, "little") for fd in descriptors])
            ancillary = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, packed)]
        self.socket.sendmsg([data], ancillary, _socket.MSG_NOSIGNAL)

    def receive(self) -> tuple[str, tuple[object, ...], list[int]]:
        """The next message, waiting for it; ("", (), []) at end of file."""
        data, ancillary, _flags, _address = self.socket.recvmsg(_MESSAGE, _SCM_SPACE, _socket.MSG_CMSG_CLOEXEC)
        descriptors: list[int] = []
        for _level, _type, packed in ancillary:
            descriptors += [int.from_bytes(packed[at : at + 4], "little") for at in range(0, len(packed) - 3, 4)]
        if not data:
            return "", (), descriptors
        kind, values = marshal.loads(data)  # noqa: S302  both ends are ours; the job never holds the socket
        return kind, values, descriptors

    def close(self) -> None:
        self.socket.close()


def pair() -> tuple[Channel, Channel]:
    """Two connected ends, close-on-exec, numbered above every descriptor that a job is handed."""
    one, other = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
    return Channel(_high(one)), Channel(_high(other))


def _high(socket: _socket.socket) -> _socket.socket:
    low = socket.detach()
    fd = fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, FIRST_FREE)
    os.close(low)
    return _socket.socket(fileno=fd)
