"""A connection whose name and port are allowed: find out what is spoken on it, judge that, and let it through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from launcher.egress.policy import DATABASE, HTTP, HTTPS, POSTGRESQL, TCP, Opening
from launcher.egress.protocol import tls
from launcher.egress.protocol.authority import LITERAL, Authority
from launcher.egress.protocol.malformed import Malformed
from launcher.egress.server import database, http, intercept, refuse
from launcher.egress.server.audit import Connection
from launcher.egress.server.dial import DialError, dial

if TYPE_CHECKING:
    from launcher.egress.rule import Rule
    from launcher.egress.server.job import Job
    from launcher.egress.server.streams import Stream

OPAQUE = frozenset({TCP, DATABASE})


@dataclass(slots=True)
class Carriage:
    """A client connection to `to`, opened by `opening`; `upstream` is there once it is dialled."""

    job: Job
    client: Stream
    to: Authority
    opening: Opening
    conn: Connection
    upstream: Stream | None = None

    @property
    def rules(self) -> tuple[Rule, ...]:
        return self.opening.rules

    async def dial(self) -> Stream:
        """The upstream connection, made now if need be. Raises DialError."""
        if self.upstream is None:
            try:
                self.upstream, self.conn.address = await dial(self.job, self.to, self.rules, self.conn.account)
            except DialError as error:
                self.conn.address, self.conn.failure = error.address, error.reason
                raise
        return self.upstream

    def speaks(self, scheme: str) -> None:
        """The scheme is known: only its rules count from here on."""
        rules = self.opening.of(scheme) or self.opening.rules
        if rules != self.opening.rules:
            self.opening = Opening(self.opening.verdict, rules)
            self.conn.account.budgets = self.job.account(rules).budgets
        self.conn.scheme = rules[0].scheme
        self.conn.rule = rules[0]
        host, port = self.to.host, self.to.port
        self.conn.allowed = lambda new: bool(new.opening(host, port).of(scheme))


def carriage(job: Job, client: Stream, to: Authority, opening: Opening, kind: str) -> Carriage:
    """A new one, with its account."""
    conn = Connection(kind, to.host.text, to.port, job.account(opening.rules), job.loop.now)
    conn.rule = opening.verdict.rule
    return Carriage(job, client, to, opening, conn)


async def carry(trip: Carriage) -> bool:
    """Let a connection through as far as it may go; True when a relay took both sockets over."""
    taken = False
    try:
        taken = await _dispatch(trip)
    except DialError as error:
        await _dial_failed(trip, error)
    finally:
        if not taken:
            if trip.upstream is not None:
                trip.upstream.close()
            trip.job.ended(trip.conn)
    return taken


async def _dial_failed(trip: Carriage, error: DialError) -> None:
    """accept() came before the verdict, so a failed connect can only be shown as a reset; policy's is a denial."""
    if error.status == 403:
        trip.job.trail.denial(trip.conn, error.reason)
    trip.client.reset()


async def _dispatch(trip: Carriage) -> bool:
    schemes = trip.opening.schemes
    if POSTGRESQL in schemes:
        trip.speaks(POSTGRESQL)
        return await database.serve(trip)
    if schemes & OPAQUE:
        trip.speaks(TCP if TCP in schemes else DATABASE)
        return await _opaque(trip)
    return await _web(trip)


# ---- http and https


async def _web(trip: Carriage) -> bool:
    """Clients of both speak first. What comes decides the scheme, which must be granted."""
    job, client = trip.job, trip.client
    try:
        first = await client.recv(job.loop.now + job.options.limits.hello_time)
    except TimeoutError:
        expected = "ClientHello" if HTTPS in trip.opening.schemes else "request"
        job.trail.denial(trip.conn, f"no {expected} within {job.options.limits.hello_time:.0f} s")
        client.reset()
        return False
    if not first:
        trip.conn.failure = "nothing was sent"  # a client that only looked whether the port is open
        return False
    client.push_back(first)
    scheme = HTTPS if first[:1] == b"\x16" else HTTP
    if scheme not in trip.opening.schemes:
        await _mismatch(trip, scheme, first)
        return False
    trip.speaks(scheme)
    if scheme == HTTP:
        await http.serve(trip, client, HTTP)
        return False
    return await _https(trip)


