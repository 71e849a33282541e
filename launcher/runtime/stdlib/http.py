"""ML `http` (and `network`): requests. Error statuses are responses; failures of the network raise `Network error`."""

from __future__ import annotations

from launcher.runtime.library import Object
from launcher.runtime.stdlib._declare import module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar

OPTIONS = frozenset(("body", "headers", "timeout"))


class HttpResponse(Object):
    """What a server answered."""

    __slots__ = ("_content", "_headers", "_reason", "_status")
    methods: ClassVar = {
        "status": "status",
        "statusText": "status_text",
        "headers": "headers",
        "body": "text",
        "text": "text",
        "ok": "ok",
        "json": "json",
        "bytes": "content",
    }

    def __init__(self, status: int, reason: str, headers: dict[str, str], content: bytes) -> None:
        self._status = status
        self._reason = reason
        self._headers = headers
        self._content = content

    def status(self) -> int:
        return self._status

    def status_text(self) -> str:
        return self._reason

    def headers(self) -> dict[str, str]:
        return dict(self._headers)

    def content(self) -> bytes:
        return self._content

    def text(self) -> str:
        """The body in the charset that the server named, UTF-8 by default; what does not decode is replaced."""
        kind = next((value for name, value in self._headers.items() if name.lower() == "content-type"), "")
        charset = kind.lower().partition("charset=")[2].partition(";")[0].strip(" \"'") or "utf-8"
        try:
            return self._content.decode(charset, "replace")
        except (LookupError, UnicodeError):
            return self._content.decode("utf-8", "replace")

    def ok(self) -> bool:
        return 200 <= self._status < 300

    def json(self) -> Any:
        from launcher.runtime.stdlib.json import parse

        return parse(self.text())


def _send(method: str, url: str, headers: Any = None, body: Any = None, timeout: Any = None) -> HttpResponse:
    from launcher.runtime.stdlib import _exchange

    return HttpResponse(*_exchange.fetch(method, url, headers, body, timeout))


def _without_body(method: str) -> Any:
    def call(url: str, headers: Any = None, timeout: Any = None) -> HttpResponse:
        # The first seed calls `network.get(url, data)` with text: that is a body.
        if isinstance(headers, (str, bytes)):
            return _send(method, url, None, headers, timeout)
        return _send(method, url, headers, None, timeout)

    return call


def _with_body(method: str) -> Any:
    def call(url: str, options: Any = None) -> HttpResponse:
        if not isinstance(options, dict) or not OPTIONS.issuperset(options):
            options = {"body": options}
        return _send(method, url, options.get("headers"), options.get("body"), options.get("timeout"))

    return call


def _request(options: dict[str, Any]) -> HttpResponse:
    if "url" not in options:
        raise ValueError("request() needs an object with a url")
    unknown = sorted(str(key) for key in options if key not in OPTIONS | {"method", "url"})
    if unknown:
        raise ValueError(f"request() has no option {unknown[0]!r}")
    method = options.get("method") or "GET"
    return _send(method, options["url"], options.get("headers"), options.get("body"), options.get("timeout"))


def _encode_uri(s: str) -> str:
    from urllib.parse import quote

    return quote(s)


def _decode_uri(s: str) -> str:
    from urllib.parse import unquote

    return unquote(s)


def _encode_query(o: dict[str, Any]) -> str:
    from urllib.parse import urlencode

    return urlencode(o, doseq=True)


def _parse_query(s: str) -> dict[str, Any]:
    from urllib.parse import parse_qs

    found = parse_qs(s.removeprefix("?"), keep_blank_values=True)
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}


_N = "network.http"

MODULE = module(
    "http",
    "Requests to granted hosts, and the coding of URLs.",
    (
        ("get", _without_body("GET"), _N, "get(url[, headers, timeout]): an HttpResponse"),
        ("delete", _without_body("DELETE"), _N, "delete(url[, headers, timeout])"),
        ("head", _without_body("HEAD"), _N, "head(url[, headers, timeout])"),
        ("post", _with_body("POST"), _N, "post(url[, {body, headers, timeout}])"),
        ("put", _with_body("PUT"), _N, "put(url[, {body, headers, timeout}])"),
        ("patch", _with_body("PATCH"), _N, "patch(url[, {body, headers, timeout}])"),
        ("request", _request, _N, "request({method, url, headers, body, timeout})"),
        ("encodeURI", _encode_uri, "", "encodeURI(s): percent-encoded, except /"),
        ("decodeURI", _decode_uri, "", "decodeURI(s)"),
        ("encodeQuery", _encode_query, "", "encodeQuery(o): a=1&b=2"),
        ("parseQuery", _parse_query, "", "parseQuery(s): an object; repeated keys give arrays"),
    ),
)
