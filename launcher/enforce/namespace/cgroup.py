"""One control group a job, on whatever the host has: v2 where controllers can be enabled, else the v1 hierarchies.

The group is made and limited before the job's image starts, and the parked pid 1 is attached from outside; so no
fork happens between check and attach. Killing is by pid namespace, so nothing here walks a process list.
"""

from __future__ import annotations

import errno
import fcntl
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ROOT = "/sys/fs/cgroup"
PREFIX = "mlsandbox-"
_PERIOD_US = 100_000
_V1_CONTROLLERS = ("cpu", "cpuacct", "memory", "pids")
_NO_SUBDIRECTORIES = 2
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

# limit of the profile -> v1 (controller, file, value) and v2 (controller, file, value)
_V1_FILES = {
    "max_memory": (("memory", "memory.limit_in_bytes"), ("memory", "memory.memsw.limit_in_bytes")),
    "max_processes": (("pids", "pids.max"),),
    "cpus": (("cpu", "cpu.cfs_quota_us"),),
}
_V2_FILES = {
    "max_memory": (("memory", "memory.max"), ("memory", "memory.swap.max")),
    "max_processes": (("pids", "pids.max"),),
    "cpus": (("cpu", "cpu.max"),),
}
LIMITS = tuple(_V2_FILES)


def controllers_needed(limits: dict[str, int | None]) -> set[str]:
    """The controllers that `limits` of a profile need: of `memory`, `pids`, `cpu` (and `cpuacct` for CPU time)."""
    needed = {controller for name, rows in _V2_FILES.items() if limits.get(name) is not None for controller, _ in rows}
    if limits.get("max_cpu_time") is not None:
        needed.add("cpu")
    return needed


class Cgroup:
    """The groups of one job. `paths` maps a controller to its directory; v2 has one directory for all.

    `held` are descriptors whose locks say that the launcher lives: a group is empty before its job is in it, and
    another launch that removes leftovers must not take it for one.
    """

    __slots__ = ("held", "paths", "version")

    def __init__(self, version: int, paths: dict[str, str], held: list[int] | None = None) -> None:
        self.version = version
        self.paths = paths
        self.held = held or []

    def directories(self) -> list[str]:
        return sorted(set(self.paths.values()))

    def attach(self, pid: int) -> None:
        """Moves process `pid` (with one thread) into a v2 group. Raises OSError."""
        if self.version == 2:
            write(f"{self.paths[next(iter(self.paths))]}/cgroup.procs", str(pid))

    def doors(self) -> list[int]:
        """Descriptors by which a process with one thread enters the v1 groups itself, see `enter`. Raises OSError."""
        if self.version == 2:
            return []
        return [os.open(f"{directory}/tasks", os.O_WRONLY | os.O_CLOEXEC) for directory in self.directories()]

    def remove(self) -> None:
        """Removes the empty groups; a group that is still busy is left for the next launch or `doctor --clean`."""
        for directory in self.directories():
            try:
                os.rmdir(directory)
            except OSError as error:
                if error.errno not in {errno.EBUSY, errno.ENOENT}:
                    raise
        while self.held:
            os.close(self.held.pop())

    def out_of_memory(self) -> bool:
        """Whether the kernel killed a process of the job for its memory limit."""
        return self._count("memory", {1: "memory.oom_control", 2: "memory.events"}, "oom_kill") > 0

    def refused_forks(self) -> int:
        """How often fork(2) was refused for the limit of processes."""
        return self._count("pids", {1: "pids.events", 2: "pids.events"}, "max")

    def peak_memory(self) -> int | None:
        """The highest memory use in bytes, or None where the kernel does not say."""
        name = {1: "memory.max_usage_in_bytes", 2: "memory.peak"}[self.version]
        text = self._read("memory", name)
        return int(text) if text.strip().isdigit() else None

    def cpu_time_us(self) -> int | None:
        """User and system time of the whole tree in microseconds, or None."""
        if self.version == 2:
            return self._count("cpu", {2: "cpu.stat"}, "usage_usec") or None
        text = self._read("cpuacct", "cpuacct.usage")
        return int(text) // 1000 if text.strip().isdigit() else None

    def _count(self, controller: str, names: dict[int, str], key: str) -> int:
        for line in self._read(controller, names[self.version]).splitlines():
            word, _, value = line.partition(" ")
            if word == key and value.isdigit():
                return int(value)
        return 0

    def _read(self, controller: str, name: str) -> str:
        directory = self.paths.get(controller)
        if directory is None:
            return ""
        try:
            with open(f"{directory}/{name}", encoding="utf-8") as file:
                return file.read()
        except FileNotFoundError:
            return ""


def enter(doors: Sequence[int]) -> None:
    """Moves the calling process into the groups behind `doors`, and closes them. Raises OSError.

    The kernel takes its lock over all forks of the host, and waits for a grace period of RCU (10 ms measured), unless
    a single thread moves itself (cgroup_procs_write_start): so the job's pid 1 does that, on descriptors whose opener
    had the right to.
    """
    for door in doors:
        os.write(door, b"0")
        os.close(door)


def write(path: str, value: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode())
    finally:
        os.close(fd)


