"""From a listening socket in the job's namespace to a judged connection."""

from __future__ import annotations

import errno
import select
import socket
import struct
from typing import TYPE_CHECKING

from launcher.egress.policy import Opening, Verdict
from launcher.egress.protocol import addresses, denial
from launcher.egress.protocol.authority import LITERAL, Authority, Host
from launcher.egress.server import dnsserver, explicit, refuse
from launcher.egress.server.audit import Connection
from launcher.egress.server.carry import carriage, carry
from launcher.egress.server.names import is_synthetic
from launcher.egress.server.relay import unpaced
from launcher.egress.server.streams import Stream

if TYPE_CHECKING:
    from _socket import socket as Socket  # noqa: N812  a class
    from collections.abc import Awaitable, Callable

    from launcher.egress.server.job import Job

    Handler = Callable[[Job, Stream], Awaitable[bool]]

SO_ORIGINAL_DST = 80  # linux/netfilter_ipv4.h; the same number for IPv6 (linux/netfilter_ipv6/ip6_tables.h)
RETRY = 0.1  # seconds
_SHORT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
TURN = 64  # connections taken in one turn of the loop
UNKNOWN_ADDRESS = "unknown synthetic address"
LOCALHOST = Host("localhost")


def original_destination(sock: Socket) -> tuple[bytes, int]:
    """Address and port that the client asked for: what nft rewrote, else where the socket was reached (AnyIP).

    Works from outside the namespace and without privileges. Raises OSError.
    """
    v6 = sock.family == socket.AF_INET6
    try:
        if v6:
            raw = sock.getsockopt(socket.IPPROTO_IPV6, SO_ORIGINAL_DST, 28)
            return raw[8:24], struct.unpack_from("!H", raw, 2)[0]
        raw = sock.getsockopt(socket.SOL_IP, SO_ORIGINAL_DST, 16)
        return raw[4:8], struct.unpack_from("!H", raw, 2)[0]
    except OSError:
        name = sock.getsockname()
        return socket.inet_pton(sock.family, name[0]), name[1]


class Acceptor:
    """Takes connections from one listener and starts a task for each. One at a time, more when they come in bursts."""

    __slots__ = ("_burst", "_handler", "_job", "_sock")

    def __init__(self, job: Job, sock: Socket, kind: str) -> None:
        self._job = job
        self._sock = sock
        self._handler = HANDLERS[kind]
        self._burst = 1
        # Accepted sockets inherit these (net/ipv4/tcp_minisocks.c, tcp_cong.c), which saves the calls for each.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        unpaced(sock)  # the job's end is the loopback of its namespace

    def run(self) -> None:
        for _ in range(self._burst):
            try:
                # accept() would wrap it in a class of Python's, which costs as much as the call.
                fd, _ = self._sock._accept()  # type: ignore[attr-defined]  # noqa: SLF001  typeshed leaves it out
            except BlockingIOError:
                self._burst = 1
                return
            except OSError as error:
                if error.errno in _SHORT:
                    self._job.loop.spawn(self._rest())
                return
            self._admit(socket.SocketType(self._sock.family, socket.SOCK_STREAM, 0, fd))
        self._burst = min(TURN, self._burst * 2)

    async def _rest(self) -> None:
        """Descriptors or memory are short: look again in a while instead of spinning."""
        loop, fd = self._job.loop, self._sock.fileno()
        del loop.readers[fd]
        loop.epoll.modify(fd, 0)
        await loop.sleep_until(loop.now + RETRY)
        loop.epoll.modify(fd, select.EPOLLIN)
        loop.readers[fd] = self.run

    def _admit(self, client: Socket) -> None:
        job = self._job
        client.setblocking(False)
        stream = Stream(job.loop, client)
        if job.accepted >= job.options.limits.connections:
            _too_many(job, stream, explicit_proxy=self._handler is explicit.serve)
            return
        job.loop.watch(client.fileno())
        job.loop.spawn(_run(job, stream, self._handler))


async def _run(job: Job, stream: Stream, handler: Handler) -> None:
    job.accepted += 1
    taken = False
    try:
        taken = await handler(job, stream)
    finally:
        job.accepted -= 1
        if not taken:
            stream.close()


def _too_many(job: Job, stream: Stream, *, explicit_proxy: bool) -> None:
    conn = Connection("limit", "", 0, job.account(()), job.loop.now)
    job.trail.denial(conn, "too many connections")
    if explicit_proxy:
        try:
            stream.sock.send(denial.http(429, "too many connections"))
        except OSError:
            pass
        stream.close()
    else:
        stream.reset()


async def transparent(job: Job, client: Stream) -> bool:
    """A connection to an address: synthetic ones stand for their name, the job's loopback for the host's."""
    packed, port = original_destination(client.sock)
    packed = addresses.unmapped(packed)
    name = job.names.name(packed)
    if name:
        to = Authority(Host(name), port)
    elif addresses.classify(packed) == addresses.LOOPBACK:
        to = Authority(LOCALHOST, port)
    else:
        to = Authority(Host(addresses.text(packed), LITERAL), port)
    opening = job.rules.opening(to.host, port)
    if is_synthetic(packed) and not name:
        opening = Opening(Verdict(False, UNKNOWN_ADDRESS))
    if opening.verdict.allowed:
        return await carry(carriage(job, client, to, opening, "tcp"))
    conn = Connection("tcp", to.host.text, port, job.account(()), job.loop.now)
    await refuse.connection(job, client, conn, opening.verdict)
    return False


async def _dns(job: Job, client: Stream) -> bool:
    await dnsserver.stream(job, client)
    return False


HANDLERS: dict[str, Handler] = {"tcp": transparent, "proxy": explicit.serve, "dns-tcp": _dns}
