"""Phase 1 of a commit: each accepted file as a temporary beside its target, looking as the target will. [L]

An existing file keeps owner, mode, ACL and extended attributes; a new one gets 0666 without the umask and without what
the job took away. Set-id bits are never set: the kernel, too, drops them when somebody writes.
"""

from __future__ import annotations

import os
import stat

from launcher.enforce.staging.changes import APPENDED, MKDIR, RMDIR
from launcher.enforce.staging.content import append, begins_with, copy
from launcher.enforce.staging.plan import inner_path
from launcher.enforce.staging.steps import CREATE, REMOVE, ConflictError, as_listed
from launcher.enforce.staging.tree import READ, identity, join, look, open_beneath, open_directory, split
from launcher.kernel import libc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from launcher.enforce.staging.judge import Judged
    from launcher.enforce.staging.layers import Layers, Places
    from launcher.enforce.staging.steps import Step

    Failed = Callable[[Judged, str, str], None]

_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# Capabilities and integrity labels belong to the old content; a write drops them (security.capability), or the kernel
# makes them anew. trusted.* is not a user's.
_DROPPED_XATTRS = ("security.capability", "security.ima", "security.evm", "trusted.")


_ACL = "system.posix_acl_access"


class RefusedStepError(Exception):
    """The host's file is one that a commit does not replace. The reason is for people."""


class Preparer:
    """`failed(item, outcome, reason)` is told of single files of a new directory that could not be made."""

    def __init__(self, layers: dict[str, Layers], places: Places, umask: int, failed: Failed) -> None:
        self._layers = layers
        self._places = places
        self._umask = umask
        self._failed = failed
        self.break_links = False

    def prepare(self, step: Step, removed: set[tuple[str, str]]) -> None:
        """Makes what the step will put in place; `removed` are (area, path) that other steps remove first.

        Raises ConflictError (the host changed since launch), RefusedStepError, OSError. Nothing but the step's
        temporary is touched.
        """
        directory = self._places.directory(step.area, step.parent)
        layers = self._layers[step.area]
        if step.kind == REMOVE:
            self._expect_removal(step, directory, layers)
            return
        found = look(directory, step.name)
        if step.kind == CREATE:
            if found is not None and (step.area, step.inside) not in removed:
                raise ConflictError("something of that name was made on the host meanwhile")
            self._create(step, directory, layers)
        else:
            self._replace(step, directory, layers, found)

    # --- new files and directories ----------------------------------------------------------------------------------

    def _create(self, step: Step, directory: int, layers: Layers) -> None:
        if step.items[0].change.kind == MKDIR:
            os.mkdir(step.temporary, 0o700, dir_fd=directory)
            self._fill(step, directory, layers)
        else:
            self._new_file(directory, step.temporary, step.items[0], layers)
        step.made = identity(os.stat(step.temporary, dir_fd=directory, follow_symlinks=False))

    def _fill(self, step: Step, directory: int, layers: Layers) -> None:
        top = open_directory(directory, step.temporary)
        try:
            for item in list(step.items[1:]):
                self._one_inside(step, top, item, layers)
            for item in reversed(step.items):  # modes last: a directory without the right to write could not be filled
                if item.change.kind == MKDIR:
                    self._finish_directory(top, inner_path(step, item), item.change.mode)
        finally:
            os.close(top)

    def _one_inside(self, step: Step, top: int, item: Judged, layers: Layers) -> None:
        parent, name = split(inner_path(step, item))
        try:
            inner = open_beneath(top, parent, os.O_PATH | os.O_DIRECTORY)
            try:
                if item.change.kind == MKDIR:
                    os.mkdir(name, 0o700, dir_fd=inner)
                else:
                    self._new_file(inner, name, item, layers)
            finally:
                os.close(inner)
        except OSError as error:
            step.items.remove(item)
            self._failed(item, "failed", error.strerror or str(error))

    def _finish_directory(self, top: int, inside: str, mode: int) -> None:
        fd = open_directory(top, inside)
        try:
            os.fchmod(fd, 0o777 & ~self._umask & mode)
            os.fsync(fd)
        finally:
            os.close(fd)

    def _new_file(self, directory: int, name: str, item: Judged, layers: Layers) -> None:
        source = self._source(item, layers)
        try:
            fd = os.open(name, _NEW, 0o600, dir_fd=directory)
            try:
                copy(source, fd, item.change.size)
                os.fchmod(fd, 0o666 & ~self._umask & item.change.mode)
            except OSError:
                os.unlink(name, dir_fd=directory)
                raise
            finally:
                os.close(fd)
        finally:
            os.close(source)

    def _source(self, item: Judged, layers: Layers) -> int:
        return open_beneath(layers.upper, item.change.inside, READ)

    # --- existing files ---------------------------------------------------------------------------------------------

    def _replace(self, step: Step, directory: int, layers: Layers, found: os.stat_result | None) -> None:
        item = step.items[0]
        if found is None:
            raise ConflictError("it was removed on the host meanwhile")
        if not stat.S_ISREG(found.st_mode):
            raise RefusedStepError("on the host it is not a regular file")
        if found.st_nlink > 1 and not self.break_links:
            raise RefusedStepError(f"the host's file has {found.st_nlink} names, and a commit replaces only this one")
        fd = os.open(step.temporary, _NEW, 0o600, dir_fd=directory)
        try:
            if item.change.kind == APPENDED:
                found = self._appended(step, directory, layers, fd)
            elif layers.baseline.unchanged(item.change.inside, found):
                self._copied(item, layers, fd)
            else:
                raise ConflictError("it was changed on the host meanwhile")
            self._dress(fd, directory, step.name, found)
        finally:
            os.close(fd)
        step.expected = identity(found)
        step.made = identity(os.stat(step.temporary, dir_fd=directory, follow_symlinks=False))

    def _copied(self, item: Judged, layers: Layers, fd: int) -> None:
        source = self._source(item, layers)
        try:
            copy(source, fd, item.change.size)
        finally:
            os.close(source)

    def _appended(self, step: Step, directory: int, layers: Layers, fd: int) -> os.stat_result:
        """The host's file as it is now, and what the job added: two jobs that log to one file do not conflict."""
        item = step.items[0]
        host, source = open_beneath(directory, step.name, READ), self._source(item, layers)
        try:
            found = os.fstat(host)
            if not self._still_begins(item, layers, host, found):
                raise ConflictError("it does not begin any more with what the job saw")
            final = found.st_size + item.change.size - item.change.old_size
            if all(final > size for size in _size_limits(item)):
                raise RefusedStepError(f"with what was added on the host it would have {final} bytes, too many")
            copy(host, fd, found.st_size)
            append(source, fd, item.change.old_size, item.change.size)
            if identity(os.fstat(host)) != identity(found):
                raise ConflictError("it was written to on the host meanwhile")
            return found
        finally:
            os.close(host)
            os.close(source)

    def _still_begins(self, item: Judged, layers: Layers, host: int, found: os.stat_result) -> bool:
        inside, old_size = item.change.inside, item.change.old_size
        if layers.baseline.unchanged(inside, found):
            return True
        if not layers.baseline.readable(inside):
            return layers.baseline.same_file(inside, found) and found.st_size >= old_size
        lower = open_beneath(layers.lower, inside, READ)
        try:
            return found.st_size >= old_size and begins_with(host, lower, old_size)
        finally:
            os.close(lower)

    def _dress(self, fd: int, directory: int, name: str, found: os.stat_result) -> None:
        os.fchmod(fd, stat.S_IMODE(found.st_mode) & 0o1777)
        _keep_xattrs(fd, directory, name)
        mine = os.fstat(fd)
        if (mine.st_uid, mine.st_gid) != (found.st_uid, found.st_gid):
            _keep_owner(fd, directory, name, found)  # last: afterwards the file is not ours to change

    # --- removals ---------------------------------------------------------------------------------------------------

    def _expect_removal(self, step: Step, directory: int, layers: Layers) -> None:
        found = look(directory, step.name)
        if found is None:
            raise ConflictError("it was removed on the host already")
        step.expected = identity(found)
        if not stat.S_ISDIR(found.st_mode):
            if not layers.baseline.unchanged(step.inside, found):
                raise ConflictError("it was changed on the host meanwhile")
            return
        if step.items[0].change.kind != RMDIR:
            raise ConflictError("on the host it is a directory now")
        step.manifest = {}
        for item in step.items:
            path = inner_path(step, item)
            if path:
                step.manifest[path] = self._expected_inside(directory, join(step.name, path), item, layers)
        if not as_listed(step, directory, step.name):
            raise ConflictError("it holds what the job did not see")

    def _expected_inside(self, directory: int, path: str, item: Judged, layers: Layers) -> tuple[int, int, int, int]:
        fd = open_beneath(directory, path, os.O_PATH | os.O_NOFOLLOW)
        try:
            found = os.fstat(fd)
        finally:
            os.close(fd)
        whole = stat.S_ISDIR(found.st_mode) or layers.baseline.unchanged(item.change.inside, found)
        if not whole:
            raise ConflictError(f"{item.change.path} was changed on the host meanwhile")
        return identity(found)


