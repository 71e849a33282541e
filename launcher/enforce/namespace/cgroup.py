"""One control group a job, on whatever the host has: v2 where controllers can be enabled, else the v1 hierarchies.

The group is made and limited before the job's image starts, and the parked pid 1 is attached from outside; so no
fork happens between check and attach. Killing is by pid namespace, so nothing here walks a process list. Where a group
may be made is decided by `launcher.kernel.places`; here it is done.

v2 has two levels, BASE/mlsandbox-JOB/job. The outer one enables the controllers for the inner, and the kernel refuses
to disable in BASE what a child of it passes on (cgroup_subtree_control_write: EBUSY). Without it systemd, which
disables in its groups what none of its units needs, would lift the limits of a job that runs.
"""

from __future__ import annotations

import errno
import fcntl
import os

from launcher.errors import EnforcementError
from launcher.kernel import places
from launcher.kernel.places import PREFIX, ROOT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from launcher.kernel.places import Place

_PERIOD_US = 100_000
_V1_CONTROLLERS = ("blkio", "cpu", "cpuacct", "memory", "pids")
# A limit of processes is held by RLIMIT_NPROC in the job's own user namespace too, so it needs no group.
_BACKED = {"pids"}
# The controller of v1 that counts time. cpu.stat is in every v2 group, with no controller (cgroup-v2.rst, "cpu.stat").
_ACCOUNTING = "cpuacct"
_LEAF = "job"
_NO_SUBDIRECTORIES = 2
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

# limit of the profile -> v1 (controller, file, value) and v2 (controller, file, value)
_V1_FILES = {
    "max_memory": (("memory", "memory.limit_in_bytes"), ("memory", "memory.memsw.limit_in_bytes")),
    "max_processes": (("pids", "pids.max"),),
    "cpus": (("cpu", "cpu.cfs_quota_us"),),
    "max_io_read": (("blkio", "blkio.throttle.read_bps_device"),),
}
_V2_FILES = {
    "max_memory": (("memory", "memory.max"), ("memory", "memory.swap.max")),
    "max_processes": (("pids", "pids.max"),),
    "cpus": (("cpu", "cpu.max"),),
    "max_io_read": (("io", "io.max"),),
    # what is written back later is the group's only where memory is accounted too (cgroup-v2.rst, "Writeback")
    "max_io_write": (("io", "io.max"), ("memory", "")),
}
_BLOCK = "/sys/block"
_PER_DISK = {"max_io_read": "rbps", "max_io_write": "wbps"}
LIMITS = tuple(_V2_FILES)


def controllers_needed(limits: dict[str, int | None]) -> set[str]:
    """The controllers that `limits` of a profile need, by the names of version 2, and `cpuacct`, which counts time."""
    needed = {controller for name, rows in _V2_FILES.items() if limits.get(name) is not None for controller, _ in rows}
    if limits.get("max_cpu_time") is not None:
        needed.add(_ACCOUNTING)
    return needed


class Cgroup:
    """The groups of one job. `paths` maps a controller to the directory with its files; v2 has one directory for all.

    `made` are all directories, in the order in which they were made. `held` are descriptors whose locks say that the
    launcher lives: a group is empty before its job is in it, and another launch that removes leftovers must not take
    it for one. `left` is the v2 group that the launcher left for a child of it.
    """

    __slots__ = ("held", "left", "made", "paths", "version")

    def __init__(self, version: int) -> None:
        self.version = version
        self.paths: dict[str, str] = {}
        self.made: list[str] = []
        self.held: list[int] = []
        self.left: _Left | None = None

    def directories(self) -> list[str]:
        """What was made, outer ones first."""
        return list(self.made)

    def make(self, directory: str) -> None:
        """Makes and locks one more directory. Raises OSError."""
        self.held.append(_make(directory))
        self.made.append(directory)

    def attach(self, pid: int) -> None:
        """Moves process `pid` (with one thread) into a v2 group. Raises EnforcementError."""
        if self.version != 2:
            return
        path = f"{self.made[-1]}/cgroup.procs"
        try:
            write(path, str(pid))
        except OSError as error:
            raise EnforcementError("move the job into", path, error.errno or 0) from error

    def doors(self) -> list[int]:
        """Descriptors by which a process with one thread enters the v1 groups itself, see `enter`. Raises OSError."""
        if self.version == 2:
            return []
        return [os.open(f"{directory}/tasks", os.O_WRONLY | os.O_CLOEXEC) for directory in self.made]

    def remove(self) -> None:
        """Removes the empty groups; a group that is still busy is left for the next launch or `doctor --clean`."""
        while self.made:
            try:
                os.rmdir(self.made.pop())
            except OSError as error:
                if error.errno not in {errno.EBUSY, errno.ENOENT}:
                    raise
        if self.left:
            self.left.come_back()
            self.left = None
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
            return self._count(_ACCOUNTING, {2: "cpu.stat"}, "usage_usec") or None
        text = self._read(_ACCOUNTING, "cpuacct.usage")
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
    made = _create_v2(job, needed) or _create_v1(job, needed)
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
            if controller not in group.paths or not file:  # one of _BACKED, or needed beside another
                continue
            path = f"{group.paths[controller]}/{file}"
            if name in _PER_DISK:
                _throttle(path, _PER_DISK[name], value)
                continue
            # without swap accounting there is no such file, and no swap to account
            if "sw" in file and not os.path.exists(path):
                continue
            write(path, _value(name, file, value))


