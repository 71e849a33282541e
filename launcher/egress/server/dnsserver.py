"""DNS for the job: granted names have a synthetic address, everything else does not exist. Nothing is asked outside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher.egress.protocol import dns
from launcher.egress.protocol.authority import NAME, Host, parse_host
from launcher.egress.protocol.malformed import Malformed
from launcher.egress.server.names import reverse_name

if TYPE_CHECKING:
    import socket

    from launcher.egress.server.job import Job
    from launcher.egress.server.streams import Stream

BLOCKED = "egress denied by sandbox policy"
TURN = 64  # datagrams answered in one turn of the loop
STREAM_TIME = 4.0  # seconds for one query over TCP
_LOOPBACK = {dns.TYPE_A: bytes((127, 0, 0, 1)), dns.TYPE_AAAA: bytes(15) + b"\1"}


def answer(job: Job, packet: bytes) -> bytes | None:
    """The reply to one message, None where none is due."""
    try:
        query = dns.parse_query(packet)
    except dns.BadQuery as bad:
        job.trail.name(bad.query.name if bad.query else "", bad.reason)
        return dns.respond(bad.query, bad.rcode) if bad.query else None
    return None if query is None else _judge(job, query)


def _judge(job: Job, query: dns.Query) -> bytes:
    if query.name == "localhost" or query.name.endswith(".localhost"):
        # RFC 6761 section 6.3: answered here, never asked elsewhere.
        data = _LOOPBACK.get(query.kind)
        return dns.respond(query, dns.NOERROR, (dns.record(query.kind, data),) if data else ())
    if query.name.endswith(".arpa"):
        return _reverse(job, query)
    host = _host(query.name)
    if host is None or not job.rules.resolves(host):
        return _refuse(job, query, "not in allowlist")
    refusal = job.name_refusal(host)
    if refusal:
        return _refuse(job, query, refusal)
    address = job.names.known(host.text)
    # AAAA and every other type: the name exists and has no such record (NODATA). NXDOMAIN for AAAA would make glibc
    # give up on the A record; HTTPS records would hand out ECH keys.
    return dns.respond(query, dns.NOERROR, (dns.record(dns.TYPE_A, address),) if query.kind == dns.TYPE_A else ())


def _refuse(job: Job, query: dns.Query, reason: str) -> bytes:
    job.trail.name(query.name, reason)
    return dns.respond(query, dns.NXDOMAIN, blocked=f"{BLOCKED}: {reason}")


def _reverse(job: Job, query: dns.Query) -> bytes:
    packed = reverse_name(query.name)
    name = job.names.name(packed) if packed else ""
    if not name:
        return dns.respond(query, dns.NXDOMAIN)
    found = (dns.record(dns.TYPE_PTR, dns.encode_name(name)),) if query.kind == dns.TYPE_PTR else ()
    return dns.respond(query, dns.NOERROR, found)


def _host(name: str) -> Host | None:
    try:
        host = parse_host(name.encode("ascii"))
    except Malformed:
        return None
    return host if host.kind == NAME else None


class Datagrams:
    """The UDP socket. Queries above the rate are dropped, as a busy server would."""

    __slots__ = ("_job", "_sock")

    def __init__(self, job: Job, sock: socket.socket) -> None:
        self._job = job
        self._sock = sock

    def run(self) -> None:
        for _ in range(TURN):
            try:
                packet, peer = self._sock.recvfrom(4096)
            except BlockingIOError:
                return
            except OSError:
                continue  # an ICMP error of an earlier answer
            if self._job.queries.take(self._job.loop.now):
                self._reply(packet, peer)
        self._job.loop.soon(self.run)

    def _reply(self, packet: bytes, peer: tuple[str, int]) -> None:
        reply = answer(self._job, packet)
        if reply is None:
            return
        try:
            self._sock.sendto(reply, peer)
        except OSError:
            return  # the client has gone


async def stream(job: Job, client: Stream) -> None:
    """DNS over TCP: queries until the client closes, sends a length that no query has, or is too slow."""
    reader = dns.StreamReader()
    while data := await client.recv(job.loop.now + STREAM_TIME):
        try:
            messages = reader.feed(data)
        except dns.BadQuery:
            return
        for message in messages:
            if not job.queries.take(job.loop.now):
                return
            reply = answer(job, message)
            if reply is not None:
                await client.send(dns.framed(reply), job.loop.now + STREAM_TIME)
