"""ML `file`: whole files as text, lines or bytes. Paths are canonical before the check; what was checked is opened."""

from __future__ import annotations

import os
from stat import S_ISDIR, S_ISREG

from launcher.runtime.context import current
from launcher.runtime.stdlib import _disk
from launcher.runtime.stdlib._declare import module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_WRITE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND
# Pieces of a file in memory: the most, and what is read of a file that says it is empty (as those of /proc do).
CHUNK = 1 << 24
SMALL = 1 << 12


# --- reading ----------------------------------------------------------------------------------------------------


def read_bytes(path: str) -> bytes:
    """The content of a file that the program may read. Raises CapabilityError and OSError."""
    return b"".join(each_chunk(path))


def each_chunk(path: str) -> Iterator[bytes]:
    """As `read_bytes`, in pieces: mostly one, of the size that the file has."""
    canonical = _disk.resolved(path)
    current().require("file", "read", canonical, written=path)
    descriptor = _disk.open_checked(canonical, os.O_RDONLY)
    try:
        wanted = min(os.fstat(descriptor).st_size + 1, CHUNK)
        while data := os.read(descriptor, max(wanted, SMALL)):
            yield data
    except OSError as error:
        raise _disk.named(error, canonical) from None
    finally:
        os.close(descriptor)


def read_text(path: str, encoding: str = "utf-8") -> str:
    """As `read_bytes`, decoded, with each kind of line end read as a line feed."""
    return read_bytes(path).decode(encoding).replace("\r\n", "\n").replace("\r", "\n")


def _read_lines(path: str, encoding: str = "utf-8") -> list[str]:
    lines = read_text(path, encoding).split("\n")
    return lines if lines[-1] else lines[:-1]


# --- writing ----------------------------------------------------------------------------------------------------


def write_bytes(path: str, data: bytes) -> None:
    """Makes the file, and its missing parents, hold `data`. Raises CapabilityError and OSError."""
    canonical = _disk.resolved(path)
    current().require("file", "write", canonical, written=path, size=len(data))
    _store(canonical, _WRITE, data)


def append_bytes(path: str, data: bytes) -> None:
    """Puts `data` at the end of the file. Raises CapabilityError and OSError."""
    canonical = _disk.resolved(path)
    current().require("file", "append", canonical, written=path, size=_size_of(canonical) + len(data))
    _store(canonical, _APPEND, data)


def extend_bytes(path: str, data: bytes) -> None:
    """As `append_bytes`, where writing was granted instead too: what may be replaced may be added to."""
    canonical = _disk.resolved(path)
    if current().allows("file", "append", canonical):
        append_bytes(path, data)
    else:
        current().require("file", "write", canonical, written=path, size=_size_of(canonical) + len(data))
        _store(canonical, _APPEND, data)


def _store(canonical: str, flags: int, data: bytes) -> None:
    descriptor = _disk.open_checked(canonical, flags, make_parents=True)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
    except OSError as error:
        raise _disk.named(error, canonical) from None
    finally:
        os.close(descriptor)


def _encoded(value: object, encoding: str) -> bytes:
    if not isinstance(value, str):
        raise TypeError(f"write() argument must be str, not {type(value).__name__}")
    return value.encode(encoding)


def _write(path: str, content: str, encoding: str = "utf-8") -> None:
    write_bytes(path, _encoded(content, encoding))


def _append(path: str, content: str, encoding: str = "utf-8") -> None:
    append_bytes(path, _encoded(content, encoding))


def _write_lines(path: str, lines: list[Any], encoding: str = "utf-8") -> None:
    write_bytes(path, "".join([f"{line}\n" for line in lines]).encode(encoding))


def _write_bytes(path: str, data: Any) -> None:
    if isinstance(data, str):
        raise TypeError("a bytes-like object is required, not 'str'")
    write_bytes(path, bytes(data) if isinstance(data, list) else memoryview(data).tobytes())


# --- names ------------------------------------------------------------------------------------------------------


def _delete(path: str) -> bool:
    """True, or false when there is nothing of that name. A folder raises: that is `path.removeDir`."""
    canonical = _disk.entry(path)
    current().require("file", "delete", canonical, written=path)
    try:
        with _disk.Walk(canonical) as walk:
            os.unlink(walk.name, dir_fd=walk.descriptor)
    except FileNotFoundError:
        return False
    return True


def _target(destination: str, source: str) -> str:
    """Where a copy or a move ends: a directory takes it under its old name."""
    if _disk.is_directory(destination):
        return f"{_disk.text(destination).rstrip('/')}/{source.rpartition('/')[2]}"
    return destination


