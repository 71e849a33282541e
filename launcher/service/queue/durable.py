"""Making the queue's log durable without waiting for the disk: a process of its own calls fdatasync(2).

The service has one thread, and a sync of 2 ms in its loop would be 2 ms of everybody's launches. Syncs that are asked
for while one is under way share the next.
"""

from __future__ import annotations

import _signal
import _socket
import os

from launcher.kernel import libc
from launcher.kernel.abi import PR_SET_PDEATHSIG

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from launcher.service.queue.clock import Loop

_DONE, _FAILED = b".", b"!"


class Durable:
    """`after(callback)` calls back when everything that was written to `path` before is on disk.

    `path` is opened once and never closed while SQLite uses it: SQLite holds no locks on a `-wal` file.
    """

    __slots__ = ("_ahead", "_asked", "_fd", "_loop", "_pid", "_socket", "failure")

    def __init__(self, path: str, loop: Loop) -> None:
        self._loop = loop
        self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self._asked: list[Callable[[], None]] = []  # by the sync that is under way
        self._ahead: list[Callable[[], None]] = []  # by the one after it
        self.failure = ""
        ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        self._pid = os.fork()
        if self._pid == 0:
            _serve(self._fd, theirs.fileno())
        theirs.close()
        ours.setblocking(False)
        self._socket = ours
        loop.watch(ours.fileno(), self._told)

    def after(self, callback: Callable[[], None]) -> None:
        """`callback` is called from the loop, later. Where the disk fails it is called too, and `failure` says so."""
        self._ahead.append(callback)
        if not self._asked:
            self._ask()

    def _ask(self) -> None:
        self._asked, self._ahead = self._ahead, []
        try:
            self._socket.send(_DONE)
        except OSError:
            self._sync_here()

    def _told(self, _events: int) -> None:
        try:
            said = self._socket.recv(16)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        if not said:  # the process is gone: nobody waits for what it was asked
            self._loop.forget(self._socket.fileno())
            self._sync_here()
            return
        self.failure = "" if said.endswith(_DONE) else "the disk refuses to make the queue durable"
        self._answer()

    def _sync_here(self) -> None:
        try:
            os.fdatasync(self._fd)
            self.failure = ""
        except OSError as error:
            self.failure = f"the disk refuses to make the queue durable: {error.strerror}"
        self._loop.soon(self._answer)

    def _answer(self) -> None:
        asked, self._asked = self._asked, []
        for callback in asked:
            callback()
        if self._ahead and not self._asked:
            self._ask()

    def close(self) -> None:
        """Ends the process, and makes durable what is left."""
        self._loop.forget(self._socket.fileno())
        self._socket.close()
        os.waitpid(self._pid, 0)
        os.fdatasync(self._fd)
        os.close(self._fd)


def _serve(fd: int, socket: int) -> NoReturn:
    """The process: one fdatasync for each byte that comes, until nobody is there to ask."""
    try:
        libc.prctl(PR_SET_PDEATHSIG, _signal.SIGKILL)
        _signal.signal(_signal.SIGTERM, _signal.SIG_DFL)
        _signal.signal(_signal.SIGINT, _signal.SIG_IGN)
        low = 0
        for kept in sorted({0, 1, 2, fd, socket}):
            if kept > low:
                libc.close_range(low, kept - 1)
            low = kept + 1
        libc.close_range(low, (1 << 32) - 1)
        while os.read(socket, 1):
            try:
                os.fdatasync(fd)
                os.write(socket, _DONE)
            except OSError:
                os.write(socket, _FAILED)
    finally:
        os._exit(0)
