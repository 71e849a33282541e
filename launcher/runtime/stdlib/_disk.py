"""From the path a program writes to the file that is opened: resolved once, checked, and opened as it was checked.

A path is resolved with its symbolic links before the check (`resolved`), and then walked again from the root without
following any link (`Walk`), so that a link swapped in between leads to an error and not elsewhere. That is what
openat2's RESOLVE_NO_SYMLINKS does; the job's seccomp filter answers ENOSYS to openat2, whose flags it cannot see, so
the walk is done by component. The kernel's mounts and Landlock are the wall; this is the first line.
"""

from __future__ import annotations

import os
from errno import EEXIST, ENOENT, ENOTDIR
from stat import S_ISDIR, S_ISLNK

from launcher.runtime.context import current

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

_STEP = os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC


def text(path: object) -> str:
    """The path a program gave. Raises TypeError for what is no string, ValueError for an empty one."""
    if not isinstance(path, str):
        raise TypeError(f"a path must be a string, not {type(path).__name__}")
    if not path:
        raise ValueError("a path must not be empty")
    return path


def absolute(path: object) -> str:
    """`~`, `@base` and relative names made absolute; `..` stays, for it means something else behind a link."""
    name, scope = text(path), current().scope
    for word, directory in (("~", scope.home), ("@base", scope.base)):
        if name == word or name.startswith(word + "/"):
            return directory + name[len(word) :]
    return name if name.startswith("/") else f"{scope.cwd}/{name}"


def resolved(path: object) -> str:
    """The canonical path of what `path` leads to: links followed, also where the end does not exist yet."""
    return os.path.realpath(absolute(path))


def entry(path: object) -> str:
    """The canonical path of the name itself: links followed up to the directory that holds it.

    What is removed or renamed is a name: deleting a link does not delete what it points to.
    """
    whole = absolute(path).rstrip("/")
    directory, _, name = whole.rpartition("/")
    if name in {"", ".", ".."}:
        return os.path.realpath(whole or "/")
    parent = os.path.realpath(directory or "/")
    return f"/{name}" if parent == "/" else f"{parent}/{name}"


class Walk:
    """The directory that holds a canonical path, opened without following links. Use as a context manager.

    `descriptor` is the directory, `name` the last component ("." for the root). Raises OSError with the whole path.
    """

    __slots__ = ("descriptor", "name", "path")

    def __init__(self, path: str, *, make_parents: bool = False) -> None:
        *parents, name = path.strip("/").split("/")
        self.path = path
        self.name = name or "."
        self.descriptor = os.open("/", _STEP)
        try:
            for component in parents:
                self._descend(component, make=make_parents)
        except OSError as error:
            os.close(self.descriptor)
            # ENOTDIR for a directory that turned into a link is what RESOLVE_NO_SYMLINKS reports as ELOOP.
            raise named(error, path) from None

    def _descend(self, component: str, *, make: bool) -> None:
        try:
            below = os.open(component, _STEP, dir_fd=self.descriptor)
        except FileNotFoundError:
            if not make:
                raise
            try:
                os.mkdir(component, 0o777, dir_fd=self.descriptor)
            except FileExistsError:
                pass
            below = os.open(component, _STEP, dir_fd=self.descriptor)
        os.close(self.descriptor)
        self.descriptor = below

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self.descriptor)
        if isinstance(error, OSError) and error.errno is not None:
            raise named(error, self.path) from None

    def open(self, flags: int, mode: int = 0o666) -> int:
        """The descriptor of the file. Raises OSError: ELOOP when it became a link."""
        return os.open(self.name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=self.descriptor)


def named(error: OSError, path: str) -> OSError:
    """The same error about the whole path, in the host's words: `[Errno 2] No such file or directory: '<abs>'`."""
    return OSError(error.errno, os.strerror(error.errno or 0), path)


def open_checked(path: str, flags: int, *, make_parents: bool = False) -> int:
    """A descriptor of the canonical `path`, whose check the caller has done. Raises OSError."""
    with Walk(path, make_parents=make_parents) as walk:
        return walk.open(flags)


def status(path: object) -> os.stat_result:
    """stat(2) of what `path` leads to, for the free questions. Raises OSError with the canonical path."""
    canonical = resolved(path)
    try:
        return os.stat(canonical)
    except OSError as error:
        raise named(error, canonical) from None


def is_directory(path: object) -> bool:
    """Whether `path` leads to a directory that is in view."""
    try:
        return S_ISDIR(status(path).st_mode)
    except OSError:
        return False


def missing_directories(path: str) -> list[str]:
    """The directories down to the canonical `path` that do not exist. Raises OSError when one is no directory."""
    missing: list[str] = []
    here = path
    while here not in {"", "/"}:
        try:
            if not S_ISDIR(os.lstat(here).st_mode):
                raise OSError(
                    EEXIST if here == path else ENOTDIR, os.strerror(EEXIST if here == path else ENOTDIR), here
                )
            break
        except FileNotFoundError:
            missing.append(here)
            here = here.rpartition("/")[0]
    return missing[::-1]


def is_link(walk: Walk) -> bool:
    """Whether the name at the end of the walk is a symbolic link."""
    return S_ISLNK(os.lstat(walk.name, dir_fd=walk.descriptor).st_mode)


def is_missing(error: OSError) -> bool:
    """Whether the error says that there is nothing of that name."""
    return error.errno == ENOENT
