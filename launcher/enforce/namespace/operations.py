"""The steps that assemble a job's view, as data: each can be described, serialised and executed (mkosi's shape).

They run in the child, in user namespace 1, against `root`, the descriptor of the new root's tmpfs. Targets are
absolute paths of the sandbox. A target is made only on file systems of our own: never a stub on the host.
"""

from __future__ import annotations

import errno
import os
import stat

from launcher.enforce.namespace.trees import clone_mapped
from launcher.errors import EnforcementError
from launcher.kernel import libc, mount
from launcher.kernel.abi import MNT_DETACH, RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from launcher.enforce.namespace.spec import Identity

_BENEATH = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS
_DIRECTORY_MODE = 0o755
_SOURCE = "/.source"


class View:
    """What the operations share: the new root and the file systems that are the sandbox's own."""

    __slots__ = ("_null", "own", "root")

    def __init__(self, root: int) -> None:
        self.root = root
        self.own = {os.fstat(root).st_dev}
        self._null = -1

    def null(self) -> int:
        """A descriptor of the sandbox's /dev/null, opened once; it closes with the process's others."""
        if self._null < 0:
            self._null = libc.openat2(self.root, "dev/null", os.O_PATH, 0, _BENEATH)
        return self._null


def open_parent(view: View, path: str) -> tuple[int, str]:
    """A descriptor of the directory that holds `path` in the new root, made where missing, and the last name."""
    above, _, name = path.strip("/").rpartition("/")
    if above:
        try:
            return libc.openat2(view.root, above, os.O_PATH | os.O_DIRECTORY, 0, _BENEATH), name
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


class Bind(Operation):
    """One file, directory or device of the host at `target`, cloned by descriptor with `options`.

    `identity` is (device, inode, type) as the plan found it, or None for the base view; what is opened now must be
    that very file, else the host changed under the launch and it is refused. Symbolic links in `source` are
    refused: plans hold canonical paths.
    """

    __slots__ = ("identity", "options", "source", "target")
    verb = "bind"

    def __init__(
        self, source: str, target: str, options: Sequence[str], identity: tuple[int, int, int] | None = None
    ) -> None:
        self.source = source
        self.target = target
        self.options = tuple(options)
        self.identity = identity

    def describe(self) -> str:
        where = self.source if self.source == self.target else f"{self.source} -> {self.target}"
        return f"bind {where} {','.join(self.options)}"

    def execute(self, view: View) -> None:
        source = libc.openat2(libc.HERE, self.source, os.O_PATH, 0, RESOLVE_NO_SYMLINKS)
        try:
            bind_descriptor(view, source, self)
        finally:
            os.close(source)


def bind_descriptor(view: View, source: int, bind: Bind) -> None:
    """Attaches a clone of `source` at the bind's target after checking that it is what the plan found."""
    found = os.fstat(source)
    kind = stat.S_IFMT(found.st_mode)
    if bind.identity is not None and bind.identity != (found.st_dev, found.st_ino, kind):
        raise EnforcementError(
            "mount", bind.source, hint="the file was replaced while the sandbox was being built; launch again"
        )
    parent, name = place(view, bind.target, directory=kind == stat.S_IFDIR)
    try:
        mount.attach(mount.clone_tree(source, bind.options), parent, name)
    finally:
        os.close(parent)


class Tree(Operation):
    """A whole directory, cloned and id-mapped by the launcher (root), for what the job's ids may not walk to."""

    __slots__ = ("descriptor", "options", "source", "target")
    verb = "tree"

    def __init__(self, source: str, target: str, options: Sequence[str]) -> None:
        self.source = source
        self.target = target
        self.options = tuple(options)
        self.descriptor = -1

    def _fields(self) -> list[tuple[str, object]]:
        return [("source", self.source), ("target", self.target), ("options", self.options)]

    def acquire(self, identity: Identity) -> None:
        self.descriptor = clone_mapped(identity, self.source, self.options)

    def execute(self, view: View) -> None:
        parent, name = place(view, self.target, directory=True)
        mount.attach(self.descriptor, parent, name)
        os.close(parent)


