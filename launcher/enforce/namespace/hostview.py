"""What stands at a path of the host, seen with the ids of this process, for an observer outside of the sandbox.

The path is the job's choice, so looking must have no effect: a name below an automount point would make the host
mount it, from a server that the job chose, and one on a network file system would send it a message or never return.
Such places are not looked at; links are followed by hand, each component held against the list.
"""

from __future__ import annotations

import os
import stat

_MOST_LINKS = 40  # path_resolution(7)
# File systems that are no disk of this host: asking them reaches another machine, or a process that may not answer.
_REMOTE = ("nfs", "cifs", "smb", "9p", "afs", "ceph", "glusterfs", "lustre", "fuse", "autofs", "davfs", "ncpfs", "proc")


class Found:
    """`path` is canonical, `mode` is st_mode of what stands there."""

    __slots__ = ("mode", "path")

    def __init__(self, path: str, mode: int) -> None:
        self.path = path
        self.mode = mode

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.mode)


class HostView:
    """Looks at the host's names without leaving its own disks."""

    __slots__ = ("_remote",)

    def __init__(self, mountinfo: str | None = None) -> None:
        """`mountinfo` is the text of /proc/self/mountinfo unless given."""
        if mountinfo is None:
            with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
                mountinfo = file.read()
        self._remote = frozenset(_remote_mounts(mountinfo))

    def look(self, path: str) -> Found | None:
        """What is at the absolute `path`; None for nothing, what these ids may not see, and what is not looked at."""
        waiting = [part for part in reversed(path.split("/")) if part not in ("", ".")]
        here, mode, links = "", stat.S_IFDIR, 0
        while waiting:
            part = waiting.pop()
            if part == "..":
                here = here.rpartition("/")[0]
                continue
            name = f"{here}/{part}"
            if name in self._remote:
                return None
            try:
                mode = os.lstat(name).st_mode
                if not stat.S_ISLNK(mode):
                    here = name
                    continue
                text = os.readlink(name)
            except (OSError, ValueError):
                return None
            links += 1
            if links > _MOST_LINKS:
                return None
            here = "" if text.startswith("/") else here
            waiting += [step for step in reversed(text.split("/")) if step not in ("", ".")]
        return Found(here or "/", mode if here else stat.S_IFDIR)


def _remote_mounts(mountinfo: str) -> list[str]:
    """The mount points of /proc/self/mountinfo (proc_pid_mountinfo(5)) that are not looked below."""
    found = []
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        kind = after.partition(" ")[0]
        if kind.startswith(_REMOTE):
            # blanks and backslashes stand as \040 and \134
            found.append(before.split(" ")[4].encode("latin-1", "replace").decode("unicode_escape"))
    return found
