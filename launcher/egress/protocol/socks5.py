"""SOCKS5 as a server sees it (RFC 1928): no authentication, CONNECT only, names preferred.

greeting = %x05 nmethods *method
request  = %x05 command %x00 ( %x01 4octet / %x03 length name / %x04 16octet ) 2octet-port
"""

from __future__ import annotations

from dataclasses import dataclass

from launcher.egress.protocol import addresses
from launcher.egress.protocol.authority import LITERAL, Authority, Host, parse_host
from launcher.egress.protocol.malformed import Malformed

VERSION = 5
NO_AUTHENTICATION = 0
CONNECT = 1

SUCCEEDED = 0
GENERAL_FAILURE = 1
NOT_ALLOWED = 2
HOST_UNREACHABLE = 4
REFUSED = 5
COMMAND_NOT_SUPPORTED = 7
ADDRESS_NOT_SUPPORTED = 8

METHOD_ACCEPTED = b"\x05\x00"
NO_METHOD = b"\x05\xff"
_SIZES = {1: 4, 4: 16}


def reply(code: int) -> bytes:
    """The reply to a request. The bound address is not told: it would show the host's own."""
    return bytes((VERSION, code, 0, 1, 0, 0, 0, 0, 0, 0))


class Refused(Malformed):
    """The request is refused with `answer` on the wire, after which the connection is closed."""

    def __init__(self, reason: str, answer: bytes) -> None:
        super().__init__(reason)
        self.answer = answer


@dataclass(frozen=True, slots=True)
class Greeting:
    """The client offers no authentication: answer METHOD_ACCEPTED."""


class SocksReader:
    """feed() gives a Greeting, then an Authority. `rest` holds bytes behind the request."""

    __slots__ = ("_greeted", "rest")

    def __init__(self) -> None:
        self.rest = b""
        self._greeted = False

    def feed(self, data: bytes) -> Greeting | Authority | None:
        """The next event, None while bytes are missing. Raises Refused. Call with b"" for an event that waits."""
        self.rest += data
        return self._request() if self._greeted else self._greeting()

    def _greeting(self) -> Greeting | None:
        data = self.rest
        if data[:1] not in (b"", b"\x05"):
            raise Refused("not SOCKS5", b"")
        if len(data) < 2 or len(data) < 2 + data[1]:
            return None
        if NO_AUTHENTICATION not in data[2 : 2 + data[1]]:
            raise Refused("no acceptable method", NO_METHOD)
        self.rest = data[2 + data[1] :]
        self._greeted = True
        return Greeting()

    def _request(self) -> Authority | None:
        data = self.rest
        if len(data) < 5:
            return None
        version, command, reserved, kind, first = data[:5]
        if version != VERSION or reserved:
            raise Refused("bad request", reply(GENERAL_FAILURE))
        if command != CONNECT:
            raise Refused("command", reply(COMMAND_NOT_SUPPORTED))
        if kind != 3 and kind not in _SIZES:
            raise Refused("address type", reply(ADDRESS_NOT_SUPPORTED))
        start, size = (5, first) if kind == 3 else (4, _SIZES[kind])
        if len(data) < start + size + 2:
            return None
        host = _host(kind, data[start : start + size])
        port = int.from_bytes(data[start + size : start + size + 2], "big")
        if not port:
            raise Refused("invalid port", reply(NOT_ALLOWED))
        self.rest = data[start + size + 2 :]
        return Authority(host, port)


def _host(kind: int, raw: bytes) -> Host:
    if kind in _SIZES:
        return Host(addresses.text(addresses.unmapped(raw)), LITERAL)
    try:
        return parse_host(raw)
    except Malformed as error:
        raise Refused("invalid host", reply(NOT_ALLOWED)) from error
