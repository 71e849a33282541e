"""What a job did, from its overlay's upper layer and the lower. [L]

In the upper a removed name is a whiteout (character device 0/0, or an empty file with the xattr), and a directory
whose lower is hidden is opaque (Documentation/filesystems/overlayfs.rst). The job is over: nothing moves in scratch.
"""

from __future__ import annotations

import os
import stat

from launcher.enforce.staging.content import OTHER, PREFIX, SAME, compare, partly_written
from launcher.enforce.staging.tree import DIRECTORY, READ, WENT_AWAY, join, look, names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

CREATED, MODIFIED, APPENDED, REMOVED = "created", "modified", "appended", "removed"
MKDIR, RMDIR, MODE, SPECIAL = "mkdir", "rmdir", "mode", "special"
KINDS = (CREATED, MODIFIED, APPENDED, REMOVED, MKDIR, RMDIR, MODE, SPECIAL)

_XATTR_PREFIXES = ("user.overlay.", "trusted.overlay.")
_DEEPEST = 128  # as in snapshots: descriptors are held on the way down, and names stay below PATH_MAX
_LONGEST = 4000
_SPECIAL_NAMES = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a fifo",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}


class Change:
    """One thing that is different from the lower.

    `area` is the area's name, `inside` the path relative to it, `path` the canonical path on the host. `size` and
    `old_size` are bytes, `mode` permission bits. `flaw` says why it can never be committed ("" where it can).
    """

    __slots__ = ("area", "flaw", "inside", "kind", "mode", "old_size", "path", "size")

    def __init__(self, kind: str, area: str, directory: str, inside: str, **details: int | str) -> None:
        self.kind = kind
        self.area = area
        self.inside = inside
        self.path = join(directory, inside)
        self.size = int(details.get("size", 0))
        self.old_size = int(details.get("old_size", 0))
        self.mode = int(details.get("mode", 0))
        self.flaw = str(details.get("flaw", ""))

    def __repr__(self) -> str:
        return f"Change({self.kind!r}, {self.path!r})"


def changes(
    upper: int, lower: int, area: str, directory: str, readable: Callable[[str], bool] = lambda _path: True
) -> list[Change]:
    """The changes of one area, parents before children, by name.

    `upper` and `lower` are descriptors of the layers' directories; `directory` is the area's on the host. `readable`
    says of a path in the area whether the lower's content is the file's own (else a placeholder's). Raises OSError.
    """
    walk = _Walk(area, directory, readable)
    walk.directory(upper, lower, "", 0, opaque=False)
    return walk.found


