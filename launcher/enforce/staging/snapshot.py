"""The granted names of a staged area, copied by descriptor into scratch: the lower that the job sees. [L]

A file that may be changed or listed but not read appears as a placeholder: the same size, none of its content. So a
write grant shows nothing, and an append finds its place. Symbolic links, devices, sockets and fifos are never in a
snapshot.
"""

from __future__ import annotations

import os
import stat

from launcher.capability.paths import PathPattern
from launcher.enforce.staging.baseline import Baseline, File
from launcher.enforce.staging.content import copy, placeholder, placeholder_cost
from launcher.enforce.staging.tree import DIRECTORY, READ, WENT_AWAY, identity, join, names, open_beneath
from launcher.errors import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from launcher.capability.permissions import Permissions
    from launcher.enforce.staging.areas import Area

_DEEPEST = 128  # directories; a tree deeper than this is not a workspace
_CHANGING = (("file", "write"), ("file", "append"), ("file", "delete"))


class Budget:
    """What a snapshot may take of the scratch: bytes of content and names. Raises RefusedError when it is spent."""

    __slots__ = ("bytes", "names")

    def __init__(self, max_disk: int, max_files: int) -> None:
        self.bytes = max_disk
        self.names = max_files

    def take(self, size: int, path: str) -> None:
        self.bytes -= size
        self.names -= 1
        if self.bytes < 0 or self.names < 0:
            limit = "max_disk" if self.bytes < 0 else "max_files"
            raise RefusedError(
                f"the files that are granted for change do not fit into {limit} (at {path})",
                hint=f"raise limits.{limit}, grant narrower patterns, or grant a whole directory as `live`",
            )


class Snapshot:
    """Takes one. The caller has set the fsuid that reads the sources; `owner` (uid, gid) gets the copies."""

    def __init__(self, area: Area, permissions: Permissions, budget: Budget, owner: tuple[int, int]) -> None:
        self._area = area
        self._permissions = permissions
        self._budget = budget
        self._owner = owner
        self._patterns = [
            PathPattern(str(pattern), permissions.scope)
            for grant in permissions.grants
            if grant.type in {"file", "path"}
            for pattern in grant.patterns
        ]
        self._making = [
            PathPattern(str(pattern), permissions.scope)
            for grant in permissions.grants
            if "write" in grant.operations or "append" in grant.operations
            for pattern in grant.patterns
        ]
        self.files: dict[str, File] = {}
        self.warnings: list[str] = []

    def take(self, source: int, target: int) -> Baseline:
        """Copies from the directory `source` (the area's, on the host) to the empty directory `target`.

        Raises RefusedError when it does not fit, OSError when scratch cannot be written.
        """
        self._directory(source, target, "", 0)
        return Baseline(self.files)

    def _directory(self, source: int, target: int, inside: str, depth: int) -> None:
        for name in names(source):
            path = join(inside, name)
            try:
                found = os.stat(name, dir_fd=source, follow_symlinks=False)
                if stat.S_ISDIR(found.st_mode):
                    self._child(source, target, path, found, depth + 1)
                elif stat.S_ISREG(found.st_mode):
                    self._file(source, target, path, found.st_nlink)
            except PermissionError:
                self._unreadable(path)
            except OSError as error:
                if error.errno not in WENT_AWAY:  # as if it had gone before
                    raise

    def _child(self, source: int, target: int, path: str, found: os.stat_result, depth: int) -> None:
        whole = join(self._area.directory, path)
        name = path.rpartition("/")[2]
        shown = self._shown(whole)
        bound = whole in self._area.binds
        if depth > _DEEPEST or not (shown or bound or self._leads_somewhere(whole)):
            return
        self._budget.take(0, whole)
        os.mkdir(name, 0o700, dir_fd=target)
        inner_target = os.open(name, DIRECTORY | os.O_CLOEXEC, dir_fd=target)
        try:
            if not bound:
                self._fill(source, inner_target, path, depth)
            empty = not (shown or bound or os.listdir(inner_target))
            if not empty:
                self._dress(inner_target, found)
        finally:
            os.close(inner_target)
        if empty:  # nothing granted was in it, so its name is not shown
            os.rmdir(name, dir_fd=target)

    def _fill(self, source: int, target: int, path: str, depth: int) -> None:
        try:
            inner = open_beneath(source, path.rpartition("/")[2], DIRECTORY)
        except PermissionError:
            self._unreadable(path)
            return
        try:
            self._directory(inner, target, path, depth)
        finally:
            os.close(inner)

    def _unreadable(self, path: str) -> None:
        self.warnings.append(f"{join(self._area.directory, path)} is granted and the user may not read it")

    def _shown(self, directory: str) -> bool:
        """Whether the directory's own name is granted, or a granted file or directory may be made below it (which needs
        no right to make this one: it is there).

        That something readable may be below it shows no name of it until there is something.
        """
        return (
            any(pattern.could_match_below(directory) for pattern in self._making)
            or bool(self._permissions.decide("path", "write", directory))
            or self._listed(directory)
        )

    def _listed(self, path: str) -> bool:
        """Whether the name itself is granted for listing, not only what may be below it."""
        listed = self._permissions.decide("path", "read", path)
        return listed.allowed and any(grant.type == "path" for grant in listed.deciders)

    def _leads_somewhere(self, directory: str) -> bool:
        return any(pattern.could_match_below(directory) for pattern in self._patterns)

    def _file(self, source: int, target: int, path: str, links: int) -> None:
        whole = join(self._area.directory, path)
        if not any(pattern.matches(whole) for pattern in self._patterns):
            return  # most names of a large tree; asking for a decision costs ten times as much
        reading = self._permissions.decide("file", "read", whole)
        readable = reading.allowed
        if links > 1 and not readable and reading.deciders:
            self.warnings.append(f"{whole} is denied and has {links} names: another one may be granted")
        changing = any(self._permissions.decide(*operation, whole) for operation in _CHANGING)
        # what a rule denies for reading is not shown by a right to list
        if not (readable or changing or (not reading.deciders and self._listed(whole))):
            return
        name = path.rpartition("/")[2]
        flags = READ if readable else os.O_PATH | os.O_NOFOLLOW
        fd = os.open(name, flags | os.O_CLOEXEC, dir_fd=source)
        try:
            self._copy(fd, target, path, readable=readable)
        finally:
            os.close(fd)

    def _copy(self, fd: int, target: int, path: str, *, readable: bool) -> None:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            return  # it became something else since we looked
        cost = found.st_size if readable else placeholder_cost(found.st_size)
        self._budget.take(cost, join(self._area.directory, path))
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        made = os.open(path.rpartition("/")[2], flags, 0o600, dir_fd=target)
        try:
            if readable:
                copy(fd, made, found.st_size)
            else:
                placeholder(made, found.st_size)
            self._dress(made, found)
        finally:
            os.close(made)
        self.files[path] = File(identity(found), found.st_ctime_ns, readable=readable)

    def _dress(self, fd: int, found: os.stat_result) -> None:
        """Owner, mode and times of the copy. Set-id and sticky bits stay behind."""
        mine = os.fstat(fd)
        if (mine.st_uid, mine.st_gid) != self._owner:
            os.fchown(fd, *self._owner)
        os.fchmod(fd, found.st_mode & 0o777)
        os.utime(fd, ns=(found.st_atime_ns, found.st_mtime_ns))


def existing_directory(path: str) -> str:
    """The nearest directory at or above `path`, with no symbolic link in its name; "/" at the end."""
    while path != "/":
        if os.path.isdir(path) and os.path.realpath(path) == path:
            return path
        path = path.rpartition("/")[0] or "/"
    return path
