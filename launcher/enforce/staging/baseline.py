"""What a staged area was like at launch: what a commit holds the host against. [L]"""

from __future__ import annotations

import time

from launcher.enforce.staging.tree import identity

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os

    from launcher.enforce.staging.tree import Identity

_CLOCK_REALTIME_COARSE = 5  # <linux/time.h>; the module `time` has no name for it


class File:
    """One file of a snapshot. `readable`: the copy has its content; else it is a placeholder of the same size."""

    __slots__ = ("ctime_ns", "identity", "readable")

    def __init__(self, identity: Identity, ctime_ns: int, *, readable: bool) -> None:
        self.identity = identity
        self.ctime_ns = ctime_ns
        self.readable = readable


class Baseline:
    """Of a snapshot: each file as it was. Of a live lower: the moment since which nothing may have changed.

    The moment is the kernel's coarse clock, which file times are taken from, so a change after it has a ctime that is
    not earlier.
    """

    __slots__ = ("files", "since_ns")

    def __init__(self, files: dict[str, File] | None = None) -> None:
        self.files = files
        self.since_ns = time.clock_gettime_ns(_CLOCK_REALTIME_COARSE) if files is None else 0

    def unchanged(self, path: str, found: os.stat_result) -> bool:
        """Whether the host's file at `path` (relative to the area) is still what it was at launch."""
        if self.files is None:
            return found.st_ctime_ns < self.since_ns
        file = self.files.get(path)
        return file is not None and file.ctime_ns == found.st_ctime_ns and file.identity == identity(found)

    def same_file(self, path: str, found: os.stat_result) -> bool:
        """Whether it is at least the same inode: it may have been written to."""
        if self.files is None:
            return True
        file = self.files.get(path)
        return file is not None and file.identity[:2] == (found.st_dev, found.st_ino)

    def readable(self, path: str) -> bool:
        """Whether the job could see the content of the lower's file."""
        return self.files is None or path not in self.files or self.files[path].readable
