"""PostgreSQL: the start-up packet names database and user, and is judged before it is passed on.

Where a grant names a database, the job's side stays unencrypted (SSLRequest is answered `N`; it never leaves the host)
and the proxy asks the server for TLS itself: otherwise the packet could not be read. A client that insists
(`sslmode=require`) fails. Grants of a whole server pass encryption through.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from launcher.egress.protocol import postgres
from launcher.egress.protocol.malformed import Malformed
from launcher.egress.server import refuse
from launcher.egress.server.streams import TlsStream, copy

if TYPE_CHECKING:
    from launcher.egress.policy import Rules, Verdict
    from launcher.egress.server.carry import Carriage
    from launcher.egress.server.streams import AnyStream

SSL_REQUEST = (8).to_bytes(4, "big") + (80877103).to_bytes(4, "big")


async def serve(trip: Carriage) -> bool:
    """True when a relay took the sockets over."""
    refusal = trip.job.admit(trip.rules[0])
    if refusal:
        await refuse.with_fatal(trip.job, trip.client, trip.conn, refusal)
        return False
    await trip.dial()
    whole = any(rule.url is not None and rule.url.any_below and not rule.url.user for rule in trip.rules)
    try:
        packet = await (_any_session(trip) if whole else _named_session(trip))
    except Malformed as error:
        await refuse.with_fatal(trip.job, trip.client, trip.conn, error.reason)
        return False
    if packet is None:
        return False
    return await (_pass(trip, packet) if whole else _start(trip, packet))


async def _packet(trip: Carriage, reader: postgres.StartupReader) -> postgres.Event | None:
    """The next packet, None where the client leaves."""
    deadline = trip.job.loop.now + trip.job.options.limits.idle_time
    event, data = None, reader.take()
    while event is None:
        if not data:
            data = await trip.client.recv(deadline)
            if not data:
                return None
            # The first byte has no limit (a pool may connect early), the rest of a packet has.
            deadline = min(deadline, trip.job.loop.now + trip.job.options.limits.hello_time)
        event, data = reader.feed(data), b""
    return event


async def _any_session(trip: Carriage) -> bytes | None:
    """Any database of the server: only that it is PostgreSQL is checked."""
    reader = postgres.StartupReader()
    if await _packet(trip, reader) is None:
        return None
    return reader.packet + reader.rest


async def _named_session(trip: Carriage) -> bytes | None:
    """The start-up packet of a session that is granted, with what follows; None when refused or gone."""
    reader = postgres.StartupReader()
    while True:
        event = await _packet(trip, reader)
        if event is None:
            return None
        if isinstance(event, postgres.Cancel):
            return reader.packet
        if isinstance(event, postgres.Startup):
            return await _judge(trip, reader, event)
        if reader.rest:
            # Bytes behind an SSLRequest would be read as if they had come encrypted (CVE-2021-23214).
            raise Malformed("protocol mismatch")
        await trip.client.send(postgres.NO_ENCRYPTION, trip.job.loop.now + trip.job.options.limits.hello_time)


async def _judge(trip: Carriage, reader: postgres.StartupReader, event: postgres.Startup) -> bytes | None:
    def verdict(rules: Rules) -> Verdict:
        return rules.session(rules.opening(trip.to.host, trip.to.port).of("postgresql"), event.user, event.database)

    found = verdict(trip.job.rules)
    if not found.allowed or event.replication:
        reason = "replication not allowed" if found.allowed else found.reason
        missing = f"database:postgresql://{event.user}@{trip.to}/{event.database}"
        await refuse.with_fatal(trip.job, trip.client, trip.conn, reason, missing)
        return None
    trip.conn.rule = found.rule
    trip.conn.allowed = lambda new: verdict(new).allowed
    return reader.packet + reader.rest


async def _pass(trip: Carriage, packet: bytes) -> bool:
    upstream = await trip.dial()
    await upstream.send(packet, trip.job.loop.now + trip.job.options.limits.hello_time)
    trip.job.tunnel(trip.conn, trip.client, upstream)
    return True


async def _start(trip: Carriage, packet: bytes) -> bool:
    """Encrypt towards the server if it can, send the packet, relay."""
    plain = await trip.dial()
    deadline = trip.job.loop.now + trip.job.options.limits.connect_time
    await plain.send(SSL_REQUEST, deadline)
    answer = await plain.recv(deadline)
    if answer == b"N":
        return await _pass(trip, packet)
    if answer != b"S":
        raise ConnectionError("not a PostgreSQL server")
    # As libpq's default (sslmode=prefer): encrypted, the certificate not verified.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    upstream = TlsStream(plain, context, server=False, name=trip.to.host.text)
    await upstream.handshake(deadline)
    await upstream.send(packet, deadline)
    await both(trip, trip.client, upstream)
    return False


async def both(trip: Carriage, client: AnyStream, upstream: AnyStream) -> None:
    """Copy both ways until both directions have ended."""
    job, idle = trip.job, trip.job.options.limits.idle_time

    def cut(_reason: str) -> None:
        for end in (client, upstream):
            end.sock.shutdown(2)

    trip.conn.cut = cut
    job.opened(trip.conn)
    upward = job.loop.spawn(copy(client, upstream, idle))
    try:
        await copy(upstream, client, idle)
        await upward.join()
    finally:
        upward.cancel()
