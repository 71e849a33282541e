"""URLs: the one spelling that is judged and sent (RFC 3986), and the proxy that a request goes through."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from urllib.parse import SplitResult

DEFAULT_PORTS = {"http": 80, "https": 443}
# Left as they are when a path or query is made plain ASCII: RFC 3986's reserved characters and `%` itself.
SAFE = "/%:?#[]@!$&'()*+,;=~-._"


class Target:
    """Where a request goes. `path` is judged, `query` (with its `?`, or empty) goes along unjudged."""

    __slots__ = ("host", "path", "port", "query", "scheme")

    def __init__(self, scheme: str, host: str, port: int, path: str, query: str) -> None:
        self.scheme = scheme
        self.host = host
        self.port = port
        self.path = path
        self.query = query

    @property
    def authority(self) -> str:
        """The host as a Host header has it: with the port where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def selector(self) -> str:
        """What stands in the request line."""
        return self.path + self.query

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.selector}"


def parse(url: object) -> Target:
    """The target that a URL names, canonical. Raises ValueError `Invalid URL: ...`."""
    from urllib.parse import urlsplit

    from launcher.capability.hosts import canonical_host
    from launcher.errors import DocumentError

    if not isinstance(url, str):
        raise TypeError(f"a URL must be a string, not {type(url).__name__}")
    try:
        parts = urlsplit(url)
        port = parts.port
        host = canonical_host(parts.hostname or "") if parts.hostname else ""
    except (ValueError, DocumentError) as error:
        raise ValueError(f"Invalid URL: {url}: {error}") from None
    _check(parts, url, host)
    path = without_dots(plain(parts.path)) or "/"
    query = f"?{plain(parts.query)}" if parts.query else ""
    return Target(parts.scheme, host, port or DEFAULT_PORTS[parts.scheme], path, query)


def _check(parts: SplitResult, url: str, host: str) -> None:
    if parts.scheme not in DEFAULT_PORTS or not host:
        raise ValueError(f"Invalid URL: {url}")
    if parts.username is not None:
        raise ValueError("Invalid URL: user and password belong in an Authorization header")


def plain(text: str) -> str:
    """Non-ASCII characters, blanks and controls percent-encoded; what is encoded already stays."""
    from urllib.parse import quote

    return quote(text, safe=SAFE)


def without_dots(path: str) -> str:
    """RFC 3986 section 5.2.4, also for `%2e`: a rule on `/v1/*` must not let `/v1/../admin` pass."""
    kept: list[str] = []
    segments = path.split("/")
    for i, segment in enumerate(segments):
        dots = segment.lower().replace("%2e", ".")
        if dots not in {".", ".."}:
            kept.append(segment)
            continue
        if dots == ".." and len(kept) > 1:
            kept.pop()
        if i == len(segments) - 1:
            kept.append("")
    return "/".join(kept)


def proxy_for(target: Target) -> tuple[str, int, str] | None:
    """The proxy's host, port and credentials (`user:password` or ""), from the environment as curl reads it."""
    from urllib.parse import unquote, urlsplit

    setting = _variable(f"{target.scheme}_proxy") or _variable("all_proxy")
    # The proxy is outside: the job's own loopback cannot be reached through it.
    if not setting or is_loopback(target.host) or _bypassed(target):
        return None
    parts = urlsplit(setting if "://" in setting else f"http://{setting}")
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError(f"Network error: unsupported proxy {parts.scheme}://{parts.hostname or ''}")
    user = f"{unquote(parts.username)}:{unquote(parts.password or '')}" if parts.username else ""
    return parts.hostname, parts.port or 80, user


def is_loopback(host: str) -> bool:
    """Whether a canonical host is this machine's own (RFC 1122 3.2.1.3, RFC 4291 2.5.3, RFC 6761 6.3)."""
    return (
        host in {"::1", "localhost"} or host.endswith(".localhost") or (host.startswith("127.") and host[-1].isdigit())
    )


def _variable(name: str) -> str:
    """A proxy variable as the launcher set it. The proxy's host is not judged, so a program may not choose it."""
    from launcher.runtime.stdlib.env import OWN

    if {name, name.upper()} & OWN:
        return ""
    # Lower case first. `HTTP_PROXY` in capitals can be set by a request header under CGI (CVE-2016-5385).
    capitals = "" if name == "http_proxy" else os.environ.get(name.upper(), "")
    return os.environ.get(name, "") or capitals


def _bypassed(target: Target) -> bool:
    """Whether `no_proxy` names the host, a domain above it, or everything."""
    for item in (_variable("no_proxy")).split(","):
        name = item.strip().lower().lstrip(".")
        if name and (name in {"*", target.host} or target.host.endswith("." + name)):
            return True
    return False
