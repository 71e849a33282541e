"""TLS opened for the hosts whose rules are about what is inside: a leaf certificate for the one name, HTTP/1.1 only."""

from __future__ import annotations

import os
import ssl
from typing import TYPE_CHECKING

from launcher.egress.policy import HTTPS
from launcher.egress.protocol import tls
from launcher.egress.server import http, refuse
from launcher.egress.server.streams import TlsStream

if TYPE_CHECKING:
    from launcher.egress.certificates import CertificateAuthority
    from launcher.egress.server.carry import Carriage
    from launcher.egress.server.job import Job

ALPN = "http/1.1"  # h2 would need :authority checked in every stream; every client falls back
MAX_CONTEXTS = 512  # leaf certificates kept


class Contexts:
    """A server context for each name, made when it is first needed."""

    def __init__(self, authority: CertificateAuthority) -> None:
        self._authority = authority
        self._contexts: dict[str, ssl.SSLContext] = {}

    def server(self, name: str) -> ssl.SSLContext:
        """The context whose certificate carries exactly this name, so that no client coalesces connections."""
        context = self._contexts.get(name)
        if context is None:
            if len(self._contexts) >= MAX_CONTEXTS:
                self._contexts.clear()
            context = self._contexts[name] = _server_context(*self._authority.leaf(name))
        return context


def _server_context(certificate: bytes, key: bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols([ALPN])
    # load_cert_chain takes files only: an anonymous one in memory, never on a disk.
    fd = os.memfd_create("leaf", os.MFD_CLOEXEC)
    try:
        os.write(fd, key + certificate)
        context.load_cert_chain(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)
    return context


def client_context(anchors: str) -> ssl.SSLContext:
    """How upstream servers are verified: against the system's authorities and `anchors` (PEM). Raises ssl.SSLError."""
    context = ssl.create_default_context()
    if anchors:
        context.load_verify_locations(cadata=anchors)
    context.set_alpn_protocols([ALPN])
    return context


async def serve(trip: Carriage, hello: tls.ClientHello) -> None:
    """Speak TLS with the client as the server, and HTTP inside."""
    job = trip.job
    if hello.alpn and ALPN.encode() not in hello.alpn:
        await refuse.with_alert(job, trip.client, trip.conn, "no_application_protocol", tls.NO_APPLICATION_PROTOCOL)
        return
    contexts = _contexts(job)
    if contexts is None:
        await refuse.with_alert(job, trip.client, trip.conn, "no certificate authority", tls.INTERNAL_ERROR)
        return
    try:
        context = contexts.server(trip.to.host.text)
    except OSError as error:
        await refuse.with_alert(job, trip.client, trip.conn, f"no certificate: {error}", tls.INTERNAL_ERROR)
        return
    client = TlsStream(trip.client, context, server=True)
    try:
        await client.handshake(job.loop.now + job.options.limits.hello_time)
    except (ssl.SSLError, ssl.CertificateError) as error:
        # The usual reason: the client trusts its own certificates only (pinning).
        job.trail.denial(trip.conn, f"client does not accept interception: {error.reason or error}")
        client.close()
        return
    await http.serve(trip, client, HTTPS)


def _contexts(job: Job) -> Contexts | None:
    if job.contexts is None and job.options.ca is not None:
        from launcher.egress.certificates import CertificateAuthority

        job.contexts = Contexts(CertificateAuthority.load(*job.options.ca))
    return job.contexts


async def upstream_tls(trip: Carriage) -> TlsStream:
    """TLS to the real server, its certificate verified for the connection's name. Raises ssl.SSLError, DialError."""
    job = trip.job
    if job.upstream_context is None:
        job.upstream_context = client_context(job.options.anchors)
    plain = await trip.dial()
    stream = TlsStream(plain, job.upstream_context, server=False, name=trip.to.host.text)
    await stream.handshake(job.loop.now + job.options.limits.connect_time)
    return stream