async def _mismatch(trip: Carriage, scheme: str, first: bytes) -> None:
    expected = "TLS" if scheme == HTTP else "cleartext HTTP"
    if scheme == HTTPS:
        await refuse.with_alert(trip.job, trip.client, trip.conn, f"scheme mismatch: expected {expected}")
    elif first[:1].isupper():
        await refuse.with_status(trip.job, trip.client, trip.conn, 403, f"scheme mismatch: expected {expected}")
    else:
        await refuse.with_alert(trip.job, trip.client, trip.conn, tls.NOT_TLS, tls.DECODE_ERROR)


async def _https(trip: Carriage) -> bool:
    hello = await _hello(trip)
    if hello is None:
        return False
    seen, raw = hello
    opened = trip.job.rules.intercepted(trip.opening, trip.to.host, trip.to.port)
    reason = _sni_refusal(trip, seen, opened=opened)
    if reason:
        await refuse.with_alert(trip.job, trip.client, trip.conn, reason)
        return False
    if opened:
        trip.client.push_back(raw)
        await intercept.serve(trip, seen)
        return False
    refusal = _admit(trip)
    if refusal:
        await refuse.with_alert(trip.job, trip.client, trip.conn, refusal)
        return False
    upstream = await trip.dial()
    await upstream.send(raw, trip.job.loop.now + trip.job.options.limits.hello_time)
    return _splice(trip, upstream)


async def _hello(trip: Carriage) -> tuple[tls.ClientHello, bytes] | None:
    """The ClientHello and all bytes so far; None when it was refused."""
    reader, seen = tls.HelloReader(), None
    deadline = trip.job.loop.now + trip.job.options.limits.hello_time
    reason, code = "no ClientHello within 5 s", tls.DECODE_ERROR
    try:
        while seen is None:
            data = await trip.client.recv(deadline)
            if not data:
                reason = "ClientHello cut off"
                break
            seen = reader.feed(data)
    except TimeoutError:
        pass
    except Malformed as error:
        reason = error.reason
        code = tls.ACCESS_DENIED if reason == tls.SNI_INVALID else tls.DECODE_ERROR
    if seen is None:
        await refuse.with_alert(trip.job, trip.client, trip.conn, reason, code)
        return None
    return seen, bytes(reader.buffer)


def _sni_refusal(trip: Carriage, hello: tls.ClientHello, *, opened: bool) -> str:
    if hello.sni is None and trip.to.host.kind != LITERAL:
        return "no SNI"
    if hello.sni is not None and hello.sni != trip.to.host.text:
        return "SNI does not match connection name"
    if hello.ech and not opened:
        # The inner name is what the server serves. Intercepted, the extension ends here and a grease one is harmless.
        return "ECH not allowed"
    return ""


# ---- anything else


async def _opaque(trip: Carriage) -> bool:
    """Servers may speak first, so dial without waiting. If the client's first bytes are TLS, its SNI still counts."""
    refusal = _admit(trip)
    if refusal:
        trip.job.trail.denial(trip.conn, refusal)
        trip.client.reset()
        return False
    upstream = await trip.dial()
    first = await _first(trip)
    if first is None and upstream.fresh:
        deadline = trip.job.loop.now + trip.job.options.limits.idle_time
        await trip.job.loop.readable_any((trip.client.sock.fileno(), upstream.sock.fileno()), deadline)
        first = await _first(trip)
    first = first or b""
    if first[:1] == b"\x16" and TCP in trip.opening.schemes:
        trip.client.push_back(first)
        hello = await _hello(trip)
        if hello is None:
            return False
        seen, first = hello
        if seen.sni is not None and _sni_refusal(trip, seen, opened=True):
            await refuse.with_alert(trip.job, trip.client, trip.conn, "SNI does not match connection name")
            return False
    if first:
        await upstream.send(first, trip.job.loop.now + trip.job.options.limits.hello_time)
    return _splice(trip, upstream)


async def _first(trip: Carriage) -> bytes | None:
    """The client's bytes that are there already, empty at its end, None where it has not spoken yet."""
    if trip.client.pending:
        return await trip.client.recv(0)
    try:
        return trip.client.sock.recv(65536)
    except BlockingIOError:
        return None


def _admit(trip: Carriage) -> str:
    return trip.job.admit(trip.opening.rules[0])


def _splice(trip: Carriage, upstream: Stream) -> bool:
    trip.job.tunnel(trip.conn, trip.client, upstream)
    return True
