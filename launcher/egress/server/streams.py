"""Bytes from and to one peer, plain or through TLS, for the phases that are parsed rather than relayed."""

from __future__ import annotations

import errno
import socket
import ssl
from typing import TYPE_CHECKING

from launcher.egress.server.relay import reset_on_close

if TYPE_CHECKING:
    from _socket import socket as Socket  # noqa: N812  a class
    from collections.abc import Callable

    from launcher.egress.server.account import Account
    from launcher.egress.server.loop import Loop

CHUNK = 65536  # bytes a read
LINGER = 1.0  # seconds that a refused client has to read the refusal
LINGER_BYTES = 1 << 20  # read and dropped meanwhile: closing with unread bytes would reset the refusal away


class QuotaError(OSError):
    """A byte budget is used up."""

    def __init__(self) -> None:
        super().__init__(errno.EDQUOT, "quota")


class Stream:
    """A non-blocking socket. With an account, every byte sent counts as up and every byte received as down."""

    __slots__ = ("account", "loop", "pending", "sock")

    def __init__(self, loop: Loop, sock: Socket, account: Account | None = None) -> None:
        self.loop = loop
        self.sock = sock
        self.account = account
        self.pending = b""

    async def recv(self, deadline: float) -> bytes:
        """Some bytes, empty at the end. Raises TimeoutError, QuotaError, OSError."""
        if self.pending:
            data, self.pending = self.pending, b""
            return data
        while True:
            try:
                data = self.sock.recv(CHUNK if self.account is None else _allowed(self.account.may_receive, CHUNK))
            except BlockingIOError:
                await self.loop.readable(self.sock.fileno(), deadline)
                continue
            if self.account is not None:
                self.account.received(len(data))
            return data

    async def send(self, data: bytes, deadline: float) -> None:
        """All of `data`. Raises TimeoutError, QuotaError, OSError."""
        view = memoryview(data)
        while view:
            try:
                whole = len(view)
                allowed = whole if self.account is None else _allowed(self.account.may_send, whole)
                sent = self.sock.send(view[:allowed])
            except BlockingIOError:
                await self.loop.writable(self.sock.fileno(), deadline)
                continue
            if self.account is not None:
                self.account.sent(sent)
            view = view[sent:]

    def push_back(self, data: bytes) -> None:
        """Give bytes back that belong to what comes next."""
        self.pending = data + self.pending

    @property
    def fresh(self) -> bool:
        """Nothing has arrived that was not asked for: the peer has neither closed nor spoken out of turn."""
        if self.pending:
            return False
        try:
            self.sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    async def end(self) -> None:
        """No more from us (the half-close of a copied direction)."""
        self.sock.shutdown(socket.SHUT_WR)

    async def farewell(self, data: bytes) -> None:
        """Send a last message so that it arrives, then close."""
        deadline = self.loop.now + LINGER
        try:
            await self.send(data, deadline)
            self.sock.shutdown(socket.SHUT_WR)
            left = LINGER_BYTES
            while left > 0 and (got := await self.recv(deadline)):
                left -= len(got)
        except OSError:
            pass
        self.close()

    def reset(self) -> None:
        """Close with RST: the client sees a refusal and not an empty answer."""
        reset_on_close(self.sock)
        self.close()

    def close(self) -> None:
        fd = self.sock.fileno()
        if fd >= 0:
            self.loop.forget(fd)
            self.sock.close()


def _allowed(ask: Callable[[int], int], wanted: int) -> int:
    allowed = ask(wanted)
    if not allowed:
        raise QuotaError
    return allowed


class TlsStream:
    """TLS over a Stream, either side. Raises ssl.SSLError (an OSError) for a failed handshake."""

    __slots__ = ("_incoming", "_object", "_outgoing", "below", "pending")

    def __init__(self, below: Stream, context: ssl.SSLContext, *, server: bool, name: str = "") -> None:
        self.below = below
        self.pending = b""
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server, None if server else name)

    @property
    def loop(self) -> Loop:
        return self.below.loop

    @property
    def sock(self) -> Socket:
        return self.below.sock

    @property
    def fresh(self) -> bool:
        return not self.pending and not self._object.pending() and self.below.fresh

    def push_back(self, data: bytes) -> None:
        self.pending = data + self.pending

    async def handshake(self, deadline: float) -> None:
        while True:
            try:
                self._object.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush(deadline)
                await self._more(deadline)
            except ssl.SSLError:
                await self._flush(deadline)  # the alert that tells the peer why
                raise
            else:
                await self._flush(deadline)
                return

    async def recv(self, deadline: float) -> bytes:
        if self.pending:
            data, self.pending = self.pending, b""
            return data
        while True:
            try:
                return self._object.read(CHUNK)
            except ssl.SSLWantReadError:
                await self._flush(deadline)
                await self._more(deadline)
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b""

    async def send(self, data: bytes, deadline: float) -> None:
        view = memoryview(data)
        while view:
            sent = self._object.write(view[:CHUNK])
            view = view[sent:]
            await self._flush(deadline)

    async def _flush(self, deadline: float) -> None:
        if self._outgoing.pending:
            await self.below.send(self._outgoing.read(), deadline)

    async def _more(self, deadline: float) -> None:
        data = await self.below.recv(deadline)
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    async def end(self) -> None:
        try:
            self._object.unwrap()
        except (ssl.SSLError, ValueError):
            pass
        await self._flush(self.loop.now + LINGER)

    async def farewell(self, data: bytes) -> None:
        try:
            await self.send(data, self.loop.now + LINGER)
            self._object.unwrap()
        except OSError:
            pass
        await self.below.farewell(self._outgoing.read())

    def reset(self) -> None:
        self.below.reset()

    def close(self) -> None:
        self.below.close()


AnyStream = Stream | TlsStream


async def copy(source: AnyStream, target: AnyStream, idle: float) -> None:
    """One direction until its end, which is passed on. For tunnels that splice cannot carry (TLS on one side)."""
    while data := await source.recv(source.loop.now + idle):
        await target.send(data, source.loop.now + idle)
    await target.end()
