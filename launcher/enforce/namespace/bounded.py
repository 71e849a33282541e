"""Which limits of size are used up: a file system that one of them bounds has no room left. [L]

tmpfs counts no refused write (ENOSPC), so this is what is so when it is asked, at the job's end; a job that removed
what it could not finish is not told.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

DISK, FILES = "max_disk", "max_files"


def full(bounded: Iterable[tuple[str | int, Sequence[str]]]) -> list[str]:
    """The limits that are used up, of (path or descriptor in a file system, limits that bound it)."""
    found = set()
    for place, limits in bounded:
        try:
            room = os.statvfs(place)
        except OSError:  # a report is no reason to fail a job that has ended
            continue
        left = {DISK: (room.f_blocks, room.f_bfree), FILES: (room.f_files, room.f_ffree)}
        found |= {limit for limit in limits if left[limit][0] and not left[limit][1]}
    return sorted(found)
