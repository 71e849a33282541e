"""Carrying bytes between the caller's descriptors and the job's pipes or terminal.

The job never gets the caller's own descriptors: a descriptor is authority (a log file could be truncated through
it, /proc/self/fd/1 re-opened, a terminal written to with TIOCSTI). Writing never blocks the supervisor: it writes
only where poll(2) says so, and never more than a pipe takes at once.
"""

from __future__ import annotations

import os
import select
import stat
from sys import byteorder

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket

_SOL_SOCKET, _SCM_CREDENTIALS = 1, 2  # <linux/socket.h>, as for both machines of `kernel.abi`
_MSG_DONTWAIT, _MSG_NOSIGNAL = 0x40, 0x4000
_CHUNK = 1 << 16
_PIPE_BUF = 4096  # POSIX: a write of this size to a pipe that polls writable does not block


class Output:
    """One stream of the job to one descriptor of ours; `budget` (bytes, shared) caps what passes."""

    __slots__ = ("_budget", "_buffer", "_limit", "_own", "_spoken", "closed", "sink", "source")

    def __init__(self, source: int, sink: int, budget: Budget) -> None:
        self.source = source
        self.sink = sink
        self.closed = False
        self._buffer = b""
        self._own = -1
        self._spoken: tuple[_socket.socket, bytes] | None = None
        self._budget = budget
        fifo = stat.S_ISREG(os.fstat(sink).st_mode)
        self._limit = _CHUNK if fifo else _PIPE_BUF

    def speak_for(self, uid: int, gid: int) -> None:
        """Whose words these are: what the other end of a local socket is told who asks the kernel (SO_PASSCRED), for
        which a process of root's would otherwise vouch with its own ids.
        """
        if not stat.S_ISSOCK(os.fstat(self.sink).st_mode):
            return
        import _socket

        socket = _socket.socket(fileno=os.dup(self.sink))
        if socket.family == _socket.AF_UNIX:
            self._spoken = socket, b"".join([word.to_bytes(4, byteorder) for word in (os.getpid(), uid, gid)])

    def wants(self) -> list[tuple[int, int]]:
        """The (descriptor, events) to poll for."""
        if self._buffer:
            return [(self.sink, select.POLLOUT)]
        return [] if self.closed else [(self.source, select.POLLIN)]

    def ready(self, fd: int) -> None:
        """Moves bytes after poll named `fd`."""
        if self._buffer and fd == self.sink:
            self._write()
        elif not self._buffer and fd == self.source:
            self._read()

    def _read(self) -> None:
        try:
            data = os.read(self.source, _CHUNK)
        except OSError:  # EIO: the last holder of a pty's slave is gone
            data = b""
        if not data:
            self.closed = True
            return
        self._buffer = self._budget.take(data)

    def _write(self) -> None:
        try:
            written = self._put(self._buffer[: self._limit])
        except BlockingIOError:  # the caller's descriptor is non-blocking and filled meanwhile: poll says when
            return
        except OSError:  # the reader went away, or its disk is full: the job goes on, its output is dropped
            self._buffer = b""
            self._quieten()
            self._own = self.sink = os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC)
            return
        self._buffer = self._buffer[written:]

    def _put(self, data: bytes) -> int:
        if self._spoken is None:
            return os.write(self.sink, data)
        socket, who = self._spoken
        return socket.sendmsg([data], [(_SOL_SOCKET, _SCM_CREDENTIALS, who)], _MSG_DONTWAIT | _MSG_NOSIGNAL)

    def close(self) -> None:
        """Closes our end of the job's stream; the sink is the caller's."""
        os.close(self.source)
        self._quieten()
        if self._own >= 0:
            os.close(self._own)

    def _quieten(self) -> None:
        if self._spoken is not None:
            self._spoken[0].close()
            self._spoken = None

    def idle(self) -> bool:
        return not self._buffer


class Budget:
    """How many bytes of output may still pass; after that one marker line, then nothing."""

    __slots__ = ("dropped", "left", "passed")

    def __init__(self, limit: int | None) -> None:
        self.left = limit
        self.passed = 0
        self.dropped = 0

    def take(self, data: bytes) -> bytes:
        if self.left is None:
            self.passed += len(data)
            return data
        taken = data[: self.left]
        self.left -= len(taken)
        self.passed += len(taken)
        lost = len(data) - len(taken)
        if lost and not self.dropped:
            taken += b"\n[mlsandbox: output limit reached, the rest is dropped]\n"
        self.dropped += lost
        return taken


class Input:
    """Our standard input to the job's."""

    __slots__ = ("_buffer", "closed", "sink", "source")

    def __init__(self, source: int, sink: int) -> None:
        self.source = source
        self.sink = sink
        self.closed = False
        self._buffer = b""

    def wants(self) -> list[tuple[int, int]]:
        if self.closed:
            return []
        if self._buffer:
            return [(self.sink, select.POLLOUT)]
        # POLLERR on the sink says that the job closed its end: then nothing more is read from the caller
        return [(self.source, select.POLLIN), (self.sink, 0)]

    def ready(self, fd: int) -> None:
        if fd == self.sink and not self._buffer:
            self.close()
        elif fd == self.sink:
            self._write()
        elif not self._buffer:
            self._read()

    def _read(self) -> None:
        try:
            self._buffer = os.read(self.source, _CHUNK)
        except BlockingIOError:  # another reader of the caller's descriptor was faster: this is not its end
            return
        except OSError:
            self._buffer = b""
        if not self._buffer:
            self.close()

    def _write(self) -> None:
        try:
            written = os.write(self.sink, self._buffer[:_PIPE_BUF])
        except OSError:
            self.close()
            return
        self._buffer = self._buffer[written:]

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            os.close(self.sink)
