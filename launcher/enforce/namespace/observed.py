"""Which refusals a job must have met, judged from what it asked for, its view, the host and the grants.

The question is read from memory that the job can change and the answer of the kernel is not seen, so every row is a
claim: good for finding the grant to ask for, no proof of anything.
"""

from __future__ import annotations

import os
import stat
import time
from typing import TYPE_CHECKING

from launcher.capability.kinds import BASE_PREFIX
from launcher.capability.permissions import Permissions
from launcher.enforce.namespace.plan.programs import Programs
from launcher.kernel import pathcalls

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from launcher.enforce.namespace.hostview import Found, HostView

_WRITING = os.O_WRONLY | os.O_RDWR
_AT_REMOVEDIR = 0x200
_NOT_IN_VIEW = "it is not in the job's view"
_NOT_WRITABLE = "it is read-only in the job's view"
_NOT_LISTED = "what the directory holds is not in the job's view"
_NOT_READABLE = "its name may be listed, and it may not be read"
_NO_EXEC = "no program may be started"
Row = dict[str, str]


class InView:
    """What stands at a path in the job's own view: nothing, or something on a mount that can be written or not."""

    __slots__ = ("is_directory", "present", "writable")

    def __init__(self, *, present: bool, is_directory: bool = False, writable: bool = False) -> None:
        self.present = present
        self.is_directory = is_directory
        self.writable = writable


