"""Mounts by descriptor: what `launcher.enforce` composes a job's view from.

Every function takes and returns descriptors of detached mounts (open_tree(2), fsmount(2)), so no path is looked up
between the decision and the mount. Flags are set before a mount is attached, never after.
"""

from __future__ import annotations

import os

from launcher.kernel import libc
from launcher.kernel.abi import (
    AT_EMPTY_PATH,
    AT_RECURSIVE,
    MOUNT_ATTR_IDMAP,
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_RDONLY,
    MS_PRIVATE,
    OPEN_TREE_CLONE,
)

ATTRIBUTES = {
    "ro": MOUNT_ATTR_RDONLY,
    "nosuid": MOUNT_ATTR_NOSUID,
    "nodev": MOUNT_ATTR_NODEV,
    "noexec": MOUNT_ATTR_NOEXEC,
}


def attributes(options: tuple[str, ...] | list[str]) -> int:
    """The MOUNT_ATTR_* bits of OCI mount options (`ro nosuid nodev noexec`)."""
    bits = 0
    for option in options:
        bits |= ATTRIBUTES[option]
    return bits


def filesystem(fstype: str, settings: dict[str, str], options: tuple[str, ...] | list[str]) -> int:
    """A new, detached mount of a new file system instance; the caller closes the descriptor. Raises OSError."""
    context = libc.fsopen(fstype)
    try:
        for key, value in settings.items():
            libc.fsconfig_string(context, key, value) if value else libc.fsconfig_flag(context, key)
        libc.fsconfig_create(context)
        return libc.fsmount(context, attributes(options))
    finally:
        os.close(context)


def clone_tree(fd: int, options: tuple[str, ...] | list[str], *, userns_fd: int = -1) -> int:
    """A detached, private clone of the tree behind `fd` with `options` set on it and on every mount below it.

    Recursive, because a tree with locked mounts below it may only be cloned whole (mount_namespaces(7)); and
    because a read-only flag on the top alone leaves what is mounted below writable.
    With `userns_fd` the clone is id-mapped by that user namespace (Linux 5.12).
    """
    tree = libc.open_tree(fd, "", OPEN_TREE_CLONE | AT_RECURSIVE | AT_EMPTY_PATH)
    try:
        bits = attributes(options)
        if userns_fd >= 0:
            libc.mount_setattr(tree, 0, attr_set=bits | MOUNT_ATTR_IDMAP, userns_fd=userns_fd)
        libc.mount_setattr(tree, AT_RECURSIVE, attr_set=bits, propagation=MS_PRIVATE)
    except OSError:
        os.close(tree)
        raise
    return tree


def clone_one(fd: int) -> int:
    """A detached clone of the one attached mount whose root is behind `fd`, with the flags that it has."""
    return libc.open_tree(fd, "", OPEN_TREE_CLONE | AT_EMPTY_PATH)


def attach(tree: int, dirfd: int, path: str) -> None:
    """Attaches the detached mount `tree` at `path` below `dirfd` and closes `tree`."""
    try:
        libc.move_mount(tree, dirfd, path)
    finally:
        os.close(tree)


def set_options(fd: int, options: tuple[str, ...] | list[str]) -> None:
    """Adds `options` to the one mount behind `fd`."""
    libc.mount_setattr(fd, 0, attr_set=attributes(options))
