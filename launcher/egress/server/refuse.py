"""Refusing a connection in the language that its client speaks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher.egress.protocol import denial, postgres, tls

if TYPE_CHECKING:
    from launcher.egress.policy import Verdict
    from launcher.egress.server.audit import Connection
    from launcher.egress.server.job import Job
    from launcher.egress.server.streams import AnyStream, Stream

LISTEN = 1.0  # seconds a refused client has to show which protocol it speaks
POSTGRESQL_PORT = 5432


async def connection(job: Job, client: Stream, conn: Connection, verdict: Verdict) -> None:
    """Refuse a transparent connection: nobody knows its protocol yet, so its first bytes choose the answer."""
    job.trail.denial(conn, verdict.reason, verdict.missing)
    try:
        first = await client.recv(job.loop.now + LISTEN)
    except OSError:
        first = b""
    message = _answer(first, conn, verdict)
    if message:
        await client.farewell(message)
    else:
        client.reset()


def _answer(first: bytes, conn: Connection, verdict: Verdict) -> bytes:
    if first[:1] == b"\x16":
        return tls.alert(tls.ACCESS_DENIED)
    if first[:1].isupper():
        return denial.http(403, verdict.reason, missing=verdict.missing)
    if first[:1] == b"\0" or (first and conn.port == POSTGRESQL_PORT):
        return postgres.fatal(f"egress denied by sandbox policy: {verdict.reason}", _hint(verdict.missing))
    return b""


async def with_alert(
    job: Job, client: Stream, conn: Connection, reason: str, description: int = tls.ACCESS_DENIED
) -> None:
    """Refuse a TLS connection before any key is agreed."""
    job.trail.denial(conn, reason)
    await client.farewell(tls.alert(description))


async def with_fatal(job: Job, client: Stream, conn: Connection, reason: str, missing: str = "") -> None:
    """Refuse a PostgreSQL session, so that psql prints why."""
    job.trail.denial(conn, reason, missing)
    await client.farewell(postgres.fatal(f"egress denied by sandbox policy: {reason}", _hint(missing)))


async def with_status(
    job: Job, client: AnyStream, conn: Connection, status: int, reason: str, missing: str = ""
) -> None:
    """Refuse with an HTTP response. 502 and 504 are the network's failures, not denials."""
    if status not in {502, 504}:
        job.trail.denial(conn, reason, missing)
    await client.farewell(denial.http(status, reason, missing=missing, hint=_hint(missing)))


def _hint(missing: str) -> str:
    return f"ask for the grant {missing}" if missing else ""
