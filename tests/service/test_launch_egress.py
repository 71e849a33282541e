"""Network grants through real launches: granted hosts answer, everything else is refused readably, and is audited."""

from __future__ import annotations

import http.server
import json
import threading
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.sandboxed import Host

pytestmark = pytest.mark.kernel

FETCH = """
import sys, urllib.error, urllib.request
for url in sys.argv[1:]:
    try: print(urllib.request.urlopen(url, timeout=10).read().decode().strip())
    except urllib.error.HTTPError as error: print(error.code, error.read().decode()[:300].replace(chr(10), ' '))
    except OSError as error: print(type(error).__name__, error)
"""
DIRECT = """
import os, socket, sys
for name in list(os.environ):
    if 'proxy' in name.lower(): del os.environ[name]
host, port = sys.argv[1], int(sys.argv[2])
try:
    with socket.create_connection((host, port), timeout=10) as s:
        s.sendall(b'GET / HTTP/1.1\\r\\nHost: %s:%d\\r\\nConnection: close\\r\\n\\r\\n' % (host.encode(), port))
        print(s.makefile('rb').read().decode().splitlines()[-1])
except OSError as error: print(type(error).__name__, error)
"""


@pytest.fixture
def server() -> Iterator[tuple[int, list[str]]]:
    """An HTTP server on the host's loopback that remembers what it was asked."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(f"{self.headers['Host']} {self.path}")
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"served")

        def log_message(self, *_: object) -> None:
            return

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield made.server_address[1], asked
        made.shutdown()
        thread.join()


def grant(port: int, **more: object) -> dict[str, object]:
    network = [{"hosts": [f"localhost:{port}"], "operations": ["http"], "allow_loopback": True, **more}]
    return {"py": True, "network": network}


def test_a_granted_host_is_reached(host: Host, server: tuple[int, list[str]]) -> None:
    port, asked = server
    host.policy(grant(port))
    ran = host.python(FETCH, f"http://localhost:{port}/x")
    assert ran.out == "served\n", ran
    assert asked == [f"localhost:{port} /x"]
    totals = ran.result["egress"]["hosts"]["localhost"]
    assert totals["connections"] == 1 and totals["bytes_down"] > 0, ran.result["egress"]


def test_without_proxy_variables_too(host: Host, server: tuple[int, list[str]]) -> None:
    """Names are identity: any TCP client works, and none can choose another way."""
    port, _ = server
    host.policy(grant(port))
    assert host.python(DIRECT, "localhost", str(port)).out == "served\n"


def test_nothing_else_is_reached(host: Host, server: tuple[int, list[str]]) -> None:
    """Attacks 61, 63, 64, 65: other names, literal addresses, other ports, metadata."""
    port, asked = server
    host.policy(grant(port))
    urls = [
        "http://evil.example.org/", "http://192.0.2.1/", "http://169.254.169.254/latest/", f"http://127.0.0.1:{port + 1}/",
        f"http://localhost:{port + 1}/", "http://2130706433/",
    ]  # fmt: skip
    ran = host.python(FETCH, *urls)
    assert len(ran.out.splitlines()) == len(urls), ran
    assert "served" not in ran.out
    assert asked == []
    assert "missing_grant" in ran.out
    denied = [event for event in host.audit() if event["layer"] == "egress" and event["outcome"] == "DENIED"]
    assert any("evil.example.org" in event["resource"] for event in denied), denied
    assert {row["capability"] for row in ran.result["denials"]} == {"network"}


def test_the_ml_http_module(host: Host, server: tuple[int, list[str]]) -> None:
    port, _ = server
    host.policy(grant(port))
    host.write(
        "get.ml",
        "import http;\n"
        f'response = http.get("http://localhost:{port}/ml");\n'
        "print(response.status(), response.text());\n"
        'try { http.get("http://evil.example.org/"); } catch (e) { print("refused"); }\n',
    )
    assert host.launch("get.ml").out == "200 served\nrefused\n"


def test_a_method_that_is_not_granted(host: Host, server: tuple[int, list[str]]) -> None:
    port, asked = server
    host.policy(grant(port, methods=["POST"]))
    ran = host.python(FETCH, f"http://localhost:{port}/x")
    assert ran.out.startswith("403"), ran
    assert json.loads(ran.out.split(" ", 1)[1])["missing_grant"]
    assert asked == []
