"""Servers of the make-believe internet. Each tells what it received; none is clever."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket

Seen = Callable[[bytes], None]
TLS_MARK = b"\x16\x03\x03\x00\x04mark"  # what the `tls` server answers to a first flight: enough to see it arrived


def http(conn: socket.socket, seen: Seen) -> None:
    """Answers each request with its own head as the body. The path chooses a few oddities."""
    data = b""
    while True:
        while b"\r\n\r\n" not in data:
            piece = conn.recv(65536)
            if not piece:
                if data:
                    seen(data)
                return
            data += piece
        head, _, data = data.partition(b"\r\n\r\n")
        body, data = _body(conn, head, data)
        seen(head + b"\r\n\r\n" + body)
        path = head.split(b" ")[1].partition(b"?")[0]
        answer = ODDITIES.get(path)
        if answer is None:
            answer = b'HTTP/1.1 200 OK\r\nContent-Length: %d\r\nAlt-Svc: h3=":443"\r\n\r\n' % len(head) + head
        if head[:5] == b"HEAD ":
            answer = answer.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
        conn.sendall(answer)
        if path == b"/close":
            return


ODDITIES = {
    b"/v1/redirect": b"HTTP/1.1 302 Found\r\nLocation: http://evil.org/\r\nContent-Length: 0\r\n\r\n",
    b"/two": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
    b"/101": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nraw",
    b"/100": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"/chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nT: 1\r\n\r\n",
    b"/badchunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloXX",
    b"/ws": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nraw bytes",
    b"/close": b"HTTP/1.0 200 OK\r\n\r\nuntil close",
    b"/bad": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"/big": b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + bytes(1000000),
}


def _body(conn: socket.socket, head: bytes, data: bytes) -> tuple[bytes, bytes]:
    lowered = head.lower()
    if b"transfer-encoding: chunked" in lowered:
        while b"0\r\n\r\n" not in data:
            data += _some(conn)
        body, _, rest = data.partition(b"0\r\n\r\n")
        return body + b"0\r\n\r\n", rest
    length = 0
    for line in lowered.split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
    while len(data) < length:
        data += _some(conn)
    return data[:length], data[length:]


def _some(conn: socket.socket) -> bytes:
    piece = conn.recv(65536)
    if not piece:
        raise EOFError
    return piece


def tls(conn: socket.socket, seen: Seen) -> None:
    """Not TLS: tells the first flight, sends a mark back, then counts."""
    seen(_some(conn))
    conn.sendall(TLS_MARK)
    while conn.recv(65536):
        pass


def postgres(conn: socket.socket, seen: Seen) -> None:
    """Refuses encryption, accepts any start-up packet (AuthenticationOk, ReadyForQuery)."""
    while True:
        packet = _some(conn)
        seen(packet)
        if packet[4:8] in ((80877103).to_bytes(4, "big"), (80877104).to_bytes(4, "big")):
            conn.sendall(b"N")
            continue
        conn.sendall(b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I")


def banner(conn: socket.socket, seen: Seen) -> None:
    """Speaks first, as ssh, smtp and mysql do."""
    conn.sendall(b"SSH-2.0-test\r\n")
    while data := conn.recv(65536):
        seen(data)


def farewell(conn: socket.socket, _seen: Seen) -> None:
    """Says something and is gone, whatever the client does."""
    conn.sendall(b"SSH-2.0-test\r\n")


def echo(conn: socket.socket, seen: Seen) -> None:
    """Sends everything back; after the client's FIN says goodbye."""
    total = 0
    while data := conn.recv(65536):
        total += len(data)
        conn.sendall(data)
    seen(b"%d" % total)
    conn.sendall(b"bye")


def sink(conn: socket.socket, seen: Seen) -> None:
    """Counts."""
    total = 0
    try:
        while data := conn.recv(1 << 20):
            total += len(data)
    finally:
        seen(b"%d" % total)


def source(conn: socket.socket, _seen: Seen) -> None:
    """Sends as much as the client's first line says."""
    line = _some(conn)
    left = int(line)
    block = bytes(1 << 16)
    while left > 0:
        left -= conn.send(block[: min(left, len(block))])


CERTIFICATE = [""]  # the file of certificate and key that `https` serves; set before the world is made


def https(conn: socket.socket, seen: Seen) -> None:
    """`http` inside TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE[0])
    context.set_alpn_protocols(["http/1.1"])
    with context.wrap_socket(conn, server_side=True) as inner:
        http(inner, seen)


KINDS: dict[str, Callable[[socket.socket, Seen], None]] = {
    "http": http,
    "https": https,
    "tls": tls,
    "postgres": postgres,
    "banner": banner,
    "echo": echo,
    "farewell": farewell,
    "sink": sink,
    "source": source,
}
