"""One HTTP exchange, and the redirects after it. Every hop is checked before a byte is sent to it."""

from __future__ import annotations

import time

from launcher.runtime.context import current
from launcher.runtime.stdlib import _url
from launcher.runtime.stdlib._sigpipe import Ignored

TYPE_CHECKING = False
if TYPE_CHECKING:
    from http.client import HTTPConnection, HTTPResponse
    from socket import socket

    Answer = tuple[int, str, dict[str, str], bytes]

DEFAULT_TIMEOUT = 30.0
MAX_BODY = 10 * 1024 * 1024
MAX_REDIRECTS = 10
CHUNK = 65536
USER_AGENT = "mlsandbox/0.1 (ML http)"

# Made here from the URL and the body. A program that set them could make a request that proxy and server split
# at different places (request smuggling), or one to a host that was not judged (domain fronting).
OWN_HEADERS = frozenset((
    "connection", "content-length", "expect", "host", "keep-alive", "proxy-authorization", "proxy-connection", "te",
    "trailer", "transfer-encoding", "upgrade",
))  # fmt: skip
# What must not follow a redirect to another host (CVE-2018-18074).
CREDENTIALS = frozenset(("authorization", "cookie"))
# Of each redirecting status: whether the method and the body stay (RFC 9110 section 15.4).
REDIRECTS = {301: False, 302: False, 303: False, 307: True, 308: True}


def fetch(method: object, url: object, headers: object, body: object, timeout: object) -> Answer:
    """Status, reason, headers and at most 10 MB of body. Raises ValueError, CapabilityError, ConnectionError.

    `timeout` in seconds is for the whole, redirects included.
    """
    verb, fields = _method(method), _headers(headers)
    content = _content(body, fields)
    if not any(name.lower() == "user-agent" for name in fields):
        fields["User-Agent"] = USER_AGENT
    target = _url.parse(url)
    deadline = time.monotonic() + _timeout(timeout)
    written = str(url)
    for _ in range(MAX_REDIRECTS + 1):
        answer = _one(verb, target, fields, content, deadline, written)
        location = _location(answer)
        if location is None or (answer[0] in {307, 308} and content is not None):
            return answer
        before, target = target, _follow(target, location)
        written = str(target)
        if (before.scheme, before.host, before.port) != (target.scheme, target.host, target.port):
            fields = {name: value for name, value in fields.items() if name.lower() not in CREDENTIALS}
        if not REDIRECTS[answer[0]]:
            verb, content = ("HEAD" if verb == "HEAD" else "GET"), None
            fields = {name: value for name, value in fields.items() if name.lower() != "content-type"}
    raise ConnectionError(f"Network error: more than {MAX_REDIRECTS} redirects")


def _one(
    verb: str, target: _url.Target, fields: dict[str, str], content: bytes | None, deadline: float, written: str
) -> Answer:
    context = current()
    operation = _operation(target, verb)
    decision = context.require(
        "network", operation, target.host, port=target.port, method=verb, path=target.path, request=True,
        written=written,
    )  # fmt: skip
    with Ignored():
        answer = _exchange(verb, target, fields, content, deadline)
    context.charge_bytes(decision, len(answer[3]) + len(content or b""))
    return answer


def _operation(target: _url.Target, verb: str) -> str:
    """The job's own loopback has a permission of its own; other hosts are granted by scheme."""
    if not _url.is_loopback(target.host):
        return target.scheme
    context = current()
    granted = context.allows(
        "network", target.scheme, target.host, port=target.port, method=verb, path=target.path, request=True
    )
    return target.scheme if granted or not context.allows("network", "loopback", target.host) else "loopback"


def _exchange(verb: str, target: _url.Target, fields: dict[str, str], content: bytes | None, deadline: float) -> Answer:
    from http.client import HTTPException

    connection = None
    try:
        connection, selector, extra = _connection(target, deadline)
        connection.request(verb, selector, content, {"Host": target.authority, **fields, **extra})
        # Held here: http.client lets go of the socket when the answer says that it will close.
        connected = connection.sock
        return _answer(connection.getresponse(), connected, deadline)
    except TimeoutError:
        raise TimeoutError("Network error: timed out") from None
    except HTTPException as error:
        raise ConnectionError(f"Network error: {type(error).__name__}: {error}") from None
    except OSError as error:
        raise ConnectionError(f"Network error: {error}") from None
    finally:
        if connection is not None:
            connection.close()


