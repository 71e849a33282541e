"""A base profile as `compile` uses it: what `launcher.policy.base` read, and the grants that its view amounts to."""

from __future__ import annotations

from launcher.capability.grant import Grant, Place
from launcher.capability.kinds import BASE_PREFIX, KINDS
from launcher.capability.limits import Limits
from launcher.compile.outside import everywhere_but
from launcher.compile.patterns import literal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from launcher.capability.scope import Scope

_WRITE = ("write", "append")
_ALL_FILE = KINDS["file"].operations
_ALL_PATH = KINDS["path"].operations


class BaseProfile:
    """One base profile. `data` is complete (extends followed); treat it as read-only."""

    __slots__ = ("data",)

    def __init__(self, data: dict[str, Any]) -> None:
        self.data = data

    @property
    def handle(self) -> str:
        return str(self.data["handle"])

    @property
    def limits(self) -> Limits:
        return Limits.from_data(self.data["limits"])

    @property
    def grants(self) -> list[Grant]:
        """What every job of this base holds, as if by a policy `profile:HANDLE`."""
        return [Grant.from_data(item) for item in self.data["grants"]]

    @property
    def denies(self) -> list[Grant]:
        """Denies that hold for every job of this base."""
        return [Grant.from_data(item) for item in self.data["denies"]]

    @property
    def danger(self) -> list[dict[str, Any]]:
        """The entries of the danger list."""
        return self.data.get("danger") or []

    def to_data(self) -> dict[str, Any]:
        """Plain JSON values."""
        return self.data

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> BaseProfile:
        """The inverse of `to_data`."""
        return cls(data)

    def system_directories(self, root_links: dict[str, str]) -> list[str]:
        """Where the view's host directories are: its mounts, and those names in / that are no links here."""
        own = [mount["target"] for mount in self.data["view"]["mounts"]]
        return own + [f"/{name}" for name in self.data["view"]["merged"] if root_links.get(name) == ""]

    def view_grants(self, root_links: dict[str, str], scope: Scope, directories: Iterable[str]) -> list[Grant]:
        """The view as grants of policy `base:HANDLE`, so that the in-process check allows what the kernel shows.

        `directories` are the literal directories of what is granted: they, the home and the workspace exist in the
        sandbox with all above them, and can be listed (they hold nothing that is not granted).
        """
        view = self.data["view"]
        system = [f"{literal(path)}/**" for path in self.system_directories(root_links)]
        etc = [f"/etc/{name}" for name in view["etc"]]
        known = [scope.home, scope.base, *directories]
        private = [text for tmpfs in view["tmpfs"] for text in _private(tmpfs["target"], known)]
        devices = [f"/dev/{name}" for name in view["devices"]]
        leading = [literal(path) for path in ancestors(known)]
        rows: list[tuple[str, tuple[str, ...], list[str]]] = [
            ("file", ("read",), [*system, *etc, *[f"{name}/**" for name in etc], "/proc/**"]),
            ("path", ("read",), [*system, "/etc", *[f"{name}/**" for name in etc], "/proc/**", "/dev", *leading]),
            ("file", ("read", *_WRITE), devices),
            ("file", _ALL_FILE, private),
            ("path", _ALL_PATH, private),
        ]
        policy = BASE_PREFIX + self.handle
        place = Place(str(self.data["place"]))
        return [Grant(kind, ops, tuple(texts), {}, policy, place) for kind, ops, texts in rows if texts]


def _private(target: str, known: list[str]) -> list[str]:
    """What the view grants of a private file system: not the workspace or a granted tree that lies below its name."""
    return everywhere_but(target, [path for path in known if path.startswith(target + "/")])


def ancestors(paths: Iterable[str]) -> list[str]:
    """The paths with every directory above them, sorted, each once; "/" is the first."""
    found = {"/"}
    for path in paths:
        at = path
        while at not in found:
            found.add(at)
            at = at.rpartition("/")[0] or "/"
    return sorted(found)
