"""`http` against real servers: each hop is judged before a byte goes out, answers are responses, time is bounded."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from launcher.runtime.errors import CapabilityError
from launcher.runtime.stdlib import _exchange, _url
from tests.runtime_stdlib.conftest import Workbench
from tests.runtime_stdlib.servers import Proxy, certificate, http_server


@pytest.fixture
def server(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with http_server() as made:
        made.url = f"http://127.0.0.1:{made.port}"
        bench.hold(f"network.http 127.0.0.1:{made.port}")
        yield made


def sent(server: Any) -> tuple[str, str, dict[str, str], bytes]:
    seen: tuple[str, str, dict[str, str], bytes] = server.seen[-1]
    return seen


# --- requests -----------------------------------------------------------------------------------------------------

CALLS: list[tuple[str, Any, str, bytes, str | None]] = [
    ("get", (), "GET", b"", None),
    ("delete", (), "DELETE", b"", None),
    ("head", (), "HEAD", b"", None),
    ("get", ("text",), "GET", b"text", "text/plain; charset=utf-8"),
    ("post", (), "POST", b"", None),
    ("post", ({"body": "x"},), "POST", b"x", "text/plain; charset=utf-8"),
    ("post", ({"body": {"a": [1, None]}},), "POST", b'{"a": [1, null]}', "application/json"),
    ("post", ("plain",), "POST", b"plain", "text/plain; charset=utf-8"),
    ("post", ({"other": 1},), "POST", b'{"other": 1}', "application/json"),
    ("put", ({"body": b"\x00\xff"},), "PUT", b"\x00\xff", None),
    ("patch", ({"body": "a=1", "headers": {"content-type": "x/y"}},), "PATCH", b"a=1", "x/y"),
]


@pytest.mark.parametrize(("function", "arguments", "method", "body", "kind"), CALLS)
def test_calls(
    bench: Workbench, server: Any, function: str, arguments: Any, method: str, body: bytes, kind: str | None
) -> None:
    response = bench.call(f"http.{function}", server.url + "/p/q?x=1", *arguments)
    got = sent(server)
    assert (got[0], got[1], got[3]) == (method, "/p/q?x=1", body)
    named = {name.lower(): value for name, value in got[2].items()}
    assert named.get("content-type") == kind
    assert named["user-agent"] == _exchange.USER_AGENT
    assert response.status() == 200
    assert response.text() == ("" if method == "HEAD" else (body.decode("utf-8", "replace") or "/p/q?x=1"))


def test_request(bench: Workbench, server: Any) -> None:
    options = {"method": "put", "url": server.url + "/r", "headers": {"X-A": 1, "User-Agent": "me"}, "body": "b"}
    assert bench.call("http.request", options).ok()
    method, _, headers, body = sent(server)
    assert (method, headers["X-A"], headers["User-Agent"], body) == ("PUT", "1", "me", b"b")


def test_error_statuses_are_responses(bench: Workbench, server: Any) -> None:
    for status in (404, 500, 304):
        response = bench.call("http.get", f"{server.url}/status/{status}")
        assert (response.status(), response.ok()) == (status, False)
    response = bench.call("http.get", f"{server.url}/status/404")
    assert response.status_text() == "Not Found"
    assert response.json() == {"ok": False}
    assert response.headers()["Content-Type"] == "application/json"


def test_text_in_the_charset_of_the_server(bench: Workbench, server: Any) -> None:
    assert bench.call("http.get", server.url + "/latin").text() == "é"


def test_bad_json(bench: Workbench, server: Any) -> None:
    with pytest.raises(ValueError, match="JSON parsing failed"):
        bench.call("http.get", server.url + "/x").json()


def test_only_the_first_ten_megabytes(bench: Workbench, server: Any) -> None:
    assert len(bench.call("http.get", server.url + "/big/11").text()) == 10 * 1024 * 1024
    assert len(bench.call("http.get", server.url + "/big/1").text()) == 1024 * 1024


@pytest.mark.parametrize("path", ["/hang", "/drip"])
def test_the_timeout_is_for_the_whole(bench: Workbench, server: Any, path: str) -> None:
    began = time.monotonic()
    with pytest.raises(TimeoutError, match="Network error: timed out"):
        bench.call("http.get", server.url + path, {}, 0.4)
    assert time.monotonic() - began < 2


def test_failures_of_the_network(bench: Workbench, server: Any) -> None:
    with pytest.raises(ConnectionError, match="Network error"):
        bench.call("http.get", server.url + "/gone")
    bench.hold("network.http 127.0.0.1:1")
    with pytest.raises(ConnectionError, match="Network error"):
        bench.call("http.get", "http://127.0.0.1:1/")


def test_a_server_that_hangs_up_does_not_end_the_job(bench: Workbench, server: Any) -> None:
    """The runtime leaves SIGPIPE deadly; sending a large body to a closed connection must raise instead."""
    before = signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        with pytest.raises(ConnectionError):
            bench.call("http.post", server.url + "/gone", {"body": "x" * (8 << 20)})
        assert signal.getsignal(signal.SIGPIPE) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGPIPE, before)


BAD: list[tuple[Any, type[Exception], str]] = [
    ("", ValueError, "Invalid URL"), ("example.com", ValueError, "Invalid URL"), ("ftp://x/", ValueError, "Invalid URL"),
    ("http://", ValueError, "Invalid URL"), ("file:///etc/passwd", ValueError, "Invalid URL"),
    ("http://h:99999/", ValueError, "Invalid URL"), ("http://user:pw@h/", ValueError, "Authorization header"),
    ("http://a b/", ValueError, "Invalid URL"), ("http://[::1/", ValueError, "Invalid URL"),
    ("http://0x7f.1/", ValueError, "Invalid URL"), (5, TypeError, "must be a string"),
]  # fmt: skip


@pytest.mark.parametrize(("url", "error", "text"), BAD)
def test_bad_urls(bench: Workbench, url: Any, error: type[Exception], text: str) -> None:
    bench.hold("network.http,https *")
    with pytest.raises(error, match=text):
        bench.call("http.get", url)
    assert bench.claims() == []


# --- what may not be smuggled -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [{"X": "a\r\nHost: evil"}, {"X\r\nY": "a"}, {"X": "a\nb"}, {"X": "\0"}, {"": "x"}, {"X: y\r\n\r\nGET": "/"}],
)
def test_headers_cannot_be_split(bench: Workbench, server: Any, headers: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="Invalid header"):
        bench.call("http.get", server.url, headers)
    assert server.seen == []


def test_framing_and_host_are_made_from_what_was_judged(bench: Workbench, server: Any) -> None:
    headers = {"Host": "evil.example", "Transfer-Encoding": "chunked", "content-length": "3", "Connection": "upgrade"}
    bench.call("http.post", server.url + "/x", {"body": "12345", "headers": headers})
    _, _, got, body = sent(server)
    assert body == b"12345"
    assert got["Host"] == f"127.0.0.1:{server.port}"
    assert got["Content-Length"] == "5"
    assert "Transfer-Encoding" not in got


@pytest.mark.parametrize("method", ["CONNECT", "TRACE", "GET /x HTTP/1.1\r\nX:", "", "G T", 5])
def test_methods(bench: Workbench, server: Any, method: Any) -> None:
    with pytest.raises((ValueError, AttributeError)):
        bench.call("http.request", {"method": method or " ", "url": server.url})
    assert server.seen == []


# --- permissions --------------------------------------------------------------------------------------------------


def test_path_patterns_cannot_be_walked_around(bench: Workbench, server: Any) -> None:
    bench.hold(f"network.http 127.0.0.1:{server.port}/v1/*")
    bench.call("http.get", server.url + "/v1/a")
    for path in ("/v2", "/v1/../v2", "/v1/%2e%2e/v2", "/v1/.%2E/v2", "/v1/a/../../v2", "/", "/v1", "//v1/a"):
        with pytest.raises(CapabilityError):
            bench.call("http.get", server.url + path)
    assert [item[1] for item in server.seen] == ["/v1/a"]
    assert bench.call("http.get", server.url + "/x/../v1/b").text() == "/v1/b"


def test_scheme_port_and_host_are_each_judged(bench: Workbench, server: Any) -> None:
    for grant in (
        f"network.https 127.0.0.1:{server.port}",
        "network.http 127.0.0.1",
        f"network.http localhost:{server.port}",
    ):
        bench.hold(grant)
        with pytest.raises(CapabilityError):
            bench.call("http.get", server.url)
    assert server.seen == []


def test_methods_are_judged(bench: Workbench, server: Any) -> None:
    bench.hold(bench.grant(f"network.http 127.0.0.1:{server.port}", methods=["GET"]))
    bench.call("http.get", server.url)
    with pytest.raises(CapabilityError):
        bench.call("http.post", server.url, "x")


def test_own_loopback_is_a_permission_of_its_own(bench: Workbench, server: Any) -> None:
    bench.hold("network.loopback")
    assert bench.call("http.get", server.url).ok()
    assert bench.claims()[-1]["operation"] == "loopback"


def test_the_base_profile_gives_loopback_without_a_grant(bench: Workbench, server: Any) -> None:
    root = bench.hold(loopback=True)
    assert bench.call("http.get", server.url).ok()
    with root.declared([]):
        assert bench.call("http.get", f"http://localhost:{server.port}/").ok()
    with pytest.raises(CapabilityError):
        bench.call("http.get", "http://example.com/")
    bench.hold(loopback=True, denies=("network.loopback",))
    with pytest.raises(CapabilityError):
        bench.call("http.get", server.url)


def test_requests_and_bytes_are_counted(bench: Workbench, server: Any) -> None:
    bench.hold(bench.grant(f"network.http 127.0.0.1:{server.port}", max_requests=2))
    bench.call("http.get", server.url)
    bench.call("http.get", server.url)
    with pytest.raises(CapabilityError, match="max_requests 2 is used up"):
        bench.call("http.get", server.url)
    bench.hold(bench.grant(f"network.http 127.0.0.1:{server.port}", max_bytes=1 << 20))
    bench.call("http.get", server.url + "/big/2")
    with pytest.raises(CapabilityError, match="max_bytes"):
        bench.call("http.get", server.url)


def test_claims_have_the_url_as_written(bench: Workbench, server: Any) -> None:
    bench.call("http.get", server.url + "/a/../b?q=1")
    claim = bench.claims()[-1]
    assert (claim["outcome"], claim["operation"], claim["resource"]) == ("ALLOWED", "http", server.url + "/a/../b?q=1")


# --- redirects ----------------------------------------------------------------------------------------------------

REDIRECTS = [
    ("get", 302, "GET", b""), ("get", 307, "GET", b""), ("get", 308, "GET", b""), ("post", 302, "GET", b""),
    ("post", 303, "GET", b""), ("head", 301, "HEAD", b""),
]  # fmt: skip


@pytest.mark.parametrize(("function", "status", "method", "body"), REDIRECTS)
def test_redirects(bench: Workbench, server: Any, function: str, status: int, method: str, body: bytes) -> None:
    arguments = ("data",) if function == "post" else ()
    assert bench.call(f"http.{function}", f"{server.url}/redirect/{status}/there", *arguments).status() == 200
    assert (sent(server)[0], sent(server)[1], sent(server)[3]) == (method, "/there", body)


def test_a_body_is_not_sent_twice(bench: Workbench, server: Any) -> None:
    assert bench.call("http.post", server.url + "/redirect/307/there", "data").status() == 307


def test_each_hop_is_judged(bench: Workbench, server: Any) -> None:
    with http_server() as other:
        server.places["out"] = f"http://127.0.0.1:{other.port}/stolen"
        with pytest.raises(CapabilityError):
            bench.call("http.get", server.url + "/redirect/302/out")
        assert other.seen == []
        bench.hold(f"network.http 127.0.0.1:{server.port} 127.0.0.1:{other.port}")
        headers = {"Authorization": "Bearer t", "Cookie": "c", "X-Keep": "k"}
        bench.call("http.get", server.url + "/redirect/302/out", headers)
        got = sent(other)[2]
        assert "X-Keep" in got
        assert "Authorization" not in got
        assert "Cookie" not in got
        assert "Authorization" in server.seen[-1][2]


def test_a_redirect_elsewhere_than_http(bench: Workbench, server: Any) -> None:
    for place in ("file:///etc/passwd", "ftp://x/"):
        server.places["out"] = place
        with pytest.raises(ValueError, match="Invalid URL"):
            bench.call("http.get", server.url + "/redirect/302/out")


def test_a_redirect_in_a_circle(bench: Workbench, server: Any) -> None:
    server.places["loop"] = "/redirect/302/loop"
    with pytest.raises(ConnectionError, match="more than 10 redirects"):
        bench.call("http.get", server.url + "/redirect/302/loop")


# --- proxies and TLS ----------------------------------------------------------------------------------------------


def test_http_through_a_proxy(bench: Workbench, server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with http_server(Proxy) as proxy:
        monkeypatch.setenv("http_proxy", f"http://u:p%40@127.0.0.1:{proxy.port}")
        bench.hold("network.http api.example.com")
        assert bench.call("http.get", "http://api.example.com/x?y=1").text() == "by proxy: http://api.example.com/x?y=1"
        assert sent(proxy)[2]["Host"] == "api.example.com"
        assert sent(proxy)[2]["Proxy-Authorization"] == "Basic dTpwQA=="
        with pytest.raises(CapabilityError):
            bench.call("http.get", "http://other.example.com/")
        assert len(proxy.seen) == 1


def test_no_proxy_and_loopback_go_direct(bench: Workbench, server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert bench.call("http.get", server.url).ok()
    rows = [("a.example", "a.example", True), ("b.a.example", "a.example", True), ("xa.example", "a.example", False),
            ("a.example", "*", True), ("a.example", "x, .a.example", True), ("a.example", "", False)]  # fmt: skip
    for host, setting, direct in rows:
        monkeypatch.setenv("no_proxy", setting)
        assert (_url.proxy_for(_url.parse(f"http://{host}/")) is None) is direct


def test_a_program_does_not_choose_its_proxy(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.hold()
    for name in ("http_proxy", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://given:1")
        assert _url.proxy_for(_url.parse("http://a.example/")) == ("given", 1, "")
        bench.call("env.set", name, "http://chosen:1")
        assert _url.proxy_for(_url.parse("http://a.example/")) is None
        bench.call("env.delete", name)


def test_the_capital_variable_is_not_for_http(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("http_proxy", raising=False)
    monkeypatch.setenv("HTTP_PROXY", "http://evil:1")  # a request header under CGI: httpoxy
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    assert _url.proxy_for(_url.parse("http://a.example/")) is None
    assert _url.proxy_for(_url.parse("https://a.example/")) == ("proxy", 3128, "")


def test_https_is_verified_and_goes_through_the_tunnel(
    bench: Workbench, server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, authority = certificate(tmp_path, "api.example.com")
    with http_server(context=context) as secure, http_server(Proxy) as proxy:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.port}")
        url = f"https://api.example.com:{secure.port}"
        bench.hold(f"network.https api.example.com:{secure.port} other.example.com:{secure.port}")
        with pytest.raises(ConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
            bench.call("http.get", url + "/x")
        monkeypatch.setenv("SSL_CERT_FILE", authority)
        assert bench.call("http.get", url + "/x").text() == "/x"
        assert sent(proxy)[:2] == ("CONNECT", f"api.example.com:{secure.port}")
        with pytest.raises(ConnectionError, match="Hostname mismatch"):
            bench.call("http.get", f"https://other.example.com:{secure.port}/x")


# --- URLs ---------------------------------------------------------------------------------------------------------

SPELLINGS = [
    ("http://EXAMPLE.com", "http://example.com/"),
    ("http://example.com:80/a", "http://example.com/a"),
    ("https://example.com:443", "https://example.com/"),
    ("http://example.com:8080/a?b#frag", "http://example.com:8080/a?b"),
    ("http://example.com./x", "http://example.com/x"),
    ("http://exämple.com/ü?ß", "http://xn--exmple-cua.com/%C3%BC?%C3%9F"),
    ("http://example.com/a b", "http://example.com/a%20b"),
    ("http://[::1]:8080/x", "http://[::1]:8080/x"),
    ("http://h/a/./b/../c", "http://h/a/c"),
    ("http://h/..", "http://h/"),
    ("http://h/a/%2e%2e/b", "http://h/b"),
    ("http://h/a/..;/b", "http://h/a/..;/b"),
    ("http://h?x=1", "http://h/?x=1"),
]


@pytest.mark.parametrize(("written", "canonical"), SPELLINGS)
def test_spellings(written: str, canonical: str) -> None:
    assert str(_url.parse(written)) == canonical
    assert str(_url.parse(canonical)) == canonical