def create(job: str, limits: dict[str, int | None]) -> Cgroup | None:
    """Makes and limits the groups of `job`; None where this process may make none. Raises OSError on a failed limit."""
    needed = controllers_needed(limits)
    if not needed:
        return None
    made = _create_v2(job, needed) or _create_v1(job, needed | ({"cpuacct"} if "cpu" in needed else set()))
    if made:
        try:
            _limit(made, limits)
        except OSError:
            made.remove()
            raise
    return made


def _limit(group: Cgroup, limits: dict[str, int | None]) -> None:
    for name, rows in (_V2_FILES if group.version == 2 else _V1_FILES).items():
        value = limits.get(name)
        if value is None:
            continue
        for controller, file in rows:
            path = f"{group.paths[controller]}/{file}"
            # without swap accounting there is no such file, and no swap to account
            if "sw" in file and not os.path.exists(path):
                continue
            write(path, _value(name, file, value))


def _value(name: str, file: str, value: int) -> str:
    if name == "cpus":
        quota = value * _PERIOD_US // 1000
        return f"{quota} {_PERIOD_US}" if file == "cpu.max" else str(quota)
    return "0" if file == "memory.swap.max" else str(value)


def own_paths() -> dict[str, str]:
    """From /proc/self/cgroup: controller (or "" for v2) to the path of this process in that hierarchy."""
    found = {}
    with open("/proc/self/cgroup", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            _number, controllers, path = line.rstrip("\n").split(":", 2)
            for controller in controllers.split(","):
                found[controller] = path
    return found


def _create_v1(job: str, needed: set[str]) -> Cgroup | None:
    own = own_paths()
    made: dict[str, str] = {}
    held: list[int] = []
    for controller in sorted(needed):
        if controller not in own:
            Cgroup(1, made, held).remove()
            return None
        base = f"{ROOT}/{controller}{own[controller].rstrip('/')}"
        directory = f"{base}/{PREFIX}{job}"
        try:
            held.append(_make(directory))
        except (PermissionError, FileNotFoundError):
            Cgroup(1, made, held).remove()
            return None
        made[controller] = directory
    return Cgroup(1, made, held)


def _make(directory: str) -> int:
    """Makes a group and locks it; the descriptor that holds the lock. Raises OSError.

    Mode 0700: whoever could open it could hold the lock. Between mkdir and flock another launch may take the group for
    a leftover and remove it; then it is made again.
    """
    while True:
        os.mkdir(directory, 0o700)
        try:
            fd = os.open(directory, _DIRECTORY)
        except FileNotFoundError:
            continue
        fcntl.flock(fd, fcntl.LOCK_EX)
        if os.path.exists(directory):
            return fd
        os.close(fd)


def _create_v2(job: str, needed: set[str]) -> Cgroup | None:
    for base in _v2_bases(own_paths()):
        if not needed <= _words(f"{base}/cgroup.controllers"):
            continue
        try:
            if not needed <= _words(f"{base}/cgroup.subtree_control"):
                write(f"{base}/cgroup.subtree_control", " ".join(f"+{name}" for name in sorted(needed)))
            directory = f"{base}/{PREFIX}{job}"
            held = _make(directory)
        except OSError:
            continue
        return Cgroup(2, dict.fromkeys(needed, directory), [held])
    return None


def _v2_bases(paths: dict[str, str]) -> Iterable[str]:
    """Where a group of ours may go: below our own group (a delegated one), else beside it, else the root's children.

    A group with processes can give its children no controllers (cgroup-v2.rst, "no internal processes"), so below
    our own works only where we are alone in a delegated subtree or at the root.
    """
    own = paths.get("", "").rstrip("/")
    for root in (ROOT, f"{ROOT}/unified"):
        if os.path.exists(f"{root}/cgroup.controllers"):
            yield f"{root}{own}"
            if own:
                yield f"{root}{own.rpartition('/')[0]}"
                yield root


def _words(path: str) -> set[str]:
    try:
        with open(path, encoding="utf-8") as file:
            return set(file.read().split())
    except OSError:
        return set()


def remove_leftovers() -> list[str]:
    """Removes the groups of launchers that are gone, everywhere where we make some; the names of those that went."""
    return [group for base in sorted(_bases()) for group in _groups(base) if _removed(group)]


def _bases() -> set[str]:
    own = own_paths()
    bases = {f"{ROOT}/{name}{own[name].rstrip('/')}" for name in _V1_CONTROLLERS if name in own}
    bases.update(_v2_bases(own))
    return bases


def _groups(base: str) -> list[str]:
    """Our groups below `base`, whoever's. One stat where there are none: a kernfs directory has 2 + subdirectories."""
    try:
        if os.stat(base).st_nlink == _NO_SUBDIRECTORIES:
            return []
        return [f"{base}/{name}" for name in os.listdir(base) if name.startswith(PREFIX)]
    except OSError:
        return []


def _removed(directory: str) -> bool:
    """Removes a group that nobody holds and nothing runs in. False where it is in use, gone, or another user's."""
    try:
        fd = os.open(directory, _DIRECTORY)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # What we locked may have been removed, and the name be that of a new group; what is locked stays what it is.
        if not os.path.samestat(os.fstat(fd), os.stat(directory)):
            return False
        os.rmdir(directory)  # EBUSY where a process is in it
    except OSError:
        return False
    finally:
        os.close(fd)
    return True
