"""Database connections as resources: a canonical URL, exact or everything below a trailing `/`."""

from __future__ import annotations

from launcher.capability.hosts import canonical_host
from launcher.errors import DocumentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

DEFAULT_PORTS = {"postgresql": 5432, "mysql": 3306, "mariadb": 3306, "mssql": 1433, "redis": 6379, "mongodb": 27017}
ALIASES = {"postgres": "postgresql"}
# A database in a file has no authority; it is judged as a path by the file grants as well.
FILE_SCHEMES = ("sqlite",)


class UrlPattern:
    """One connection: `postgresql://db.example.com/app` is itself, `postgresql://db.example.com/` any database there.

    The user name is part of the text only where the pattern has one: a pattern without user is for every user.
    """

    __slots__ = ("any_below", "base", "text", "user")

    def __init__(self, text: str) -> None:
        self.text = text
        self.user, self.base = split_connection(text)
        self.any_below = self.base.endswith("/")

    def matches(self, url: str) -> bool:
        """Whether the connection is covered. A URL that cannot be read matches nothing."""
        try:
            user, base = split_connection(url)
        except DocumentError:
            return False
        if self.user and self.user != user:
            return False
        return base.startswith(self.base) if self.any_below else base == self.base

    def covers(self, other: UrlPattern) -> bool:
        """Whether everything that `other` matches is matched by this one."""
        if self.user and self.user != other.user:
            return False
        return other.base.startswith(self.base) if self.any_below else other.base == self.base

    def meets(self, other: UrlPattern) -> bool:
        """Whether some connection is matched by both."""
        if self.user and other.user and self.user != other.user:
            return False
        if self.any_below and other.base.startswith(self.base):
            return True
        return self.base == other.base or (other.any_below and self.base.startswith(other.base))

    def __repr__(self) -> str:
        return f"UrlPattern({self.text!r})"


def split_connection(url: str) -> tuple[str, str]:
    """The user ("" for none) and the canonical `scheme://host[:port]/database`. Raises DocumentError.

    Query and fragment are refused: libpq's `?host=` would name another server than the one that was judged. A password
    is refused, for grants and needs are printed and logged.
    """
    scheme, separator, rest = url.partition("://")
    scheme = ALIASES.get(scheme.lower(), scheme.lower())
    if not separator or not scheme.isascii() or not scheme.replace("+", "").isalnum():
        _refuse(url, "is not a connection URL", "write it like postgresql://db.example.com/app")
    if any(char in url for char in "?#\\\0%*") or not url.isprintable():
        _refuse(url, "has a query, an escape or a wildcard", "write the bare URL; a final `/` means any database there")
    if any(part in {".", ".."} for part in rest.split("/")):
        _refuse(url, "has a `.` or `..` segment", "write the path without it")
    if scheme in FILE_SCHEMES:
        return "", f"{scheme}://{rest}"
    authority, slash, database = rest.partition("/")
    user, _, server = authority.rpartition("@")
    if ":" in user:
        _refuse(url, "holds a password", "keep it in the keychain")
    return user, f"{scheme}://{_server(server, scheme, url)}{slash}{database}"


def _server(server: str, scheme: str, url: str) -> str:
    host, separator, port = server.rpartition(":") if not server.endswith("]") else (server, "", "")
    if not separator:
        host, port = server, ""
    if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        _refuse(url, f"has no port {port!r}", "ports are 1 to 65535")
    name = canonical_host(host.strip("[]"))
    shown = f"[{name}]" if ":" in name else name
    return f"{shown}:{port}" if port and int(port) != DEFAULT_PORTS.get(scheme) else shown


def _refuse(url: str, what: str, hint: str) -> NoReturn:
    raise DocumentError(f"connection {url[:80]!r} {what}", hint=hint)