def _copy(source: str, destination: str) -> None:
    origin = _disk.resolved(source)
    written = _target(destination, origin)
    goal = _disk.resolved(written)
    current().require("file", "read", origin, written=source)
    current().require("file", "write", goal, written=written, size=_size_of(origin))
    _copy_content(origin, goal)


def _copy_content(origin: str, goal: str) -> None:
    reading = _disk.open_checked(origin, os.O_RDONLY)
    try:
        before = os.fstat(reading)
        if S_ISDIR(before.st_mode):
            raise IsADirectoryError(21, "Is a directory", origin)
        # Opened without O_TRUNC first: a copy onto itself must not empty the file.
        writing = _disk.open_checked(goal, os.O_WRONLY | os.O_CREAT, make_parents=True)
        try:
            after = os.fstat(writing)
            if (before.st_dev, before.st_ino) == (after.st_dev, after.st_ino):
                raise ValueError(f"'{origin}' and '{goal}' are the same file")
            if S_ISREG(after.st_mode):
                os.ftruncate(writing, 0)
            _pump(reading, writing)
        finally:
            os.close(writing)
    finally:
        os.close(reading)


def _pump(reading: int, writing: int) -> None:
    while data := os.read(reading, CHUNK):
        view = memoryview(data)
        while view:
            view = view[os.write(writing, view) :]


def _size_of(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _move(source: str, destination: str) -> None:
    """A rename where the file systems allow it, else a copy and a delete. A link is moved as what it leads to."""
    name, origin = _disk.entry(source), _disk.resolved(source)
    written = _target(destination, name)
    goal = _disk.resolved(written)
    context = current()
    context.require("file", "read", origin, written=source)
    context.require("file", "write", goal, written=written, size=_size_of(origin))
    context.require("file", "delete", name, written=source)
    if name != origin or not _renamed(name, goal):
        _copy_content(origin, goal)
        with _disk.Walk(name) as walk:
            os.unlink(walk.name, dir_fd=walk.descriptor)


def _renamed(name: str, goal: str) -> bool:
    """Whether it could be renamed: between two grants it cannot, nor out of an overlay's lower directory (EXDEV)."""
    with _disk.Walk(name) as here:
        if S_ISDIR(os.lstat(here.name, dir_fd=here.descriptor).st_mode):
            raise IsADirectoryError(21, "Is a directory", name)
        with _disk.Walk(goal, make_parents=True) as there:
            try:
                os.rename(here.name, there.name, src_dir_fd=here.descriptor, dst_dir_fd=there.descriptor)
            except OSError as error:
                from errno import EACCES, EPERM, EXDEV

                if error.errno in {EXDEV, EACCES, EPERM}:
                    return False
                raise
    return True


# --- free questions ---------------------------------------------------------------------------------------------


def exists(path: str) -> bool:
    """Whether `path` leads to something in view."""
    try:
        _disk.status(path)
    except OSError:
        return False
    return True


def is_file(path: str) -> bool:
    """Whether `path` leads to a regular file in view."""
    try:
        return S_ISREG(_disk.status(path).st_mode)
    except OSError:
        return False


def is_directory(path: str) -> bool:
    """Whether `path` leads to a directory in view."""
    return _disk.is_directory(path)


def _size(path: str) -> int:
    return _disk.status(path).st_size


def _modified_time(path: str) -> float:
    return _disk.status(path).st_mtime


MODULE = module(
    "file",
    "Files as text, lines or bytes.",
    (
        ("read", read_text, "file.read", "read(p[, encoding]): the text of a file"),
        ("readLines", _read_lines, "file.read", "readLines(p[, encoding]): its lines, without line ends"),
        ("readBytes", read_bytes, "file.read", "readBytes(p): its bytes"),
        ("write", _write, "file.write", "write(p, s[, encoding]): makes the file and its missing parents"),
        ("writeLines", _write_lines, "file.write", "writeLines(p, a[, encoding]): each with a line end"),
        ("writeBytes", _write_bytes, "file.write", "writeBytes(p, b)"),
        ("append", _append, "file.append", "append(p, s[, encoding]): at the end"),
        ("delete", _delete, "file.delete", "delete(p): false when it did not exist; folders raise"),
        ("copy", _copy, "file.read file.write", "copy(a, b): needs reading a and writing b"),
        ("move", _move, "file.read file.write file.delete", "move(a, b): needs reading and deleting a, writing b"),
        ("exists", exists, "", "exists(p)"),
        ("isFile", is_file, "", "isFile(p)"),
        ("isDirectory", is_directory, "", "isDirectory(p)"),
        ("size", _size, "", "size(p): in bytes"),
        ("modifiedTime", _modified_time, "", "modifiedTime(p): seconds since 1970"),
    ),
)