def _throttle(path: str, key: str, value: int) -> None:
    """One line a disk: the kernel has no word for all. Those that come later are not limited. Raises OSError."""
    version_2 = path.endswith("/io.max")
    for disk in _disks():
        try:
            write(path, f"{disk} {key}={value}" if version_2 else f"{disk} {value}")
        except OSError as error:
            if error.errno not in {errno.ENODEV, errno.ENXIO}:  # it went away
                raise


def _disks() -> list[str]:
    """MAJOR:MINOR of each disk with something on it; partitions are limited with theirs. Raises OSError."""
    sized = [
        name for name in sorted(os.listdir(_BLOCK)) if places.read(f"{_BLOCK}/{name}/size").strip() not in {"", "0"}
    ]
    return [places.read(f"{_BLOCK}/{name}/dev").strip() for name in sized]


def _value(name: str, file: str, value: int) -> str:
    if name == "cpus":
        quota = value * _PERIOD_US // 1000
        return f"{quota} {_PERIOD_US}" if file == "cpu.max" else str(quota)
    return "0" if file == "memory.swap.max" else str(value)


def own_paths() -> dict[str, str]:
    """From /proc/self/cgroup: controller (or "" for v2) to the path of this process in that hierarchy."""
    rows = places.hierarchies(places.read("/proc/self/cgroup"))
    return {controller: path for names, path in rows.items() for controller in names.split(",")}


def _create_v1(job: str, needed: set[str]) -> Cgroup | None:
    own = own_paths()
    group = Cgroup(1)
    for controller in sorted("blkio" if name == "io" else name for name in needed):
        try:
            if controller not in own:
                raise FileNotFoundError(controller)
            directory = f"{ROOT}/{controller}{own[controller].rstrip('/')}/{PREFIX}{job}"
            group.make(directory)
            group.paths[controller] = directory
        except (PermissionError, FileNotFoundError):
            if controller not in _BACKED:
                group.remove()
                return None
    return group if group.made else None


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
    required = needed - _BACKED - {_ACCOUNTING}
    for place in places.v2_places(own_paths().get(""), os.getpid()):
        if not required <= place.controllers:
            continue
        group = Cgroup(2)
        try:
            _make_v2(group, place, job, needed & place.controllers)
        except OSError:  # another process came in, or another manager of this tree was in the way
            group.remove()
            continue
        return group
    return None


def _make_v2(group: Cgroup, place: Place, job: str, names: set[str]) -> None:
    if place.leave:
        group.left = _Left(place.directory)
    _enable(place.directory, names)
    outer = f"{place.directory}/{PREFIX}{job}"
    group.make(outer)
    _enable(outer, names)
    group.make(f"{outer}/{_LEAF}")
    group.paths = dict.fromkeys({*names, _ACCOUNTING}, f"{outer}/{_LEAF}")


def _enable(directory: str, names: set[str]) -> None:
    """Gives the children of a group these controllers; what they have stays."""
    missing = names - _words(f"{directory}/cgroup.subtree_control")
    if missing:
        write(f"{directory}/cgroup.subtree_control", " ".join(f"+{name}" for name in sorted(missing)))


class _Left:
    """The launcher in a child of its own group, so that the group can have children with controllers."""

    __slots__ = ("_before", "_fd", "_group", "_leaf")

    def __init__(self, group: str) -> None:
        """Raises OSError; the launcher is where it was then."""
        self._group = group
        self._before = _words(f"{group}/cgroup.subtree_control")
        self._leaf = f"{group}/{PREFIX}launcher-{os.getpid()}"
        self._fd = _make(self._leaf)
        try:
            write(f"{self._leaf}/cgroup.procs", str(os.getpid()))
        except OSError:
            os.rmdir(self._leaf)
            os.close(self._fd)
            raise

    def come_back(self) -> None:
        """As it was before: others of this group may fork or launch next. What cannot be undone (another launch goes on
        beside ours) goes with the next launch's tidying up, or with the scope.
        """
        try:
            added = _words(f"{self._group}/cgroup.subtree_control") - self._before
            if added:
                write(f"{self._group}/cgroup.subtree_control", " ".join(f"-{name}" for name in sorted(added)))
            write(f"{self._group}/cgroup.procs", str(os.getpid()))
            os.rmdir(self._leaf)
        except OSError:
            pass
        os.close(self._fd)


def _words(path: str) -> set[str]:
    return set(places.read(path).split())


def remove_leftovers() -> list[str]:
    """Removes the groups of launchers that are gone, everywhere where we make some; the names of those that went."""
    return [group for base in sorted(_bases()) for group in _groups(base) if _removed(group)]


def _bases() -> set[str]:
    own = own_paths()
    bases = {f"{ROOT}/{name}{own[name].rstrip('/')}" for name in _V1_CONTROLLERS if name in own}
    return bases.union(places.v2_candidates(own.get("")))


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
        if os.path.isdir(f"{directory}/{_LEAF}"):
            os.rmdir(f"{directory}/{_LEAF}")
        os.rmdir(directory)  # EBUSY where a process is in it
    except OSError:
        return False
    finally:
        os.close(fd)
    return True
