"""The bytes of staged files: copying, placeholders, and what became of old content. By descriptor. [L]"""

from __future__ import annotations

import fcntl
import os

_CHUNK = 1 << 20
_FICLONE = 0x40049409  # <linux/fs.h>
_WORD = 8
# A placeholder up to this size is filled with a pattern that nobody knows, so that any word of it that survives in
# place shows a write that was only partial. Beyond, it is a hole: what was never written stays one (SEEK_HOLE), and an
# append-only file of gigabytes costs nothing.
_PATTERNED = 64 << 10

SAME, PREFIX, OTHER = "same", "prefix", "other"


def copy(source: int, target: int, size: int) -> None:
    """Makes `size` bytes from offset 0 of `source` all of `target`: shared extents where the file system has them, else
    copied by the kernel. Holes stay holes, so a file of 8 TiB that holds nothing does not fill the host.
    """
    if size <= _CHUNK or not _cloned(source, target):
        _copy_range(source, 0, size, target)
    os.ftruncate(target, size)


def _cloned(source: int, target: int) -> bool:
    if os.fstat(source).st_dev != os.fstat(target).st_dev:
        return False
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        return False
    return True


def append(source: int, target: int, offset: int, size: int) -> None:
    """Adds the bytes of `source` from `offset` to `size` to the end of `target`."""
    end = os.fstat(target).st_size
    _copy_range(source, offset, size, target, end - offset)
    os.ftruncate(target, end + size - offset)


def _copy_range(source: int, offset: int, size: int, target: int, shift: int = 0) -> None:
    """The data of `source` from `offset` to `size`, to where it is in `target`, `shift` bytes further on."""
    while (offset := _data_from(source, offset, size)) < size:
        end = min(os.lseek(source, offset, os.SEEK_HOLE), size)
        os.lseek(target, offset + shift, os.SEEK_SET)
        while offset < end:
            count = os.sendfile(target, source, offset, min(end - offset, 1 << 30))
            if count == 0:
                return  # it shrinks while we read: its identity says so to those who ask
            offset += count


def placeholder(fd: int, size: int) -> None:
    """`size` bytes that are not the file's."""
    if size <= _PATTERNED:
        os.write(fd, os.urandom(size))
    else:
        os.ftruncate(fd, size)


def placeholder_cost(size: int) -> int:
    """The bytes that a placeholder for a file of `size` takes."""
    return size if size <= _PATTERNED else 0


def compare(new: int, old: int) -> str:
    """SAME, PREFIX (the old content is an unchanged beginning of the new) or OTHER."""
    new_size, old_size = os.fstat(new).st_size, os.fstat(old).st_size
    if new_size < old_size or not begins_with(new, old, old_size):
        return OTHER
    return SAME if new_size == old_size else PREFIX


def begins_with(new: int, old: int, size: int) -> bool:
    """Whether the first `size` bytes of both are the same. Where both are holes nothing is read."""
    offset = 0
    while (offset := min(_data_from(new, offset, size), _data_from(old, offset, size))) < size:
        length = min(_CHUNK, size - offset)
        left, right = os.pread(new, length, offset), os.pread(old, length, offset)
        if left != right or not left:
            return False
        offset += len(left)
    return True


def _data_from(fd: int, offset: int, size: int) -> int:
    """Where the first byte at or after `offset` is that is not in a hole; `size` if there is none before."""
    try:
        return min(os.lseek(fd, offset, os.SEEK_DATA), size)
    except OSError:  # ENXIO: no data up to the end of the file
        return size


def partly_written(new: int, old: int) -> bool:
    """Whether something of the placeholder `old` survives in `new`: then `new` is not what the job meant to write."""
    size = min(os.fstat(new).st_size, os.fstat(old).st_size)
    if size == 0:
        return False
    if os.fstat(old).st_size > _PATTERNED:
        return os.lseek(new, 0, os.SEEK_HOLE) < size
    left, right = os.pread(new, size, 0), os.pread(old, size, 0)
    width = min(_WORD, size)
    return any(left[at : at + width] == right[at : at + width] for at in range(0, size - width + 1, width))
