"""Listings: a directory, the files below one, and names by pattern. Directories that are not granted stay closed."""

from __future__ import annotations

import os
from stat import S_ISDIR

from launcher.runtime.context import current
from launcher.runtime.stdlib import _disk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from launcher.capability.decision import Decision

_MAGIC = frozenset("*?[")
# Deeper trees end with the path length that the kernel takes (PATH_MAX), so this only bounds recursion.
MAX_DEPTH = 500


def list_directory(path: str = ".") -> list[str]:
    """ML `path.listDir`. Raises NotADirectoryError `Not a directory: p`."""
    canonical = _disk.resolved(path)
    decision = current().require("path", "read", canonical, written=path)
    return sorted(_names(canonical, path, decision))


def _names(canonical: str, written: str, decision: Decision) -> list[str]:
    """The names in the directory. Where only files in it are granted, only those are there (kernel-facts 23)."""
    try:
        descriptor = _disk.open_checked(canonical, os.O_RDONLY | os.O_DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        raise NotADirectoryError(f"Not a directory: {written}") from None
    try:
        names = os.listdir(descriptor)
    finally:
        os.close(descriptor)
    if any(rule.type == "path" for rule in decision.deciders) or not decision.deciders:
        return names
    return [name for name in names if _visible(canonical.rstrip("/") + "/" + name)]


def _visible(path: str) -> bool:
    return any(current().allows(kind, "read", path) for kind in ("file", "path"))


def _entries(canonical: str) -> Iterator[tuple[str, bool]]:
    """The names of a directory below a granted one and whether each is a directory; nothing where it is not granted."""
    if not current().allows("path", "read", canonical):
        return
    decision = current().permissions.decide("path", "read", canonical)
    try:
        names = sorted(_names(canonical, canonical, decision))
    except OSError:
        return
    for name in names:
        try:
            yield name, S_ISDIR(os.lstat(f"{canonical.rstrip('/')}/{name}").st_mode)
        except OSError:
            continue


def walk(path: str, depth: int = -1) -> list[str]:
    """ML `path.walk`: relative file paths, sorted; `depth` levels of directories, all of them when negative."""
    canonical = _disk.resolved(path)
    current().require("path", "read", canonical, written=path)
    if not _disk.is_directory(canonical):
        raise NotADirectoryError(f"Not a directory: {path}")
    return sorted(_files(canonical, "", MAX_DEPTH if depth < 0 else min(depth, MAX_DEPTH)))


def _files(directory: str, prefix: str, depth: int) -> Iterator[str]:
    for name, is_dir in _entries(directory):
        if not is_dir:
            yield prefix + name
        elif depth > 0:
            yield from _files(f"{directory.rstrip('/')}/{name}", f"{prefix}{name}/", depth - 1)


def glob(pattern: str) -> list[str]:
    """ML `path.glob`: what matches, absolute and sorted. `*` and `?` leave names that begin with a dot alone."""
    segments = _disk.absolute(pattern).split("/")
    literal = next((i for i, part in enumerate(segments) if _MAGIC.intersection(part)), len(segments) - 1)
    base = os.path.realpath("/".join(segments[:literal]) or "/")
    current().require("path", "read", base, written=pattern)
    return sorted(set(_matching(base, [part for part in segments[literal:] if part])))


def _matching(directory: str, segments: list[str]) -> Iterator[str]:
    if not segments:
        yield directory
        return
    segment, rest = segments[0], segments[1:]
    if segment == "**":
        yield from _at_any_depth(directory, rest)
        return
    matches = _matcher(segment)
    for name, is_dir in _entries(directory):
        if matches(name) and (is_dir or not rest):
            yield from _matching(f"{directory.rstrip('/')}/{name}", rest)


def _at_any_depth(directory: str, rest: list[str], depth: int = MAX_DEPTH) -> Iterator[str]:
    yield from _matching(directory, rest)
    for name, is_dir in _entries(directory):
        inner = f"{directory.rstrip('/')}/{name}"
        if name.startswith(".") or not depth:
            continue
        if is_dir:
            yield from _at_any_depth(inner, rest, depth - 1)
        elif not rest:
            yield inner


def _matcher(segment: str) -> Callable[[str], bool]:
    if not _MAGIC.intersection(segment):
        return segment.__eq__
    from fnmatch import fnmatchcase

    hidden = segment.startswith(".")
    return lambda name: (hidden or not name.startswith(".")) and fnmatchcase(name, segment)
