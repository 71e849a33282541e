"""Bytes both ways between two sockets: bulk without touching user space (os.splice through pooled pipes), a little
by recv and send, which for less than a buffer is two calls and no pipe.

A pipe is leased only while bytes are in it: fs.pipe-user-pages-soft (64 MiB for a plain user) would not hold a pipe
for each of thousands of idle tunnels, and 1,934 MB per CPU second against 657 for recv/send is worth the pipe.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _socket import socket as Socket  # noqa: N812  a class
    from collections.abc import Callable

    from launcher.egress.server.account import Account
    from launcher.egress.server.loop import Loop

PIPE_SIZE = 1 << 20  # bytes; fewer wake-ups a MiB. Where the kernel refuses (soft limit reached), the default remains
POOLED = 16  # empty pipes kept: 16 MiB of the soft limit when all were grown
SMALL = 65536  # bytes one recv takes; a direction that fills it becomes bulk
AGAIN_SMALL = 8192  # a bulk direction that moves less at once is no longer bulk
TURN = 4 << 20  # bytes one direction may move before others have their turn
_LINGER_RESET = struct.pack("ii", 1, 0)
_FLAGS = os.SPLICE_F_NONBLOCK | os.SPLICE_F_MOVE

_pool: list[tuple[int, int]] = []
_buffer = memoryview(bytearray(SMALL))  # one for all: what cannot be sent at once is copied out of it


def reset_on_close(sock: Socket) -> None:
    """Make close() send RST and drop what is unsent."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
    except OSError:
        return  # the connection has gone already


def unpaced(sock: Socket) -> None:
    """For a loopback: there is no congestion, and where the host uses bbr each segment would wait for a timer
    (a third of a transfer's time). reno is built into every kernel, and everybody may choose it.
    """
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")
    except OSError:
        return  # the host's choice remains


def _lease() -> tuple[int, int]:
    if _pool:
        return _pool.pop()
    pipe = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.fcntl(pipe[1], fcntl.F_SETPIPE_SZ, PIPE_SIZE)
    except OSError:
        return pipe
    return pipe


def _release(pipe: tuple[int, int], *, empty: bool) -> None:
    if empty and len(_pool) < POOLED:
        _pool.append(pipe)
        return
    os.close(pipe[0])
    os.close(pipe[1])


class _Direction:
    """One way. `run` moves what it can; it is called whenever either socket may be ready."""

    __slots__ = ("allowance", "bulk", "count", "ended", "held", "kept", "pipe", "relay", "short", "source", "target")

    def __init__(self, relay: Relay, source: Socket, target: Socket, *, up: bool) -> None:
        account = relay.account
        self.relay = relay
        self.source = source
        self.target = target
        self.bulk = False
        self.kept = b""  # read by recv and not yet sent
        self.allowance = account.may_send if up else account.may_receive
        self.count = account.sent if up else account.received
        self.pipe: tuple[int, int] | None = None
        self.held = 0
        self.short = False  # the last read gave less than was asked for
        self.ended = False

    def run(self) -> None:
        if self.ended or self.relay.closed:
            return
        try:
            again = self._move()
        except OSError as error:
            self.relay.close((error.strerror or "error").lower(), reset=True)
            return
        if again and not self.relay.closed:
            self.relay.loop.soon(self.run)

    def _move(self) -> bool:
        """True when the turn is used up while there may be more."""
        left = TURN
        drained = self.relay.loop.drained
        self.short = False
        while left > 0:
            moved = self._splice() if self.bulk or self.held else self._small()
            if not moved or (drained and self.short):
                return False
            left -= moved
        return True

    def _small(self) -> int:
        """Bytes moved by recv and send; 0 when one of them has to wait, or at the end."""
        if self.kept:
            return self._send(memoryview(self.kept))
        allowed = self.allowance(SMALL)
        if not allowed:
            self.relay.close("quota", reset=True)
            return 0
        try:
            got = self.source.recv_into(_buffer, allowed)
        except BlockingIOError:
            return 0
        if not got:
            self._end()
            return 0
        self.relay.used = self.relay.loop.now
        self.count(got)
        self.short = got < allowed
        self.bulk = got == SMALL
        return self._send(_buffer[:got])

    def _send(self, data: memoryview) -> int:
        try:
            sent = self.target.send(data)
        except BlockingIOError:
            sent = 0
        self.kept = bytes(data[sent:])
        return sent if not self.kept else 0

    def _splice(self) -> int:
        if self.kept:
            return self._send(memoryview(self.kept))
        if not self.held and not self._fill():
            return 0
        return self._drain()

    def _fill(self) -> bool:
        allowed = self.allowance(PIPE_SIZE)
        if not allowed:
            self.relay.close("quota", reset=True)
            return False
        if self.pipe is None:
            self.pipe = _lease()
        try:
            self.held = os.splice(self.source.fileno(), self.pipe[1], allowed, flags=_FLAGS)
        except BlockingIOError:
            self.unlease()
            return False
        if not self.held:
            self._end()
            return False
        self.relay.used = self.relay.loop.now
        self.count(self.held)
        self.bulk = self.held >= AGAIN_SMALL
        return True

    def _drain(self) -> int:
        if self.pipe is None:
            return 0
        try:
            moved = os.splice(self.pipe[0], self.target.fileno(), self.held, flags=_FLAGS)
        except BlockingIOError:
            return 0
        self.held -= moved
        if not self.held and not self.bulk:
            self.unlease()
        return moved

    def _end(self) -> None:
        """End of file: pass the FIN on and keep the other direction open."""
        self.ended = True
        self.unlease()
        if self.relay.up.ended and self.relay.down.ended:
            self.relay.close("")
        else:
            self.target.shutdown(socket.SHUT_WR)

    def unlease(self) -> None:
        if self.pipe is not None:
            _release(self.pipe, empty=not self.held)
            self.pipe = None


class Relay:
    """A tunnel. It owns both sockets; `finished(reason)` is called once, after they are closed.

    `used` is the loop's time of the last byte, for the idle limit, `started` for the total one.
    """

    __slots__ = ("account", "client", "closed", "down", "finished", "loop", "started", "up", "upstream", "used")

    def __init__(
        self,
        loop: Loop,
        client: Socket,
        upstream: Socket,
        account: Account,
        finished: Callable[[str], None],
    ) -> None:
        self.loop = loop
        self.client = client
        self.upstream = upstream
        self.account = account
        self.finished = finished
        self.closed = False
        self.started = self.used = loop.now
        self.up = _Direction(self, client, upstream, up=True)
        self.down = _Direction(self, upstream, client, up=False)

    def start(self) -> None:
        """Take over both descriptors, which the loop watches already."""
        client, upstream = self.client.fileno(), self.upstream.fileno()
        self.loop.readers[client] = self.loop.writers[upstream] = self.up.run
        self.loop.readers[upstream] = self.loop.writers[client] = self.down.run
        self.loop.drained = False  # what was said of the edge that brought us here is not about these two
        self.up.run()
        self.down.run()

    def close(self, reason: str, *, reset: bool = False) -> None:
        """Close both sockets; with `reset` so that neither end takes what it got for the whole."""
        if self.closed:
            return
        self.closed = True
        for way in (self.up, self.down):
            way.unlease()
        for end in (self.client, self.upstream):
            self.loop.forget(end.fileno())
            if reset:
                reset_on_close(end)
            end.close()
        self.finished(reason)
