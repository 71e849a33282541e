"""Where a control group may be made, by whom, and with which controllers. Reads only; nothing is changed here.

What `compile` is told (features.controllers) and what a launch then does (enforce/namespace/cgroup.py) come from here,
so that a launch is refused before it starts and not half-way.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = "/sys/fs/cgroup"
PREFIX = "mlsandbox-"
_V1_CONTROLLERS = ("blkio", "cpu", "cpuacct", "cpuset", "freezer", "memory", "pids")
_V2_CONTROLLERS = ("cpu", "io", "memory", "pids")
_READ_LIMIT = 65536


class Place:
    """A v2 group below which a job's group may be made.

    directory     its path
    controllers   what the new group may have
    leave         we are the only process in it, and must move to a child of it first: a group with processes can give
                  its children no controllers (cgroup-v2.rst, "no internal processes")
    """

    __slots__ = ("controllers", "directory", "leave")

    def __init__(self, directory: str, controllers: Iterable[str], *, leave: bool = False) -> None:
        self.directory = directory
        self.controllers = frozenset(controllers)
        self.leave = leave


def find(own: str, pid: int, root: str = ROOT) -> tuple[int, dict[str, str]]:
    """For process `pid`, with `own` the text of its /proc/self/cgroup: the version in use, and controller -> directory
    below which a group may be made. Version 0 where there is none.

    A host may be hybrid: v1 hierarchies with the controllers, and a v2 tree without. Then it counts as 1.
    """
    paths = hierarchies(own)
    v1: dict[str, str] = {}
    for names, path in paths.items():
        if names:
            v1.update(_v1_hierarchy(root, names, path))
    if v1:
        return 1, v1
    places = v2_places(paths.get(""), pid, root)
    if not places:
        return 0, {}
    best = max(places, key=lambda place: len(place.controllers))  # the first of equals
    return 2, dict.fromkeys(sorted(best.controllers), best.directory)


def hierarchies(own: str) -> dict[str, str]:
    """The text of /proc/PID/cgroup as controllers, joined as there ("" for v2), to the path in that hierarchy."""
    rows = (line.split(":", 2) for line in own.splitlines())
    return {names: path for _number, names, path in rows}


def _v1_hierarchy(root: str, names: str, path: str) -> dict[str, str]:
    wanted = [name for name in names.split(",") if name in _V1_CONTROLLERS]
    for place in (names, *wanted):  # "cpu,cpuacct" is mounted as a whole, with links from each name
        directory = (f"{root}/{place}{path}").rstrip("/")
        if wanted and os.access(directory, os.W_OK):
            return dict.fromkeys(wanted, directory)
    return {}


def v2_places(path: str | None, pid: int, root: str = ROOT) -> list[Place]:
    """The usable ones of `v2_candidates`, best order first."""
    found = []
    for directory in v2_candidates(path, root):
        controllers, leave = _v2_rights(directory, pid)
        if controllers:
            found.append(Place(directory, controllers, leave=leave))
    return found


def v2_candidates(path: str | None, root: str = ROOT) -> list[str]:
    """Our own group, the one above, the root of the tree. A launcher that has moved to a child of its own group already
    (its name is ours) looks beside it only: children of children help nobody.
    """
    if path is None or not os.path.exists(f"{root}/cgroup.controllers"):
        return []
    own = (root + path).rstrip("/")
    parent, _, name = own.rpartition("/")
    if own == root:
        return [root]
    return list(dict.fromkeys([parent, root] if name.startswith(PREFIX) else [own, parent, root]))


def _v2_rights(directory: str, pid: int) -> tuple[list[str], bool]:
    """What a new group in `directory` may have, and whether we must leave `directory` first.

    The move of the job into it writes the cgroup.procs of the common ancestor, which must be ours to write. A group of
    any type but "domain" has a threaded subtree, where memory cannot be limited.
    """
    needed = (directory, f"{directory}/cgroup.procs", f"{directory}/cgroup.subtree_control")
    if not all(os.access(path, os.W_OK) for path in needed):
        return [], False
    kind = read(f"{directory}/cgroup.type").strip()  # the root of the tree has none, and may have processes
    inside = read(f"{directory}/cgroup.procs").split() if kind else []
    alone = inside == [str(pid)]
    if (kind and kind != "domain") or (inside and not alone):
        return [], False
    offered = read(f"{directory}/cgroup.controllers").split()
    return [name for name in _V2_CONTROLLERS if name in offered], alone


def alone(own: str, pid: int, root: str = ROOT) -> bool:
    """Whether `pid` is the only process of its own v2 group: it changes from launch to launch within one group."""
    path = hierarchies(own).get("")
    return path is not None and read(f"{root}{path}/cgroup.procs").split() == [str(pid)]


def read(path: str) -> str:
    """The text of a small file of the kernel, "" where it cannot be read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(fd, _READ_LIMIT).decode("utf-8", "surrogateescape")
    except OSError:
        return ""
    finally:
        os.close(fd)