def _size_limits(item: Judged) -> list[float]:
    limits = [grant.constraints.get("max_file_size") for grant in item.deciders]
    return [float("inf") if limit is None else float(limit) for limit in limits] or [float("inf")]


def _keep_owner(fd: int, directory: int, name: str, found: os.stat_result) -> None:
    """Gives the new file the old one's owner, if the user may write to the old one; only a root launcher can."""
    try:
        os.close(os.open(name, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory))
        _with_roots_rights(lambda: os.fchown(fd, found.st_uid, found.st_gid))
    except PermissionError:
        raise RefusedStepError(f"it belongs to uid {found.st_uid}, gid {found.st_gid}, which cannot be kept") from None


def _with_roots_rights(action: Callable[[], None]) -> None:
    """A root launcher commits with the user's fsuid or effective uid, and so without the capability to change owners:
    it takes it back for this one call, on a descriptor of its own file.
    """
    real, effective, saved = os.getresuid()
    if effective != 0 and 0 not in (real, saved):
        action()
        return
    before = libc.setfsuid(0) if effective == 0 else 0
    os.seteuid(0)
    try:
        action()
    finally:
        os.seteuid(effective)
        if effective == 0:
            libc.setfsuid(before)


def _keep_xattrs(fd: int, directory: int, name: str) -> None:
    try:
        old = os.open(name, READ | os.O_CLOEXEC, dir_fd=directory)
    except PermissionError:
        return  # the user may not read it, nor its attributes
    try:
        kept = [xattr for xattr in os.listxattr(old) if not xattr.startswith(_DROPPED_XATTRS)]
        for xattr in kept:
            _set_xattr(fd, xattr, os.getxattr(old, xattr))
        if _ACL in os.listxattr(fd) and _ACL not in kept:
            os.removexattr(fd, _ACL)  # from the directory's default list; the old file had none
    finally:
        os.close(old)


def _set_xattr(fd: int, name: str, value: bytes) -> None:
    try:
        os.setxattr(fd, name, value)
    except OSError as error:
        if not name.startswith("security."):  # a label (SELinux) is the policy's of the directory
            raise RefusedStepError(f"its extended attribute {name} cannot be kept: {error.strerror}") from None
