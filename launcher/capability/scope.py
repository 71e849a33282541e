"""What `~`, `@base` and relative names mean, and the canonical form of a path.

Pure: symbolic links are the caller's.
"""

from __future__ import annotations

from launcher.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Scope:
    """The user's home, the workspace's root and the job's current directory: absolute paths, made canonical here.

    Raises UsageError for a relative one.
    """

    __slots__ = ("base", "cwd", "home")

    def __init__(self, home: str, base: str, cwd: str = "") -> None:
        self.home = absolute_path(home)
        self.base = absolute_path(base)
        self.cwd = absolute_path(cwd or base)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Scope) and self.to_data() == other.to_data()

    def __hash__(self) -> int:
        return hash((self.home, self.base, self.cwd))

    def __repr__(self) -> str:
        return f"Scope({self.home!r}, {self.base!r}, {self.cwd!r})"

    def to_data(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"home": self.home, "base": self.base, "cwd": self.cwd}

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> Scope:
        """The inverse of `to_data`."""
        return cls(data["home"], data["base"], data["cwd"])


def canonical_path(path: str, scope: Scope) -> str:
    """The absolute path that `path` names: `~`, `@base` and relative resolved; `.`, `..`, `//` and a final `/` removed.

    Idempotent, and defined on every string without NUL (a file may really be called `~x`: only `~`, `~/`, `@base` and
    `@base/` are special). Raises UsageError for an empty path or a NUL, which no system call can express.
    """
    if path == "~" or path.startswith("~/"):
        path = scope.home + path[1:]
    elif path == "@base" or path.startswith("@base/"):
        path = scope.base + path[5:]
    elif path and not path.startswith("/"):
        path = scope.cwd + "/" + path
    return absolute_path(path)


def absolute_path(path: str) -> str:
    """The lexically canonical form of an absolute path. Raises UsageError when it is relative or holds a NUL."""
    if not path.startswith("/") or "\0" in path:
        raise UsageError(f"not an absolute path without NUL: {path!r}")
    if not path.isascii():
        path = normal_bytes(path)
    if "//" not in path and "/." not in path:
        return path.rstrip("/") or "/"
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment not in {"", "."}:
            kept.append(segment)
    return "/" + "/".join(kept)


def normal_bytes(text: str) -> str:
    """`text` as the file system would hand it back: bytes decoded as UTF-8 with surrogateescape.

    Escaped bytes that together are valid UTF-8 become the character; other surrogates are no name. Raises UsageError.
    """
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise UsageError(f"not a file name: {text!r} holds a surrogate that stands for no byte") from None
