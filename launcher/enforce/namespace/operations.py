"""The steps that assemble a job's view, as data: each can be described, serialised and executed (mkosi's shape).

They run in the child, in user namespace 1, against `root`, the descriptor of the new root's tmpfs. Targets are
absolute paths of the sandbox. A target is made only on file systems of our own: never a stub on the host.
"""

from __future__ import annotations

import errno
import os
import stat

from launcher.errors import EnforcementError
from launcher.kernel import libc, mount
from launcher.kernel.abi import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from launcher.enforce.namespace.spec import Identity

_BENEATH = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS
_DIRECTORY_MODE = 0o755
_NOTHING = ("ro", "nosuid", "nodev", "noexec")


class View:
    """What the operations share: the new root and the file systems that are the sandbox's own."""

    __slots__ = ("_covers", "_near", "_near_path", "own", "root")

    def __init__(self, root: int) -> None:
        self.root = root
        self.own = {os.fstat(root).st_dev}
        self._covers: dict[bool, int] = {}
        self._near = -1
        self._near_path = ""

    def directory(self, path: str) -> int:
        """A descriptor of the directory `path`, relative to the new root. Raises OSError.

        Steps come in runs for one directory (/etc, /proc), so the last one is kept, until something covers it.
        """
        if path != self._near_path:
            found = libc.openat2(self.root, path, os.O_PATH | os.O_DIRECTORY, 0, _BENEATH)
            self._forget()
            self._near, self._near_path = found, path
        return os.dup(self._near)

    def cover(self, target: str) -> None:
        """To be called before something is mounted at `target`: what was there is not what is there then."""
        path = target.strip("/")
        if self._near_path == path or self._near_path.startswith(f"{path}/"):
            self._forget()

    def _forget(self) -> None:
        if self._near >= 0:
            os.close(self._near)
        self._near, self._near_path = -1, ""

    def covering(self, *, directory: bool) -> int:
        """A detached read-only mount of an empty directory, or of the sandbox's /dev/null.

        Made once and cloned from where it is attached, with its flags: one file system for all, two calls for each.
        """
        if directory in self._covers:
            return mount.clone_one(self._covers[directory])
        made = self._empty() if directory else self._null()
        self._covers[directory] = os.dup(made)
        return made

    def _empty(self) -> int:
        return mount.filesystem("tmpfs", {"size": "0", "nr_inodes": "2", "mode": "0555"}, _NOTHING)

    def _null(self) -> int:
        null = libc.openat2(self.root, "dev/null", os.O_PATH, 0, _BENEATH)
        try:
            return mount.clone_tree(null, ("ro", "nosuid", "noexec"))
        finally:
            os.close(null)


def open_parent(view: View, path: str) -> tuple[int, str]:
    """A descriptor of the directory that holds `path` in the new root, made where missing, and the last name."""
    above, _, name = path.strip("/").rpartition("/")
    if above:
        try:
            return view.directory(above), name
        except FileNotFoundError:
            pass
    return _make_parents(view, above.split("/") if above else [], path), name


def _make_parents(view: View, parents: list[str], path: str) -> int:
    here = os.dup(view.root)
    try:
        for part in parents:
            below = _enter(view, here, part, path)
            os.close(here)
            here = below
    except BaseException:
        os.close(here)
        raise
    return here


def _enter(view: View, directory: int, name: str, path: str) -> int:
    flags = os.O_PATH | os.O_DIRECTORY
    try:
        return libc.openat2(directory, name, flags, 0, _BENEATH)
    except FileNotFoundError:
        _check_own(view, directory, path)
        os.mkdir(name, _DIRECTORY_MODE, dir_fd=directory)
        return libc.openat2(directory, name, flags, 0, _BENEATH)


def _check_own(view: View, directory: int, path: str) -> None:
    # A missing mount point inside a bound host tree is never made: it would be a stub left on the host.
    if os.fstat(directory).st_dev not in view.own:
        raise EnforcementError("make a mount point for", path, hint="the directory does not exist on the host")


def place(view: View, path: str, *, directory: bool) -> tuple[int, str]:
    """The parent and name of `path`, after making the mount point itself (a directory or an empty file)."""
    view.cover(path)
    parent, name = open_parent(view, path)
    try:
        os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        _check_own(view, parent, path)
        if directory:
            os.mkdir(name, _DIRECTORY_MODE, dir_fd=parent)
        else:
            os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644, dir_fd=parent))
    return parent, name


class Operation:
    """One step. `verb` names it in errors, `fields` are its data in order."""

    __slots__ = ()
    verb = ""

    def data(self) -> dict[str, object]:
        """Plain JSON values."""
        return {"op": self.verb, **{field: _plain(value) for field, value in self._fields()}}

    def describe(self) -> str:
        return " ".join([self.verb, *[_shown(value) for _field, value in self._fields()]]).rstrip()

    def _fields(self) -> list[tuple[str, object]]:
        names: tuple[str, ...] = self.__slots__
        return [(name, getattr(self, name)) for name in names]

    def same(self, other: Operation) -> bool:
        """Whether `other` is this very step."""
        names: tuple[str, ...] = self.__slots__
        return type(self) is type(other) and all(getattr(self, name) == getattr(other, name) for name in names)

    def acquire(self, identity: Identity) -> None:
        """In the launcher, before the sandbox is cloned: what only the launcher can open. Raises OSError."""

    def execute(self, view: View) -> None:
        raise NotImplementedError


