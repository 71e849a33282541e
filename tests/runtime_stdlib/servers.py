"""Real servers on loopback for the tests of `http`: what they got is kept, what they answer is told by the path."""

from __future__ import annotations

import contextlib
import datetime as dt
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        server: Any = self.server
        server.seen.append((self.command, self.path, dict(self.headers.items()), body))
        first, _, rest = self.path.lstrip("/").partition("/")
        getattr(self, f"_{first.partition('?')[0]}", self._echo)(rest.partition("?")[0], body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _answer  # noqa: N815  http.server looks for these

    def _send(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _echo(self, rest: str, body: bytes) -> None:
        self._send(200, body or self.path.encode(), Content_Type="text/plain", X_Twice="a")

    def _status(self, rest: str, body: bytes) -> None:
        self._send(int(rest), b'{"ok": false}', Content_Type="application/json")

    def _latin(self, rest: str, body: bytes) -> None:
        self._send(200, "é".encode("latin-1"), Content_Type="text/plain; charset=ISO-8859-1")

    def _redirect(self, rest: str, body: bytes) -> None:
        status, _, where = rest.partition("/")
        server: Any = self.server
        self._send(int(status), b"", Location=server.places.get(where, "/" + where))

    def _big(self, rest: str, body: bytes) -> None:
        self.send_response(200)
        self.end_headers()
        self.close_connection = True
        with contextlib.suppress(OSError):
            for _ in range(int(rest)):
                self.wfile.write(b"x" * (1 << 20))

    def _drip(self, rest: str, body: bytes) -> None:
        self.send_response(200)
        self.end_headers()
        self.close_connection = True
        with contextlib.suppress(OSError):
            for _ in range(100):
                self.wfile.write(b".")
                self.wfile.flush()
                time.sleep(0.05)

    def _hang(self, rest: str, body: bytes) -> None:
        time.sleep(3)

    def _gone(self, rest: str, body: bytes) -> None:
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def http_server(handler: type[BaseHTTPRequestHandler] = Handler, context: Any = None) -> Iterator[Any]:
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.seen = []
    server.places = {}
    server.port = server.server_address[1]
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


class Proxy(BaseHTTPRequestHandler):
    """A forward proxy: absolute-form requests, and CONNECT as a blind tunnel."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server: Any = self.server
        server.seen.append((self.command, self.path, dict(self.headers.items()), b""))
        body = f"by proxy: {self.path}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_CONNECT(self) -> None:
        server: Any = self.server
        server.seen.append((self.command, self.path, dict(self.headers.items()), b""))
        upstream = socket.create_connection(("127.0.0.1", int(self.path.rpartition(":")[2])))
        self.send_response(200)
        self.end_headers()
        back = threading.Thread(target=_carry, args=(upstream, self.connection), daemon=True)
        back.start()
        _carry(self.connection, upstream)
        back.join(5)
        upstream.close()
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


def _carry(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


def certificate(folder: Path, name: str) -> tuple[ssl.SSLContext, str]:
    """A server context for `name`, and the file of the authority that clients must trust."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "server.pem"
    pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + made.public_bytes(serialization.Encoding.PEM)
    )
    authority = folder / "ca.pem"
    authority.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context, str(authority)
