"""Servers on the host's loopback for real launches: HTTP and HTTPS that remember what they were asked, and a CONNECT proxy."""

from __future__ import annotations

import http.server
import os
import socket
import ssl
import tempfile
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from launcher.egress.certificates import CertificateAuthority

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

COMPANY = CertificateAuthority.create(["*"], "company")


class Server:
    """`asked` are the requests as "METHOD path", `fields` the header fields of each."""

    def __init__(self, names: Sequence[str] = ()) -> None:
        self.asked: list[str] = []
        self.fields: list[dict[str, str]] = []
        served = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                served.asked.append(f"{self.command} {self.path}")
                served.fields.append({name.lower(): value for name, value in self.headers.items()})
                size = int(self.path.partition("size=")[2] or 6)
                self.send_response(200)
                self.send_header("Content-Length", str(size))
                self.end_headers()
                self.wfile.write(b"served" if size == 6 else b"x" * size)

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.do_GET()

            def log_message(self, *_: object) -> None:
                return

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if names:
            self._server.socket = _context(names).wrap_socket(self._server.socket, server_side=True)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _context(names: Sequence[str]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    for name in names[:1]:
        certificate, key = COMPANY.leaf(name)
        with tempfile.NamedTemporaryFile() as file:
            file.write(key + certificate)
            file.flush()
            context.load_cert_chain(file.name)
    return context


@contextmanager
def server(*names: str) -> Iterator[Server]:
    """An HTTP server; with a name an HTTPS server with a certificate of the company for it."""
    made = Server(names)
    try:
        yield made
    finally:
        made.close()


class ConnectProxy:
    """A corporate proxy: `heads` are the requests, `routes` where names lead to (`host:port` -> port on loopback)."""

    def __init__(self, routes: dict[str, int]) -> None:
        self.heads: list[str] = []
        self.routes = routes
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                conn, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(conn,), daemon=True).start()

    def _serve(self, conn: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            piece = conn.recv(4096)
            if not piece:
                return
            head += piece
        self.heads.append(head.decode("latin-1"))
        port = self.routes.get(head.split()[1].decode())
        if port is None:
            conn.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            conn.close()
            return
        with conn, socket.create_connection(("127.0.0.1", port)) as upstream:
            conn.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            back = threading.Thread(target=_pump, args=(upstream, conn), daemon=True)
            back.start()
            _pump(conn, upstream)
            back.join()

    def close(self) -> None:
        self._listener.close()


def _pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return


def private_file(path: str, content: str, uid: int, gid: int) -> str:
    """A file of mode 0600 that belongs to somebody."""
    with open(path, "w", encoding="utf-8") as file:
        file.write(content)
    os.chmod(path, 0o600)
    if os.geteuid() == 0:
        os.chown(path, uid, gid)
    return path


class EchoServer:
    """Sends back what it gets."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                conn, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(conn,), daemon=True).start()

    def _serve(self, conn: socket.socket) -> None:
        with conn:
            _pump(conn, conn)

    def close(self) -> None:
        self._listener.close()
