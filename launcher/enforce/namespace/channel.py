"""The socket between the supervisor and the sandbox's pid 1: one message a datagram, descriptors beside it.

It is also the lifeline: the supervisor holds the only other end, so pid 1 reads end-of-file when the supervisor
is gone, however it died (PR_SET_PDEATHSIG is cleared by id changes and fires per thread; kernel-facts 10).
The job never has it: it is close-on-exec and pid 1 is not dumpable.

Descriptors follow their message in a datagram of their own, which its head counts: most launches hand over none, and
do without `_socket`, whose constants are half a millisecond.
"""

from __future__ import annotations

import fcntl
import marshal
import os

from launcher.kernel import libc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket as Socket  # noqa: N812  a class
    from collections.abc import Sequence

_AF_UNIX, _SOCK_SEQPACKET = 1, 5  # <linux/socket.h>, <linux/net.h>
_MESSAGE = 1 << 16
FIRST_FREE = 64  # above every number that a job is handed a descriptor at

FAILED = "failed"  # (step, subject, errno, hint)
SCRATCH = "scratch"  # staged areas are mounted; descriptors: their file systems
PREPARED = "prepared"  # from the supervisor: snapshots are in place
TERMINAL = "terminal"  # descriptor: the master of the job's pty
LISTENERS = "listeners"  # what Network.in_child sends follows
SPEC = "spec"  # to a pid 1 that waits; descriptors: the spec (a memfd), then those that it names
PREBUILD = "prebuild"  # to a pid 1 that waits: steps to take meanwhile; descriptors as with SPEC
READY = "ready"  # the view is complete and locked
GO = "go"  # from the supervisor: limits are in place, start the job
SIGNAL = "signal"  # from the supervisor: (number)
NOT_STARTED = "not-started"  # (errno, path)
REFUSED_EXEC = "refused-exec"  # (file, command line, reason, places of the rules)
LISTENER = "listener"  # descriptor: where the job's calls with path names are reported
ATTEMPTED = "attempted"  # (working directory, path): an exec that begins, told to the observer
ENDED = "ended"  # (wait status, user us, system us, max rss bytes, names of limits that are full then...)


class Channel:
    """One end. `send` and `receive` speak (kind, values, descriptors)."""

    __slots__ = ("_fd", "_socket")

    def __init__(self, fd: int) -> None:
        """`fd` becomes this object's own."""
        self._fd = fd
        self._socket: Socket | None = None

    def fileno(self) -> int:
        return self._fd

    @property
    def socket(self) -> Socket:
        """The same end as an object of `_socket`."""
        if self._socket is None:
            import _socket

            self._socket = _socket.socket(fileno=self._fd)
        return self._socket

    def send(self, kind: str, values: Sequence[object] = (), descriptors: Sequence[int] = ()) -> None:
        os.write(self._fd, marshal.dumps((kind, tuple(values), len(descriptors))))  # type: ignore[arg-type]  # plain values
        if descriptors:
            import _socket

            packed = b"".join([fd.to_bytes(4, "little") for fd in descriptors])
            self.socket.sendmsg([b"\n"], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, packed)], _socket.MSG_NOSIGNAL)

    def receive(self) -> tuple[str, tuple[object, ...], list[int]]:
        """The next message, waiting for it; ("", (), []) at end of file."""
        try:
            data = os.read(self._fd, _MESSAGE)
        except ConnectionResetError:  # the other end closed and had not read what we sent: that is its end, too
            data = b""
        if not data:
            return "", (), []
        kind, values, count = marshal.loads(data)  # noqa: S302  both ends are ours; the job never holds the socket
        descriptors = self._descriptors(count) if count else []
        # killed between the two: that is the end
        return (kind, values, descriptors) if len(descriptors) == count else ("", (), descriptors)

    def _descriptors(self, count: int) -> list[int]:
        import _socket

        _data, ancillary, _flags, _address = self.socket.recvmsg(
            1, _socket.CMSG_SPACE(4 * count), _socket.MSG_CMSG_CLOEXEC
        )
        found: list[int] = []
        for _level, _type, packed in ancillary:
            found += [int.from_bytes(packed[at : at + 4], "little") for at in range(0, len(packed) - 3, 4)]
        return found

    def close(self) -> None:
        if self._socket is not None:
            self._socket.detach()
        os.close(self._fd)


def prepare() -> None:
    """To be called before a fork where descriptors will be handed over: pid 1 has no file to import from later."""
    import _socket

    del _socket


def adopt(fd: int) -> Channel:
    """An end that was received, numbered as those of `pair`. The descriptor is the channel's from now on."""
    return Channel(_high(fd))


def pair() -> tuple[Channel, Channel]:
    """Two connected ends, close-on-exec, numbered above every descriptor that a job is handed."""
    one, other = libc.socketpair(_AF_UNIX, _SOCK_SEQPACKET)
    return Channel(_high(one)), Channel(_high(other))


def _high(low: int) -> int:
    fd = fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, FIRST_FREE)
    os.close(low)
    return fd