class BindMany(Operation):
    """Names below one host directory, each bound alone: what a pattern matched at launch.

    The directory is opened once and its identity compared; each name is opened below it, links refused.
    `names` are (relative path, device, inode, type). `mapped`: the launcher, root, clones the directory id-mapped.
    """

    __slots__ = ("_tree", "identity", "mapped", "names", "options", "source", "target")
    verb = "bind-names"

    def __init__(
        self,
        source: str,
        target: str,
        options: Sequence[str],
        identity: tuple[int, int, int],
        names: Sequence[tuple[str, int, int, int]],
        *,
        mapped: bool = False,
    ) -> None:
        self.source = source
        self.target = target
        self.options = tuple(options)
        self.identity = identity
        self.names = tuple(names)
        self.mapped = mapped
        self._tree = -1

    def describe(self) -> str:
        return f"bind {len(self.names)} names below {self.source} {','.join(self.options)}"

    def _fields(self) -> list[tuple[str, object]]:
        return [(name, value) for name, value in super()._fields() if name != "_tree"]

    def acquire(self, identity: Identity) -> None:
        if self.mapped:
            self._tree = clone_mapped(identity, self.source, self.options)

    def execute(self, view: View) -> None:
        if self._tree < 0:
            self._bind_all(
                view, libc.openat2(libc.HERE, self.source, os.O_PATH | os.O_DIRECTORY, 0, RESOLVE_NO_SYMLINKS)
            )
            return
        # A mount can be cloned from only where it is attached (open_tree(2)): for the moment at a name of our own.
        parent, name = place(view, _SOURCE, directory=True)
        libc.move_mount(self._tree, parent, name)
        os.close(parent)
        self._bind_all(view, self._tree)
        libc.umount2(f"/proc/self/fd/{view.root}{_SOURCE}", MNT_DETACH)
        os.rmdir(_SOURCE.strip("/"), dir_fd=view.root)

    def _bind_all(self, view: View, top: int) -> None:
        try:
            found = os.fstat(top)
            if (found.st_dev, found.st_ino, stat.S_IFMT(found.st_mode)) != self.identity:
                raise EnforcementError(
                    "mount names below", self.source, hint="the directory was replaced; launch again"
                )
            for name, *identity in self.names:
                self._bind_one(view, top, name, (identity[0], identity[1], identity[2]))
        finally:
            os.close(top)

    def _bind_one(self, view: View, top: int, name: str, identity: tuple[int, int, int]) -> None:
        bind = Bind(f"{self.source}/{name}", f"{self.target}/{name}", self.options, identity)
        source = libc.openat2(top, name, os.O_PATH, 0, _BENEATH)
        try:
            bind_descriptor(view, source, bind)
        finally:
            os.close(source)


class Device(Operation):
    """One device node of the host, checked to be the device it should be (CVE-2025-31133: /dev/null a link)."""

    __slots__ = ("major", "minor", "name")
    verb = "device"

    def __init__(self, name: str, major: int, minor: int) -> None:
        self.name = name
        self.major = major
        self.minor = minor

    def execute(self, view: View) -> None:
        path = f"/dev/{self.name}"
        source = libc.openat2(libc.HERE, path, os.O_PATH, 0, RESOLVE_NO_SYMLINKS)
        try:
            found = os.fstat(source)
            expected = os.makedev(self.major, self.minor)
            if not stat.S_ISCHR(found.st_mode) or found.st_rdev != expected:
                raise EnforcementError(
                    "bind device", path, hint=f"it is not character device {self.major}:{self.minor}"
                )
            bind_descriptor(view, source, Bind(path, path, ("nosuid", "noexec")))
        finally:
            os.close(source)


class Mask(Operation):
    """Covers a path of /proc with an empty read-only directory or with /dev/null; nothing where it is absent."""

    __slots__ = ("target",)
    verb = "mask"

    def __init__(self, target: str) -> None:
        self.target = target

    def execute(self, view: View) -> None:
        above, _, name = self.target.strip("/").rpartition("/")
        try:
            parent = libc.openat2(view.root, above, os.O_PATH | os.O_DIRECTORY, 0, _BENEATH)
        except (FileNotFoundError, NotADirectoryError):
            return
        try:
            mode = _mode(parent, name)
            if stat.S_ISLNK(mode):  # what it leads to would stay uncovered
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), self.target)
            if mode:
                mount.attach(self._cover(view, directory=stat.S_ISDIR(mode)), parent, name)
        finally:
            os.close(parent)

    def _cover(self, view: View, *, directory: bool) -> int:
        if not directory:
            return mount.clone_tree(view.null(), ("ro", "nosuid", "noexec"))
        settings = {"size": "0", "nr_inodes": "2", "mode": "0555"}
        return mount.filesystem("tmpfs", settings, ("ro", "nosuid", "nodev", "noexec"))


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
