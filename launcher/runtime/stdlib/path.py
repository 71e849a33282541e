"""ML `path`: names, listings and directories. Working with names alone needs no capability."""

from __future__ import annotations

import os
from os import path as host
from stat import S_ISDIR

from launcher.runtime.context import current
from launcher.runtime.stdlib import _disk
from launcher.runtime.stdlib._declare import module
from launcher.runtime.stdlib._listing import glob, list_directory, walk
from launcher.runtime.stdlib.file import exists, is_directory, is_file

# --- names ------------------------------------------------------------------------------------------------------


def _join(*parts: str) -> str:
    return host.join(*parts) if parts else ""


def _dirname(p: str) -> str:
    return host.dirname(p)


def _basename(p: str) -> str:
    return host.basename(p)


def _extname(p: str) -> str:
    return host.splitext(p)[1]


def _split(p: str) -> list[str]:
    return list(host.split(p))


def _absolute(p: str) -> str:
    return host.normpath(_disk.absolute(p or "."))


def _normalize(p: str) -> str:
    return host.normpath(p)


def _relative(start: str, to: str) -> str:
    return host.relpath(_absolute(to), _absolute(start))


def _is_absolute(p: str) -> bool:
    return host.isabs(p)


def _cwd() -> str:
    return current().scope.cwd


def _home() -> str:
    return current().scope.home


def _temp_dir() -> str:
    return "/tmp"  # noqa: S108  the job's private one


def _separator() -> str:
    return "/"


def _delimiter() -> str:
    return ":"


# --- directories ------------------------------------------------------------------------------------------------


def _create_dir(p: str, parents: bool = True) -> None:  # noqa: ARG001  parents are always made, as in the first implementation
    canonical = _disk.resolved(p)
    context = current()
    context.require("path", "write", canonical, written=p)
    missing = _disk.missing_directories(canonical)
    for directory in missing[:-1]:
        # A granted file may have its parents made; other directories must be granted themselves.
        if not context.permissions.parent_of_granted_write(directory):
            context.require("path", "write", directory)
    if missing:
        with _disk.Walk(canonical, make_parents=True) as walk:
            os.mkdir(walk.name, 0o777, dir_fd=walk.descriptor)


def _remove_dir(p: str) -> None:
    canonical = _disk.entry(p)
    current().require("path", "write", canonical, written=p)
    with _disk.Walk(canonical) as walk:
        os.rmdir(walk.name, dir_fd=walk.descriptor)


def _remove_dir_recursive(p: str) -> None:
    """`path.write` on the directory covers what is in it, except what a rule denies: then nothing is removed."""
    canonical = _disk.entry(p)
    current().require("path", "write", canonical, written=p)
    with _disk.Walk(canonical) as walk:
        if not S_ISDIR(os.lstat(walk.name, dir_fd=walk.descriptor).st_mode):
            raise NotADirectoryError(f"Not a directory: {p}")
        _empty(walk.descriptor, walk.name, canonical, remove=False)
        _empty(walk.descriptor, walk.name, canonical, remove=True)


def _empty(parent: int, name: str, canonical: str, *, remove: bool) -> None:
    """Goes through a directory by descriptor, checks each name, or removes each and then the directory."""
    descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        for found in os.listdir(descriptor):
            inner = f"{canonical}/{found}"
            is_dir = S_ISDIR(os.lstat(found, dir_fd=descriptor).st_mode)
            if is_dir:
                _empty(descriptor, found, inner, remove=remove)
            elif remove:
                os.unlink(found, dir_fd=descriptor)
            if not remove:
                _refuse_denied("path" if is_dir else "file", "write" if is_dir else "delete", inner)
    finally:
        os.close(descriptor)
    if remove:
        os.rmdir(name, dir_fd=parent)


def _refuse_denied(kind: str, operation: str, canonical: str) -> None:
    decision = current().permissions.decide(kind, operation, canonical)
    if not decision.allowed and decision.deciders:
        current().require(kind, operation, canonical)


_R = "path.read"
_W = "path.write"

MODULE = module(
    "path",
    "Names, listings and directories.",
    (
        ("join", _join, "", "join(...): with / between"),
        ("dirname", _dirname, "", "dirname(p): without the last name"),
        ("basename", _basename, "", "basename(p): the last name"),
        ("extname", _extname, "", "extname(p): `.gz` of x.tar.gz"),
        ("split", _split, "", "split(p): [dirname, basename]"),
        ("absolute", _absolute, "", "absolute(p)"),
        ("normalize", _normalize, "", "normalize(p): without . and .."),
        ("relative", _relative, "", "relative(from, to)"),
        ("exists", exists, "", "exists(p)"),
        ("isFile", is_file, "", "isFile(p)"),
        ("isDirectory", is_directory, "", "isDirectory(p)"),
        ("isAbsolute", _is_absolute, "", "isAbsolute(p)"),
        ("cwd", _cwd, "", "cwd(): the current directory"),
        ("home", _home, "", "home(): the user's home"),
        ("tempDir", _temp_dir, "", "tempDir(): the directory for temporary files"),
        ("separator", _separator, "", "separator(): /"),
        ("delimiter", _delimiter, "", "delimiter(): what separates paths in a list"),
        ("listDir", list_directory, _R, "listDir([p]): the names in a directory, sorted"),
        ("glob", glob, _R, "glob(pattern): absolute paths, sorted; ** is any directories"),
        ("walk", walk, _R, "walk(p[, depth]): the files below p, relative and sorted"),
        ("createDir", _create_dir, _W, "createDir(p[, parents]): with missing parents; existing is fine"),
        ("removeDir", _remove_dir, _W, "removeDir(p): only when empty"),
        ("removeDirRecursive", _remove_dir_recursive, _W, "removeDirRecursive(p): with everything in it"),
    ),
)
