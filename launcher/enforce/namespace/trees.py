"""Detached trees that root clones before the sandbox exists, for sources that the job's own ids may not walk to.

Rootless the child opens its sources itself, with the user's rights. As root, a source below a 0700 directory (an
interpreter in somebody's home) or one that belongs to root, whose jobs run with another id, is cloned by descriptor
here, its owner shown as the job's id (kernel-facts 8, 9), and attached by the child.
"""

from __future__ import annotations

import _signal
import errno
import os

from launcher.kernel import libc, mount
from launcher.kernel.abi import CLONE_NEWUSER, RESOLVE_NO_SYMLINKS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from launcher.enforce.namespace.spec import Identity


def clone_mapped(identity: Identity, source: str, options: Sequence[str]) -> int:
    """A detached clone of the directory `source`, what its owner owns in it shown as the job's. Root only.

    Where the file system has no id-mapped mounts, as it is. Raises OSError.
    """
    directory = libc.openat2(libc.HERE, source, os.O_PATH | os.O_DIRECTORY, 0, RESOLVE_NO_SYMLINKS)
    try:
        owner = os.fstat(directory)
        uids, gids = {owner.st_uid: identity.uid}, {owner.st_gid: identity.gid}
        if all(one == other for ids in (uids, gids) for one, other in ids.items()):
            return mount.clone_tree(directory, list(options))
        userns = idmap(uids, gids)
        try:
            return mount.clone_tree(directory, list(options), userns_fd=userns)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            # No id-mapped mounts on this file system (squashfs, overlayfs, NFS): as it is, the job reads what its own
            # ids may read, which is less and never more.
            return mount.clone_tree(directory, list(options))
        finally:
            os.close(userns)
    finally:
        os.close(directory)


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
