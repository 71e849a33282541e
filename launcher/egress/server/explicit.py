"""The proxies that a client asks for by name: HTTP (absolute-form and CONNECT) and SOCKS5, on one port."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from launcher.egress.policy import HTTP
from launcher.egress.protocol import socks5
from launcher.egress.protocol.authority import Authority
from launcher.egress.protocol.malformed import Malformed
from launcher.egress.server import refuse
from launcher.egress.server.audit import Connection
from launcher.egress.server.carry import Carriage, carriage, carry
from launcher.egress.server.dial import DialError
from launcher.egress.server.http import Session, read_request
from launcher.egress.server.target import absolute_target, connect_target, host_agrees

if TYPE_CHECKING:
    from launcher.egress.policy import Verdict
    from launcher.egress.protocol.http1 import Request
    from launcher.egress.server.job import Job
    from launcher.egress.server.streams import Stream

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
_SOCKS_CODES = {errno.ECONNREFUSED: socks5.REFUSED, errno.EHOSTUNREACH: socks5.HOST_UNREACHABLE}


async def serve(job: Job, client: Stream) -> bool:
    """True when a relay took the socket over."""
    first = await client.recv(job.loop.now + job.options.limits.keep_alive)
    client.push_back(first)
    if first[:1] in (b"\x05", b"\x04"):
        return await _socks(job, client)
    return await _http(job, client) if first else False


# ---- HTTP


async def _http(job: Job, client: Stream) -> bool:
    session: Session | None = None
    limits = job.options.limits
    try:
        while True:
            try:
                request = await read_request(client, (limits.keep_alive, limits.head_time))
                if request is None:
                    return False
                if request.method == b"CONNECT":
                    return await _connect(job, client, request)
                session = await _next(job, client, request, session)
            except Malformed as error:
                await _refuse(job, client, None, error.status, error.reason)
                return False
            if session is None:
                return False
    finally:
        if session is not None:
            _finish(session)


async def _next(job: Job, client: Stream, request: Request, session: Session | None) -> Session | None:
    """Serve one absolute-form request; the session for the next one, None when the connection is over."""
    name, target = absolute_target(request)
    if session is None or session.trip.to != name:
        if session is not None:
            _finish(session)
        verdict = job.rules.request(HTTP, name.host, name.port, target.method, target.path)
        if not verdict.allowed:
            await _refuse(job, client, name, verdict.status, verdict.reason, verdict.missing)
            return None
        session = _session(job, client, name)
    if not host_agrees(request, name):
        raise Malformed("Host does not match target")
    if await session.judged(request, target):
        return session
    _finish(session)
    return None


def _session(job: Job, client: Stream, name: Authority) -> Session:
    trip = carriage(job, client, name, job.rules.opening(name.host, name.port), "proxy")
    trip.speaks(HTTP)
    return Session(trip, client, HTTP)


def _finish(session: Session) -> None:
    session.close()
    session.job.ended(session.trip.conn)


async def _connect(job: Job, client: Stream, request: Request) -> bool:
    name = connect_target(request)
    opening = job.rules.opening(name.host, name.port)
    if not opening.verdict.allowed:
        verdict = opening.verdict
        await _refuse(job, client, name, verdict.status, verdict.reason, verdict.missing)
        return False
    if not host_agrees(request, name):
        raise Malformed("Host does not match target")
    trip = carriage(job, client, name, opening, "connect")
    try:
        await trip.dial()
    except DialError as error:
        await refuse.with_status(job, client, trip.conn, error.status, error.reason)
        job.ended(trip.conn)  # where that was no denial
        return False
    return await _carry(trip, ESTABLISHED)


async def _carry(trip: Carriage, answer: bytes) -> bool:
    try:
        await trip.client.send(answer, trip.job.loop.now + trip.job.options.limits.hello_time)
    except OSError:
        if trip.upstream is not None:
            trip.upstream.close()
        raise
    return await carry(trip)


async def _refuse(
    job: Job, client: Stream, name: Authority | None, status: int, reason: str, missing: str = ""
) -> None:
    host, port = (name.host.text, name.port) if name else ("", 0)
    conn = Connection("proxy", host, port, job.account(()), job.loop.now)
    await refuse.with_status(job, client, conn, status, reason, missing)


# ---- SOCKS5


async def _socks(job: Job, client: Stream) -> bool:
    try:
        name = await _negotiate(job, client)
    except socks5.Refused as error:
        await _socks_refuse(job, client, None, error.reason, error.answer)
        return False
    if name is None:
        return False
    opening = job.rules.opening(name.host, name.port)
    if not opening.verdict.allowed:
        await _socks_denied(job, client, name, opening.verdict)
        return False
    trip = carriage(job, client, name, opening, "socks5")
    try:
        await trip.dial()
    except DialError as error:
        code = socks5.NOT_ALLOWED if error.status == 403 else _SOCKS_CODES.get(error.errno, socks5.HOST_UNREACHABLE)
        if error.status == 403:
            job.trail.denial(trip.conn, error.reason)
        job.ended(trip.conn)
        await client.farewell(socks5.reply(code))
        return False
    return await _carry(trip, socks5.reply(socks5.SUCCEEDED))


async def _negotiate(job: Job, client: Stream) -> Authority | None:
    """The address asked for, None where the client leaves. Raises socks5.Refused."""
    reader, deadline = socks5.SocksReader(), job.loop.now + job.options.limits.hello_time
    data = await client.recv(deadline)
    while data:
        event = reader.feed(data)
        if isinstance(event, socks5.Greeting):
            await client.send(socks5.METHOD_ACCEPTED, deadline)
            event = reader.feed(b"")
        if isinstance(event, Authority):
            client.push_back(reader.rest)
            return event
        data = await client.recv(deadline)
    return None


async def _socks_denied(job: Job, client: Stream, name: Authority, verdict: Verdict) -> None:
    await _socks_refuse(job, client, name, verdict.reason, socks5.reply(socks5.NOT_ALLOWED), verdict.missing)


async def _socks_refuse(
    job: Job, client: Stream, name: Authority | None, reason: str, answer: bytes, missing: str = ""
) -> None:
    host, port = (name.host.text, name.port) if name else ("", 0)
    job.trail.denial(Connection("socks5", host, port, job.account(()), job.loop.now), reason, missing)
    await client.farewell(answer)
