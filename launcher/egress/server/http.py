"""HTTP/1.x between a job and the outside: each request on a connection is judged on its own."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from launcher.egress.policy import HTTPS
from launcher.egress.protocol import body, http1
from launcher.egress.protocol.malformed import Malformed
from launcher.egress.server import intercept, refuse
from launcher.egress.server.audit import Connection
from launcher.egress.server.database import both
from launcher.egress.server.dial import DialError
from launcher.egress.server.inject import Refused, fields_for
from launcher.egress.server.target import Target, read_target

if TYPE_CHECKING:
    from launcher.egress.policy import Verdict
    from launcher.egress.protocol.http1 import Request, Response
    from launcher.egress.server.carry import Carriage
    from launcher.egress.server.loop import Task
    from launcher.egress.server.streams import AnyStream


async def serve(trip: Carriage, client: AnyStream, scheme: str) -> None:
    """Requests on a connection whose name is known: transparent, in a CONNECT tunnel, or inside intercepted TLS."""
    session = Session(trip, client, scheme)
    try:
        while await session.exchange():
            pass
    finally:
        session.close()


async def read_request(client: AnyStream, trip_limits: tuple[float, float]) -> Request | None:
    """The next head, None where the client is done. `trip_limits`: seconds until it starts, and until it is whole."""
    idle, whole = trip_limits
    reader, head = http1.HeadReader(http1.check_request_start), None
    deadline = client.loop.now + idle
    while head is None:
        try:
            data = await client.recv(deadline)
        except TimeoutError:
            if reader.empty:
                return None
            raise Malformed("request head too slow", 408) from None
        if not data:
            if reader.empty:
                return None
            raise Malformed("bad request line")
        if reader.empty:
            # A deadline for the whole head, not for each read: one byte a second must end (slow loris).
            deadline = client.loop.now + whole
        head = reader.feed(data)
    client.push_back(reader.rest)
    return http1.parse_request(head)


class Session:
    """One client connection to one name. It keeps one upstream connection between requests."""

    def __init__(self, trip: Carriage, client: AnyStream, scheme: str) -> None:
        self.trip = trip
        self.job = trip.job
        self.client = client
        self.scheme = scheme
        self.upstream: AnyStream | None = None
        self._first = True
        self._failure: Malformed | None = None
        self._uploaded = True
        self._uploading: Task | None = None

    async def exchange(self) -> bool:
        """One request and its response; whether another may follow."""
        limits = self.job.options.limits
        idle = limits.hello_time if self._first else limits.keep_alive
        self._first = False
        try:
            request = await read_request(self.client, (idle, limits.head_time))
            if request is None:
                return False
            target = read_target(request, self.scheme, self.trip.to)
        except Malformed as error:
            await self._refuse(error.status, error.reason)
            return False
        return await self.judged(request, target)

    async def judged(self, request: Request, target: Target) -> bool:
        """Judge a request and pass it on; whether another may follow."""
        where = self.trip.to
        verdict = self.job.rules.request(self.scheme, where.host, where.port, target.method, target.path)
        if not verdict.allowed:
            await self._refuse(verdict.status, verdict.reason, verdict.missing)
            return False
        refusal = self.job.admit(verdict.rule) if verdict.rule else ""
        if refusal:
            await self._refuse(429, refusal)
            return False
        try:
            return await self._forward(request, target, verdict)
        except Refused as error:
            await self._refuse(403, error.reason)
        except (DialError, Malformed) as error:
            await self._refuse(error.status, error.reason)
        except ssl.SSLError as error:
            await self._refuse(502, f"upstream certificate: {getattr(error, 'verify_message', '') or error.reason}")
        return False

    # ---- the way out

    async def _forward(self, request: Request, target: Target, verdict: Verdict) -> bool:
        rule = verdict.rule
        self.trip.conn.rule = rule
        drop, add = fields_for(self.job.options, request, rule, https=self.scheme == HTTPS)
        head = http1.write_request(request, target.raw, target.host_field, drop=drop, add=add)
        reused = self.upstream is not None and self.upstream.fresh
        if not reused:
            await self._connect()
        try:
            response = await self._ask(request, head)
        except ConnectionError:
            # A kept connection that the server closed at the same moment: safe to repeat where nothing was consumed.
            if not reused or request.length:
                raise Malformed("upstream closed the connection", 502) from None
            await self._connect()
            response = await self._ask(request, head)
        return await self._answer(request, response)

    async def _connect(self) -> None:
        self._drop_upstream()
        self.trip.conn.reported = False
        self.upstream = await (intercept.upstream_tls(self.trip) if self.scheme == HTTPS else self.trip.dial())
        self.trip.conn.cut = self._cut
        self.job.opened(self.trip.conn)

    def _cut(self, _reason: str) -> None:
        for end in (self.client, self.upstream):
            if end is not None and end.sock.fileno() >= 0:
                end.sock.shutdown(2)

    async def _ask(self, request: Request, head: bytes) -> Response:
        upstream = self._up()
        await upstream.send(head, self._idle())
        self._failure, self._uploaded = None, not request.length
        if request.length:
            self._uploading = self.job.loop.spawn(self._upload(request, upstream))
        while True:
            response = await self._response(request, upstream)
            if response.status == 101 and not request.upgrade:
                raise Malformed("unexpected 101", 502)
            if response.status >= 200 or response.status == 101:
                return response
            if request.version == b"HTTP/1.1":
                await self.client.send(http1.write_response(response, keep_alive=True), self._idle())

    async def _response(self, request: Request, upstream: AnyStream) -> Response:
        reader, head = http1.HeadReader(), None
        while head is None:
            data = await upstream.recv(self._idle())
            if self._failure is not None:
                raise self._failure
            if not data and reader.empty:
                raise ConnectionResetError
            if not data:
                raise Malformed("upstream closed the connection", 502)
            try:
                head = reader.feed(data)
            except Malformed as error:
                raise Malformed(f"upstream sent a bad response: {error.reason}", 502) from error
        upstream.push_back(reader.rest)
        return http1.parse_response(head, request.method)

    async def _upload(self, request: Request, upstream: AnyStream) -> None:
        """The request's body, while the response may already be coming."""
        reader = body.BodyReader(request.length)
        try:
            while not reader.done:
                data = await self.client.recv(self._idle())
                if not data:
                    raise Malformed("request body cut off")
                payload = reader.feed(data)
                chunked = request.length == http1.CHUNKED
                await upstream.send(body.framed(reader, payload, chunked=chunked), self._idle())
        except Malformed as error:
            self._failure = error
            self._shut(upstream)
        except OSError:
            self._shut(upstream)
        else:
            self.client.push_back(reader.rest)
            self._uploaded = True

    def _shut(self, upstream: AnyStream) -> None:
        """Wake whoever waits for the response: there will be none to a broken request."""
        if upstream.sock.fileno() >= 0:
            try:
                upstream.sock.shutdown(2)
            except OSError:
                return

    # ---- the way back

    async def _answer(self, request: Request, response: Response) -> bool:
        if response.status == 101:
            await self.client.send(
                http1.write_response(response, keep_alive=True, upgrade=request.upgrade), self._idle()
            )
            await both(self.trip, self.client, self._up())
            return False
        old = request.version == b"HTTP/1.0"
        rechunk = response.length == http1.CHUNKED and not old
        keep = request.keep_alive and response.keep_alive and (rechunk or response.length >= 0)
        await self.client.send(http1.write_response(response, keep_alive=keep, chunked=rechunk), self._idle())
        try:
            clean = await self._download(response, rechunk=rechunk)
        except Malformed:
            # The head is out: a second one would be read as body. Only a reset says that it is not whole.
            self.client.reset()
            raise ConnectionAbortedError from None
        if not (response.keep_alive and clean):
            self._drop_upstream()
        return keep and clean and self._uploaded

    async def _download(self, response: Response, *, rechunk: bool) -> bool:
        """The response's body. False when something followed it, which belongs to no request and is dropped."""
        upstream, reader = self._up(), body.BodyReader(response.length)
        left = self.job.options.limits.response_bytes
        while not reader.done:
            data = await upstream.recv(self._idle())
            if not data and response.length == http1.UNTIL_CLOSE:
                return True
            if not data:
                raise ConnectionResetError
            payload = reader.feed(data)
            left -= len(payload)
            if left < 0:
                self.trip.job.trail.denial(self.trip.conn, "response too large")
                raise ConnectionAbortedError
            await self.client.send(body.framed(reader, payload, chunked=rechunk), self._idle())
        return not reader.rest and upstream.fresh

    # ---- small things

    def _up(self) -> AnyStream:
        if self.upstream is None:
            raise ConnectionResetError
        return self.upstream

    def _idle(self) -> float:
        return self.job.loop.now + self.job.options.limits.idle_time

    async def _refuse(self, status: int, reason: str, missing: str = "") -> None:
        self._stop_upload()  # two readers of one socket would wait for each other
        if status in {502, 504}:
            self.trip.conn.failure = reason
        elif self.trip.conn not in self.job.open:
            self.trip.conn.reported = True  # by the denial of its only request
        to, kind = self.trip.to, self.trip.conn.kind
        conn = Connection(kind, to.host.text, to.port, self.job.account(()), self.job.loop.now)
        conn.scheme = self.scheme
        await refuse.with_status(self.job, self.client, conn, status, reason, missing)

    def _drop_upstream(self) -> None:
        # An upstream of the trip that no request has used yet (dialled for CONNECT) is kept for this one.
        if self.upstream is not None:
            self.upstream.close()
            self.upstream = self.trip.upstream = None

    def close(self) -> None:
        """Close the upstream connection; the client's belongs to the caller."""
        self._stop_upload()
        self._drop_upstream()

    def _stop_upload(self) -> None:
        if self._uploading is not None:
            self._uploading.cancel()
            self._uploading = None