class Judge:
    """The grants of one profile as a question about observed calls."""

    def __init__(self, profile: dict[str, Any], host: HostView, view: Callable[[str], InView], *, execs: bool) -> None:
        """`view` looks into the job's root; `execs` is whether later programs may be started at all."""
        self._permissions = Permissions.from_data(profile["permissions"])
        self._granted = _without_view(profile["permissions"])
        self._places = _and_above(profile["workspace"], profile["user"]["home"])
        self._programs = Programs(profile["commands"])
        self._path = {os.path.realpath(directory) for directory in profile["commands"]["path"]}
        self._host = host
        self._view = view
        self._execs = execs

    def rows(self, want: str, path: str, flags: int = 0) -> list[Row]:
        """The refusals that asking for `path` (absolute, as the job sees it) must have met."""
        if path.startswith("/proc/") or "\0" in path:
            return []
        if want == pathcalls.UNLINK and flags & _AT_REMOVEDIR:
            want = pathcalls.RMDIR
        rows = getattr(self, f"_{want}")(path, flags)
        return [row for row in rows if row]

    def _look(self, path: str, _flags: int) -> list[Row | None]:
        if self._view(path).present:
            return []
        return [self._missing(path)]

    def _open(self, path: str, flags: int) -> list[Row | None]:
        writes = flags & (_WRITING | os.O_CREAT | os.O_TRUNC)
        seen = self._view(path)
        missing = not flags & os.O_CREAT and not self._host.look(path)  # then it is missing for everybody
        rows = (
            [self._written(path, seen, "append" if flags & os.O_APPEND else "write")] if writes and not missing else []
        )
        if writes and not flags & os.O_RDWR:
            return rows
        if not seen.present:
            return [*rows, self._missing(path)]
        return [*rows, self._unlisted(path) if seen.is_directory else self._listed_only(path)]

    def _write(self, path: str, _flags: int) -> list[Row | None]:
        return [self._written(path, self._view(path), "write")]

    def _make(self, path: str, _flags: int) -> list[Row | None]:
        return [self._written(path, self._view(path), "write")]

    def _mkdir(self, path: str, _flags: int) -> list[Row | None]:
        seen = self._view(path)
        return [] if seen.present else [self._changed(path, "path", "write")]

    def _rmdir(self, path: str, _flags: int) -> list[Row | None]:
        return [self._changed(path, "path", "write")] if self._host.look(path) else []

    def _unlink(self, path: str, _flags: int) -> list[Row | None]:
        found = self._host.look(path)
        return [self._changed(path, "path" if found.is_directory else "file", "delete")] if found else []

    def _connect(self, path: str, _flags: int) -> list[Row | None]:
        found = self._host.look(path)
        if found is None or not stat.S_ISSOCK(found.mode) or self._view(path).present:
            return []
        return [self._row("socket", "connect", found.path, path, _NOT_IN_VIEW)]

    def _exec(self, path: str, _flags: int) -> list[Row | None]:
        if self._execs and self._view(path).present:
            return []
        found = self._host.look(path)
        if found is None or not found.is_file or not found.mode & 0o111:
            return []
        return [self._program(path, found, _NOT_IN_VIEW if self._execs else _NO_EXEC)]

    # -- rows ----------------------------------------------------------------------------------------------------------

    def _missing(self, path: str) -> Row | None:
        found = self._host.look(path)
        if found is None:
            return None
        if found.is_file and found.mode & 0o111 and os.path.dirname(found.path) in self._path:
            return self._program(path, found, _NOT_IN_VIEW)
        kind, operation = _wanted(found)
        if not kind or not _may(found.path, os.R_OK):
            return None
        return self._row(kind, operation, found.path, path, _NOT_IN_VIEW)

    def _unlisted(self, path: str) -> Row | None:
        found = self._host.look(path)
        if found is None or not found.is_directory or not _may(found.path, os.R_OK):
            return None
        # the workspace, the home and what is above them exist for every job, with nothing in them but what is granted
        by = self._granted if found.path in self._places else self._permissions
        return self._row("path", "read", found.path, path, _NOT_LISTED, by)

    def _listed_only(self, path: str) -> Row | None:
        """A file that is in view because its directory may be listed: Landlock refuses to open it."""
        found = self._host.look(path)
        if found is None or not found.is_file or not _may(found.path, os.R_OK):
            return None
        return self._row("file", "read", found.path, path, _NOT_READABLE)

    def _written(self, path: str, seen: InView, operation: str) -> Row | None:
        if seen.is_directory:
            return None
        return self._changed(path, "file", operation)

    def _changed(self, path: str, kind: str, operation: str) -> Row | None:
        above, _, name = path.rpartition("/")
        directory = self._host.look(above or "/")
        if directory is None or not directory.is_directory or name in ("", ".", ".."):
            return None
        parent = self._view(above or "/")
        existing = self._view(path)
        if existing.writable if existing.present else parent.writable:
            return None  # staged, or the job's own: what is not granted is refused, and reported, at the commit
        if not _may(directory.path, os.W_OK) and not _may(f"{directory.path}/{name}", os.W_OK):
            return None
        reason = _NOT_WRITABLE if parent.present else _NOT_IN_VIEW
        if kind == "path":
            operation = "write"
        return self._row(kind, operation, f"{directory.path.rstrip('/')}/{name}", path, reason)

    def _program(self, path: str, found: Found, reason: str) -> Row | None:
        name = os.path.basename(path)
        bare = self._programs.resolve(name) == found.path
        kind = self._programs.kind(found.path)
        return {
            "capability": kind, "operation": "execute", "resource": name if bare else found.path, "asked": path,
            "reason": reason,
        }  # fmt: skip

    def _row(
        self, kind: str, operation: str, resource: str, asked: str, reason: str, by: Permissions | None = None
    ) -> Row | None:
        if (by or self._permissions).decide(kind, operation, resource, now=time.time()).allowed:
            return None
        return {"capability": kind, "operation": operation, "resource": resource, "asked": asked, "reason": reason}


def _without_view(permissions: dict[str, Any]) -> Permissions:
    """The permissions without what every job of the base profile sees."""
    grants = [grant for grant in permissions["grants"] if not grant["policy"].startswith(BASE_PREFIX)]
    return Permissions.from_data({**permissions, "grants": grants})


def _and_above(*paths: str) -> set[str]:
    """The paths and all directories above them."""
    found = {"/"}
    for path in paths:
        while path not in found:
            found.add(path)
            path = os.path.dirname(path)  # noqa: PLW2901  one step up
    return found


def _wanted(found: Found) -> tuple[str, str]:
    if found.is_directory:
        return "path", "read"
    if found.is_file:
        return "file", "read"
    return ("device", "use") if stat.S_ISCHR(found.mode) or stat.S_ISBLK(found.mode) else ("", "")


def _may(path: str, mode: int) -> bool:
    """Whether these ids could: what Unix permissions refuse is no question of grants."""
    try:
        return os.access(path, mode)
    except (OSError, ValueError):
        return False
