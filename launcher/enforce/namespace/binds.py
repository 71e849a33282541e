"""Binding what the host has into the view: whole directories, files, names that a pattern matched, devices.

Everything is cloned by descriptor and compared with what the plan found: a file that was exchanged meanwhile is not
mounted.
"""

from __future__ import annotations

import os
import stat

from launcher.enforce.namespace.operations import Operation, View, place
from launcher.enforce.namespace.trees import clone_mapped
from launcher.errors import EnforcementError
from launcher.kernel import libc, mount
from launcher.kernel.abi import MNT_DETACH, RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from launcher.enforce.namespace.spec import Identity

_BENEATH = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS
_SOURCE = "/.source"


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


class BindNodes(BindMany):
    """Granted devices or sockets below one directory, each bound alone."""

    __slots__ = ()
    verb = "bind-nodes"

    def describe(self) -> str:
        return f"bind {','.join([f'{self.source}/{row[0]}' for row in self.names])} {','.join(self.options)}"

    def _fields(self) -> list[tuple[str, object]]:
        return [(name, getattr(self, name)) for name in BindMany.__slots__ if name != "_tree"]


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
