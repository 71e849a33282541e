"""Connections to the outside: resolve once, check every address, dial that very one."""

from __future__ import annotations

import errno
import os
import socket
from base64 import b64encode
from typing import TYPE_CHECKING

from launcher.egress.policy import Rules
from launcher.egress.ports import LOCAL_HOSTS
from launcher.egress.protocol import addresses
from launcher.egress.protocol.authority import LITERAL, Authority
from launcher.egress.protocol.http1 import HeadReader, parse_response
from launcher.egress.protocol.malformed import Malformed
from launcher.egress.server.relay import unpaced
from launcher.egress.server.streams import Stream

if TYPE_CHECKING:
    from _socket import socket as Socket  # noqa: N812  a class
    from collections.abc import Sequence

    from launcher.egress.rule import Rule
    from launcher.egress.server.account import Account
    from launcher.egress.server.job import Job


MAX_JUDGED = 1024  # addresses of one job whose verdict is kept: the same rules, the same verdict


class DialError(Exception):
    """`status` is what an HTTP client gets: 403 for an address that policy refuses, 502 and 504 for the network's.

    `address` is the one that was tried, where it came to that.
    """

    def __init__(self, status: int, reason: str, code: int = 0, address: str = "") -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.errno = code
        self.address = address


async def dial(job: Job, to: Authority, rules: Sequence[Rule], account: Account) -> tuple[Stream, str]:
    """A connected stream and the address dialled. Raises DialError."""
    refusal = job.name_refusal(to.host)
    if refusal:
        raise DialError(403, refusal)
    deadline = job.loop.now + job.options.limits.connect_time
    try:
        if _through_proxy(job, to):
            if to.host.kind == LITERAL:  # the one kind of address that can be checked before the proxy resolves it
                _check(job, to.host.text, rules)
            return await _by_proxy(job, to, account, deadline)
        return await _direct(job, to, rules, account, deadline)
    except TimeoutError as error:
        raise DialError(504, "no connection in time") from error


async def _direct(
    job: Job, to: Authority, rules: Sequence[Rule], account: Account, deadline: float
) -> tuple[Stream, str]:
    found = [to.host.text] if to.host.kind == LITERAL else await job.resolver.addresses(to.host.text, deadline)
    if not found:
        raise DialError(502, "name does not resolve")
    for address in found:
        _check(job, address, rules)
    failure = DialError(502, "no address")
    for address in found:
        try:
            return Stream(job.loop, await _connect(job, address, to.port, deadline), account), address
        except TimeoutError:
            raise
        except OSError as error:
            failure = DialError(502, os.strerror(error.errno or errno.EIO).lower(), error.errno or 0, address)
    raise failure


def _check(job: Job, address: str, rules: Sequence[Rule]) -> None:
    """One forbidden address refuses the whole answer: who mixes them in is not to be trusted with the rest."""
    own = job.resolver.own(address, job.options.own)
    key = (address, own, tuple(rules))
    kind = job.judged.get(key)
    if kind is None:
        if len(job.judged) >= MAX_JUDGED:
            job.judged.clear()
        packed = addresses.parse(address)
        kind = job.judged[key] = "unreadable" if packed is None else Rules.address_refusal(rules, packed, own=own)
    if kind:
        raise DialError(403, f"resolved address not allowed: {kind}", address=address)


async def _connect(job: Job, address: str, port: int, deadline: float) -> Socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.SocketType(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if address.startswith("127."):
            unpaced(sock)
        job.loop.watch(sock.fileno())
        code = sock.connect_ex((address, port))
        if code == errno.EINPROGRESS:
            await job.loop.writable(sock.fileno(), deadline)
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            while not code and not _connected(sock):
                # The edge was that of a descriptor with the same number, closed in this turn of the loop.
                await job.loop.writable(sock.fileno(), deadline)
                code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))
    except BaseException:
        job.loop.forget(sock.fileno())
        sock.close()
        raise
    return sock


def _connected(sock: Socket) -> bool:
    try:
        sock.getpeername()
    except OSError:
        return False
    return True


def _through_proxy(job: Job, to: Authority) -> bool:
    """Never for a service of this host: the proxy's own loopback is another one, and asking for it an attack."""
    if to.host.text in LOCAL_HOSTS:
        return False
    name = "." + to.host.text
    return job.options.upstream_proxy is not None and not any(
        name.endswith("." + suffix.lstrip(".")) for suffix in job.options.no_proxy
    )


async def _by_proxy(job: Job, to: Authority, account: Account, deadline: float) -> tuple[Stream, str]:
    """CONNECT through the corporate proxy, which is configured by the operator and may have any address."""
    host, port, credentials = job.options.upstream_proxy or ("", 0, "")
    found = [host] if addresses.parse(host) else await job.resolver.addresses(host, deadline)
    if not found:
        raise DialError(502, "upstream proxy does not resolve")
    try:
        sock = await _connect(job, found[0], port, deadline)
    except TimeoutError:
        raise
    except OSError as error:
        raise DialError(502, "upstream proxy does not answer", error.errno or 0) from error
    stream = Stream(job.loop, sock, account)
    try:
        await _ask(stream, to, credentials, deadline)
    except BaseException:
        stream.close()
        raise
    return stream, f"{found[0]}:{port}"


async def _ask(stream: Stream, to: Authority, credentials: str, deadline: float) -> None:
    lines = [f"CONNECT {to} HTTP/1.1", f"Host: {to}"]
    if credentials:
        lines.append("Proxy-Authorization: Basic " + b64encode(credentials.encode()).decode("ascii"))
    await stream.send("\r\n".join([*lines, "", ""]).encode("ascii"), deadline)
    reader, head = HeadReader(), None
    try:
        while head is None:
            data = await stream.recv(deadline)
            if not data:
                raise DialError(502, "upstream proxy closed the connection")
            head = reader.feed(data)
        response = parse_response(head, b"CONNECT")
    except Malformed as error:
        raise DialError(502, f"upstream proxy: {error.reason}") from error
    if not 200 <= response.status < 300:
        raise DialError(502, f"upstream proxy answered {response.status}")
    stream.push_back(reader.rest)