class _Walk:
    def __init__(self, area: str, directory: str, readable: Callable[[str], bool]) -> None:
        self._area = area
        self._root = directory
        self._readable = readable
        self.found: list[Change] = []

    def _add(self, kind: str, inside: str, **details: int | str) -> None:
        self.found.append(Change(kind, self._area, self._root, inside, **details))

    def directory(self, upper: int, lower: int | None, inside: str, depth: int, *, opaque: bool) -> None:
        present = names(upper)
        for name in present:
            self._settled(upper, lower, join(inside, name), depth + 1, opaque=opaque)
        if opaque and lower is not None:
            for name in names(lower):
                if name not in present:
                    self._gone_if_there(lower, join(inside, name))

    def _settled(self, upper: int, lower: int | None, path: str, depth: int, *, opaque: bool) -> None:
        """An entry; without its lower if that one, a live directory, changes while we look. The commit then finds that
        the host changed, and says so.
        """
        before = len(self.found)
        try:
            self._entry(upper, lower, path, depth, opaque=opaque)
        except OSError as error:
            if lower is None or error.errno not in WENT_AWAY:
                raise
            del self.found[before:]
            self._entry(upper, None, path, depth, opaque=opaque)

    def _gone_if_there(self, lower: int, path: str) -> None:
        before = len(self.found)
        try:
            self._gone(lower, path)
        except OSError as error:
            if error.errno not in WENT_AWAY:
                raise
            del self.found[before:]

    def _entry(self, upper: int, lower: int | None, path: str, depth: int, *, opaque: bool) -> None:
        name = path.rpartition("/")[2]
        found = os.stat(name, dir_fd=upper, follow_symlinks=False)
        old = look(lower, name) if lower is not None else None
        if _is_whiteout(upper, name, found):
            if old is not None and lower is not None:
                self._gone(lower, path)
        elif depth > _DEEPEST or len(os.fsencode(join(self._root, path))) > _LONGEST:
            self._add(SPECIAL, path, flaw=f"more than {_DEEPEST} directories deep, or {_LONGEST} bytes long")
        elif stat.S_ISDIR(found.st_mode):
            self._directory_entry(upper, lower, path, (found, old), depth, opaque=opaque)
        elif stat.S_ISREG(found.st_mode):
            self._file_entry(upper, lower, path, found, old)
        else:
            self._add(SPECIAL, path, flaw=_SPECIAL_NAMES.get(stat.S_IFMT(found.st_mode), "not a file"))

    def _directory_entry(
        self,
        upper: int,
        lower: int | None,
        path: str,
        stats: tuple[os.stat_result, os.stat_result | None],
        depth: int,
        *,
        opaque: bool,
    ) -> None:
        """A directory of the upper. Below an opaque one the lower is hidden all the way down, without further marks."""
        found, old = stats
        name = path.rpartition("/")[2]
        inner = _open(upper, name, DIRECTORY, found)
        below: int | None = None
        try:
            if old is not None and stat.S_ISDIR(old.st_mode) and lower is not None:
                below = os.open(name, DIRECTORY | os.O_CLOEXEC, dir_fd=lower)
                if stat.S_IMODE(found.st_mode) & 0o777 != stat.S_IMODE(old.st_mode) & 0o777:
                    self._add(MODE, path, mode=found.st_mode & 0o777)
            else:
                if old is not None and lower is not None:
                    self._gone(lower, path)
                self._add(MKDIR, path, mode=found.st_mode & 0o777)
            self.directory(inner, below, path, depth, opaque=opaque or _is_opaque(inner))
        finally:
            os.close(inner)
            if below is not None:
                os.close(below)

    def _file_entry(
        self, upper: int, lower: int | None, path: str, found: os.stat_result, old: os.stat_result | None
    ) -> None:
        mode = found.st_mode & 0o777
        if old is None or lower is None:
            self._add(CREATED, path, size=found.st_size, mode=mode)
        elif stat.S_ISREG(old.st_mode):
            self._changed_file(upper, lower, path, found, old)
        else:
            self._gone(lower, path)
            self._add(CREATED, path, size=found.st_size, mode=mode)

    def _changed_file(self, upper: int, lower: int, path: str, found: os.stat_result, old: os.stat_result) -> None:
        name = path.rpartition("/")[2]
        new_fd, old_fd = _open(upper, name, READ, found), os.open(name, READ | os.O_CLOEXEC, dir_fd=lower)
        try:
            outcome = compare(new_fd, old_fd)
            partial = outcome == OTHER and not self._readable(path) and partly_written(new_fd, old_fd)
        finally:
            os.close(new_fd)
            os.close(old_fd)
        mode = found.st_mode & 0o777
        details: dict[str, int | str] = {"size": found.st_size, "old_size": old.st_size, "mode": mode}
        if partial:
            details["flaw"] = "written in part, without the right to read the rest"
        if outcome != SAME:
            self._add(APPENDED if outcome == PREFIX else MODIFIED, path, **details)
        elif mode != old.st_mode & 0o777:
            self._add(MODE, path, mode=mode)

    def _gone(self, lower: int, path: str, depth: int = 0) -> None:
        """The lower's file, or directory with all below it, is removed: children first, as they must go first."""
        name = path.rpartition("/")[2]
        old = os.stat(name, dir_fd=lower, follow_symlinks=False)
        if not stat.S_ISDIR(old.st_mode):
            self._add(REMOVED, path, old_size=old.st_size)
            return
        if depth > _DEEPEST:
            self._add(SPECIAL, path, flaw=f"more than {_DEEPEST} directories deep")
            return
        inner = os.open(name, DIRECTORY | os.O_CLOEXEC, dir_fd=lower)
        try:
            for child in names(inner):
                self._gone(inner, join(path, child), depth + 1)
        finally:
            os.close(inner)
        self._add(RMDIR, path)


def _open(directory: int, name: str, flags: int, found: os.stat_result) -> int:
    """Opens a file of scratch that the job may have taken all rights from. It is lstat'ed, and nothing runs there."""
    try:
        return os.open(name, flags | os.O_CLOEXEC, dir_fd=directory)
    except PermissionError:
        os.chmod(name, 0o700 | stat.S_IMODE(found.st_mode), dir_fd=directory)
        return os.open(name, flags | os.O_CLOEXEC, dir_fd=directory)


def _is_whiteout(directory: int, name: str, found: os.stat_result) -> bool:
    if stat.S_ISCHR(found.st_mode):
        return found.st_rdev == 0
    if not stat.S_ISREG(found.st_mode) or found.st_size:
        return False
    fd = _open(directory, name, READ, found)
    try:
        return any(_xattr(fd, f"{prefix}whiteout") is not None for prefix in _XATTR_PREFIXES)
    finally:
        os.close(fd)


def _is_opaque(fd: int) -> bool:
    return any(_xattr(fd, f"{prefix}opaque") == b"y" for prefix in _XATTR_PREFIXES)


def _xattr(fd: int, name: str) -> bytes | None:
    try:
        return os.getxattr(fd, name)
    except OSError:  # ENODATA, ENOTSUP, and EPERM for trusted.* where we are nobody
        return None