def _connection(target: _url.Target, deadline: float) -> tuple[HTTPConnection, str, dict[str, str]]:
    """A connection to the target or its proxy, what goes in the request line, and the proxy's header."""
    from http.client import HTTPConnection, HTTPSConnection

    proxy = _url.proxy_for(target)
    host, port, user = proxy or (target.host, target.port, "")
    credentials = {"Proxy-Authorization": f"Basic {_base64(user)}"} if user else {}
    if target.scheme == "https":
        import ssl

        secure = HTTPSConnection(host, port, timeout=_left(deadline), context=ssl.create_default_context())
        if proxy:
            secure.set_tunnel(target.host, target.port, headers=credentials)
        return secure, target.selector, {}
    clear = HTTPConnection(host, port, timeout=_left(deadline))
    return (clear, str(target), credentials) if proxy else (clear, target.selector, {})


def _base64(text: str) -> str:
    from binascii import b2a_base64

    return b2a_base64(text.encode(), newline=False).decode("ascii")


def _left(deadline: float) -> float:
    """The seconds that are left. Raises TimeoutError."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _answer(response: HTTPResponse, connected: socket, deadline: float) -> Answer:
    """The first 10 MB of the body. The clock covers the whole: a server that drips a byte at a time gains nothing."""
    pieces: list[bytes] = []
    size = 0
    while size < MAX_BODY:
        connected.settimeout(_left(deadline))
        piece = response.read1(min(CHUNK, MAX_BODY - size))
        if not piece:
            break
        pieces.append(piece)
        size += len(piece)
    headers: dict[str, str] = {}
    for name, value in response.getheaders():
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return response.status, response.reason, headers, b"".join(pieces)


def _location(answer: Answer) -> str | None:
    if answer[0] not in REDIRECTS:
        return None
    return next((value for name, value in answer[2].items() if name.lower() == "location"), None)


def _follow(target: _url.Target, location: str) -> _url.Target:
    from urllib.parse import urljoin

    return _url.parse(urljoin(str(target), location))


# --- what the program gave ----------------------------------------------------------------------------------


def _method(method: object) -> str:
    verb = str(method).upper()
    # CONNECT would make a tunnel of what was judged as a request; TRACE reflects credentials.
    if not isinstance(method, str) or not verb.isascii() or not verb.isalpha() or verb in {"CONNECT", "TRACE"}:
        raise ValueError(f"Invalid HTTP method: {method}")
    return verb


def _headers(headers: object) -> dict[str, str]:
    if headers is None:
        return {}
    if not isinstance(headers, dict):
        raise TypeError(f"headers must be an object, not {type(headers).__name__}")
    fields = {str(name): str(value) for name, value in headers.items()}
    for name, value in fields.items():
        if any(letter in name + value for letter in "\r\n\0") or not name or not (name + value).isprintable():
            raise ValueError(f"Invalid header: {name!r}")
    return {name: value for name, value in fields.items() if name.lower() not in OWN_HEADERS}


def _content(body: object, fields: dict[str, str]) -> bytes | None:
    if body is None:
        return None
    named = any(name.lower() == "content-type" for name in fields)
    if isinstance(body, bytes):
        return body
    if not isinstance(body, str):
        import json

        if not named:
            fields["Content-Type"] = "application/json"
        return json.dumps(body).encode()
    if not named:
        fields["Content-Type"] = "text/plain; charset=utf-8"
    return body.encode()


def _timeout(timeout: object) -> float:
    if timeout is None:
        return DEFAULT_TIMEOUT
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not 0 < timeout < 1e9:
        raise ValueError(f"Invalid timeout: {timeout}")
    return float(timeout)
