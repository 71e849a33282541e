"""Directories by descriptor: nothing below a root is ever reached through a symbolic link. [L]"""

from __future__ import annotations

import os
import stat
from errno import EBADF, ELOOP, ENOENT, ENOTDIR

from launcher.kernel import libc
from launcher.kernel.abi import RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS

TYPE_CHECKING = False
if TYPE_CHECKING:
    # (device, inode, size, mtime in ns): which version of which file. A rename leaves all four as they are, while it
    # changes ctime on most file systems.
    Identity = tuple[int, int, int, int]

# What a live directory answers about a name that went away, or became something else, while we looked.
WENT_AWAY = frozenset((ENOENT, ENOTDIR, ELOOP))
_BENEATH = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NONBLOCK
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY


def open_beneath(root: int, relative: str, flags: int) -> int:
    """Opens `relative` ("" is the root itself) below the directory `root`. ELOOP for a symbolic link anywhere."""
    return libc.openat2(root, relative or ".", flags, 0, _BENEATH)


def open_directory(root: int, relative: str) -> int:
    """A directory below `root`; by O_PATH where the user may pass through it but not read it."""
    try:
        return open_beneath(root, relative, DIRECTORY)
    except PermissionError:
        return open_beneath(root, relative, os.O_PATH | os.O_DIRECTORY)


def names(fd: int) -> list[str]:
    """The names in the directory `fd`, sorted. Raises OSError."""
    return sorted(os.listdir(fd))


def look(directory: int, name: str) -> os.stat_result | None:
    """lstat of `name`, None where it is not."""
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return None


def identity(found: os.stat_result) -> Identity:
    """Of a directory only which one: its size and time change with what others put there."""
    if stat.S_ISDIR(found.st_mode):
        return found.st_dev, found.st_ino, 0, 0
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def remove_tree(directory: int, name: str) -> None:
    """Removes `name`, and all below it if it is a directory, without leaving its file system or following a link."""
    found = look(directory, name)
    if found is None:
        return
    if not stat.S_ISDIR(found.st_mode):
        os.unlink(name, dir_fd=directory)
        return
    inner = os.open(name, DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
    try:
        for child in names(inner):
            remove_tree(inner, child)
    finally:
        os.close(inner)
    os.rmdir(name, dir_fd=directory)


def split(path: str) -> tuple[str, str]:
    """A relative path's directory ("" for none) and last name."""
    directory, _, name = path.rpartition("/")
    return directory, name


def relative(path: str, directory: str) -> str:
    """`path` relative to `directory` at or above it; "" for itself."""
    return path[len(directory.rstrip("/")) :].lstrip("/")


def join(directory: str, name: str) -> str:
    """`name` in `directory`, either of which may be "" for here."""
    return f"{directory.rstrip('/')}/{name}" if directory and name else directory or name


def within(path: str, directory: str) -> bool:
    """Whether the canonical `path` is `directory` or below it."""
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def sync_file(directory: int, name: str) -> None:
    """Waits until the file `name`, if there is one that can be read, is on disk. Directories are `sync_open`'s."""
    try:
        fd = os.open(name, READ | os.O_CLOEXEC, dir_fd=directory)
    except OSError:
        return
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_open(fd: int) -> None:
    """Waits until the directory `fd` is on disk; its file system, where it is only a path (O_PATH)."""
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno != EBADF:
            raise
        os.sync()
