"""From a listening socket in the job's namespace to a judged connection."""

from __future__ import annotations

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
from launcher.egress.server.streams import Stream

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from launcher.egress.server.job import Job

    Handler = Callable[[Job, Stream], Awaitable[bool]]

SO_ORIGINAL_DST = 80  # linux/netfilter_ipv4.h; the same number for IPv6 (linux/netfilter_ipv6/ip6_tables.h)
TURN = 64  # connections taken in one turn of the loop
UNKNOWN_ADDRESS = "unknown synthetic address"
LOCALHOST = Host("localhost")


def original_destination(sock: socket.socket) -> tuple[bytes, int]:
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
    """Takes connections from one listener and starts a task for each."""

    __slots__ = ("_handler", "_job", "_sock")

    def __init__(self, job: Job, sock: socket.socket, kind: str) -> None:
        self._job = job
        self._sock = sock
        self._handler = HANDLERS[kind]

    def run(self) -> None:
        for _ in range(TURN):
            try:
                client, _ = self._sock.accept()
            except BlockingIOError:
                return
            except OSError:
                break  # the client has gone again, or descriptors are short: look again in the next turn
            self._admit(client)
        self._job.loop.soon(self.run)

    def _admit(self, client: socket.socket) -> None:
        job = self._job
        client.setblocking(False)
        stream = Stream(job.loop, client)
        if job.accepted >= job.options.limits.connections:
            _too_many(job, stream, explicit_proxy=self._handler is explicit.serve)
            return
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
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