def _plain(value: object) -> object:
    return len(value) if isinstance(value, bytes) else value


def _shown(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return ",".join([str(item) for item in value])
    return str(value)


class Directory(Operation):
    """An empty directory on the sandbox's own root."""

    __slots__ = ("target",)
    verb = "mkdir"

    def __init__(self, target: str) -> None:
        self.target = target

    def execute(self, view: View) -> None:
        parent, _name = place(view, self.target, directory=True)
        os.close(parent)


class File(Operation):
    """A small synthesised file (the sandbox's /etc)."""

    __slots__ = ("content", "target")
    verb = "write"

    def __init__(self, target: str, content: bytes) -> None:
        self.target = target
        self.content = content

    def describe(self) -> str:
        return f"write {self.target} {len(self.content)} bytes"

    def execute(self, view: View) -> None:
        parent, name = open_parent(view, self.target)
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
        fd = os.open(name, flags, 0o644, dir_fd=parent)
        os.write(fd, self.content)
        os.close(fd)
        os.close(parent)


class Symlink(Operation):
    """A symbolic link; nothing where the name is already there (a link of the base view)."""

    __slots__ = ("target", "text")
    verb = "symlink"

    def __init__(self, text: str, target: str) -> None:
        self.text = text
        self.target = target

    def execute(self, view: View) -> None:
        parent, name = open_parent(view, self.target)
        try:
            os.symlink(self.text, name, dir_fd=parent)
        except FileExistsError:
            if os.readlink(name, dir_fd=parent) != self.text:
                raise
        finally:
            os.close(parent)


class Filesystem(Operation):
    """A new instance of tmpfs, proc or devpts."""

    __slots__ = ("fstype", "options", "settings", "target")
    verb = "mount"

    def __init__(self, fstype: str, target: str, settings: dict[str, str], options: Sequence[str]) -> None:
        self.fstype = fstype
        self.target = target
        self.settings = settings
        self.options = tuple(options)

    def describe(self) -> str:
        settings = ",".join([f"{key}={value}" if value else key for key, value in self.settings.items()])
        return f"mount -t {self.fstype} {self.target} {','.join(self.options)} {settings}".rstrip()

    def execute(self, view: View) -> None:
        parent, name = place(view, self.target, directory=True)
        tree = mount.filesystem(self.fstype, self.settings, self.options)
        if self.fstype == "tmpfs":
            view.own.add(os.fstat(tree).st_dev)
        mount.attach(tree, parent, name)
        os.close(parent)


class Mask(Operation):
    """Covers a path with an empty read-only directory or with /dev/null; nothing where it is absent."""

    __slots__ = ("target",)
    verb = "mask"

    def __init__(self, target: str) -> None:
        self.target = target

    def execute(self, view: View) -> None:
        above, _, name = self.target.strip("/").rpartition("/")
        try:
            parent = view.directory(above)
        except (FileNotFoundError, NotADirectoryError):
            return
        view.cover(self.target)
        try:
            mode = _mode(parent, name)
            if stat.S_ISLNK(mode):  # what it leads to would stay uncovered
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), self.target)
            if mode:
                mount.attach(view.covering(directory=stat.S_ISDIR(mode)), parent, name)
        finally:
            os.close(parent)


def _mode(parent: int, name: str) -> int:
    """The mode of a name below `parent`, 0 where there is none."""
    try:
        return os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return 0


class ReadOnly(Operation):
    """Makes a path of the sandbox's own /proc read-only by a bind of it onto itself."""

    __slots__ = ("target",)
    verb = "read-only"

    def __init__(self, target: str) -> None:
        self.target = target

    def execute(self, view: View) -> None:
        try:
            source = libc.openat2(view.root, self.target.strip("/"), os.O_PATH, 0, _BENEATH)
        except (FileNotFoundError, NotADirectoryError):
            return
        view.cover(self.target)
        parent, name = open_parent(view, self.target)
        try:
            mount.attach(mount.clone_tree(source, ("ro", "nosuid", "nodev", "noexec")), parent, name)
        finally:
            os.close(source)
            os.close(parent)


class Seal(Operation):
    """Makes a file system of the sandbox's own read-only, after it has been filled."""

    __slots__ = ("target",)
    verb = "seal"

    def __init__(self, target: str) -> None:
        self.target = target

    def execute(self, view: View) -> None:
        fd = libc.openat2(view.root, self.target.strip("/"), os.O_PATH | os.O_DIRECTORY, 0, _BENEATH)
        try:
            mount.set_options(fd, ("ro",))
        finally:
            os.close(fd)
