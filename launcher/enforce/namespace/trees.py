"""Detached trees that root clones before the sandbox exists, for sources that the job's own ids may not walk to.

Rootless the child opens its sources itself, with the user's rights. As root, a source below a 0700 directory (an
interpreter in somebody's home), or one whose owner is not the id that the job runs with, is cloned by descriptor
here, id-mapped where needed, and attached by the child (kernel-facts 8, 9).
"""

from __future__ import annotations

import _signal
import os

from launcher.enforce.namespace.operations import Operation, View, place
from launcher.errors import EnforcementError
from launcher.kernel import libc, mount
from launcher.kernel.abi import CLONE_NEWUSER, RESOLVE_NO_SYMLINKS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from launcher.enforce.namespace.spec import Identity


class Tree(Operation):
    """A tree that the launcher cloned: `descriptor` is the detached mount, `source` where it came from."""

    __slots__ = ("descriptor", "options", "source", "target")
    verb = "tree"

    def __init__(self, source: str, target: str, options: Sequence[str], descriptor: int) -> None:
        self.source = source
        self.target = target
        self.options = tuple(options)
        self.descriptor = descriptor

    def data(self) -> dict[str, object]:
        return {"op": self.verb, "source": self.source, "target": self.target, "options": self.options}

    def describe(self) -> str:
        return f"tree {self.source} -> {self.target} {','.join(self.options)}"

    def execute(self, view: View) -> None:
        parent, name = place(view, self.target, directory=True)
        try:
            libc.move_mount(self.descriptor, parent, name)
        finally:
            os.close(parent)


def clone_for(identity: Identity, source: str, target: str, options: Sequence[str]) -> Tree:
    """A Tree of the directory `source`, root's files shown as the job's own. Root only. Raises EnforcementError."""
    try:
        directory = libc.openat2(libc.HERE, source, os.O_PATH | os.O_DIRECTORY, 0, RESOLVE_NO_SYMLINKS)
        try:
            owner = os.fstat(directory)
            mapped = {owner.st_uid: identity.uid}, {owner.st_gid: identity.gid}
            tree = _clone(directory, options, mapped)
        finally:
            os.close(directory)
    except OSError as error:
        hint = "the file system may not support id-mapped mounts; `mlsandbox doctor` says which do"
        raise EnforcementError("clone", source, error.errno or 0, hint=hint) from error
    return Tree(source, target, options, tree)


def _clone(directory: int, options: Sequence[str], mapped: tuple[dict[int, int], dict[int, int]]) -> int:
    if all(one == other for ids in mapped for one, other in ids.items()):
        return mount.clone_tree(directory, list(options))
    userns = idmap(*mapped)
    try:
        return mount.clone_tree(directory, list(options), userns_fd=userns)
    finally:
        os.close(userns)


def idmap(uids: dict[int, int], gids: dict[int, int]) -> int:
    """A descriptor of a user namespace that maps ids on disk to ids of the mount (mount_setattr(2)). Root only."""
    waiting, go = os.pipe2(os.O_CLOEXEC)
    pid = libc.clone(CLONE_NEWUSER | _signal.SIGCHLD)
    if pid == 0:
        os.close(go)
        os.read(waiting, 1)
        os._exit(0)
    os.close(waiting)
    try:
        for name, ids in (("uid_map", uids), ("gid_map", gids)):
            with open(f"/proc/{pid}/{name}", "wb", buffering=0) as file:
                file.write(b"".join([b"%d %d 1\n" % pair for pair in ids.items()]))
        return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(go)
        os.waitpid(pid, 0)
