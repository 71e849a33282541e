"""The namespace backend: a Profile and a Job become a sandbox, a run and a Result."""

from __future__ import annotations

import os

from launcher.enforce.namespace import cgroup as cgroups
from launcher.enforce.namespace.console import Console
from launcher.enforce.namespace.operations import File, Seal
from launcher.enforce.namespace.plan.etc import etc_operations
from launcher.enforce.namespace.plan.mountplan import MountPlan
from launcher.enforce.namespace.plan.programs import Programs, plan_own_programs, plan_programs
from launcher.enforce.namespace.plan.view import mask_proc, plan_directories, plan_view
from launcher.enforce.namespace.spec import Spec
from launcher.enforce.namespace.supervise import Supervision, supervise
from launcher.errors import EnforcementError
from launcher.kernel import abi, seccomp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from launcher.enforce.job import Job
    from launcher.enforce.namespace.execcheck import ExecCheck
    from launcher.enforce.namespace.plan.nodes import Nodes
    from launcher.enforce.namespace.staged import StagedWrites
    from launcher.enforce.result import Result

NAMESPACES = (
    abi.CLONE_NEWUSER | abi.CLONE_NEWNS | abi.CLONE_NEWPID | abi.CLONE_NEWIPC | abi.CLONE_NEWUTS | abi.CLONE_NEWNET
)
# <asm-generic/resource.h>; the module `resource` has no constants for a reader without importing it
_RLIMIT_CPU, _RLIMIT_FSIZE, _RLIMIT_CORE, _RLIMIT_NPROC, _RLIMIT_NOFILE = 0, 1, 4, 6, 7
_DEFAULT_DISK = 1 << 30
_DEFAULT_FILES = 1 << 18
# what nothing but a control group holds
_GROUPED = ("max_memory", "cpus", "max_cpu_time", "max_io_read", "max_io_write")
_INIT = 1  # pid 1 is ours and is not counted against the job's processes


class Prepared:
    """A launch that is decided and planned; nothing has been done yet."""

    __slots__ = ("_cache", "job", "plan", "profile", "programs", "writes")

    def __init__(self, profile: dict[str, Any], job: Job, cache: str | None) -> None:
        self.profile = profile
        self.job = job
        self.plan = MountPlan()
        self._cache = cache
        self.writes: StagedWrites | None = None
        try:
            self.programs = self._plan()
        except OSError as error:  # what was there a moment ago is gone: the tenant swaps names (attack 5)
            hint = "it changed while the sandbox was being planned; launch again"
            raise EnforcementError("look at", error.filename or "the host", error.errno or 0, hint=hint) from error

    def _plan(self) -> Programs:
        profile, plan = self.profile, self.plan
        commands = profile["commands"]
        plan_view(plan, profile["view"], executable=commands["mode"] == "all")
        programs = plan_programs(plan, commands, list(self.job.programs))
        shell = next((path for path in ("/bin/bash", "/bin/sh") if commands["sh"] and os.path.exists(path)), "")
        home, hostname = profile["user"]["home"], profile["view"]["hostname"]
        names = [name for name in profile["view"]["etc"] if not _replaced(f"/etc/{name}", self.job.etc)]
        plan.operations += etc_operations(names, self.job.identity, home, hostname, shell)
        plan.operations += [File(path, content) for path, content in sorted(self.job.etc.items())]
        plan.common = len(plan.operations)
        plan.operations += self.job.mounts
        plan.rules += self.job.rules
        plan_directories(plan, [home, profile["workspace"]])
        nodes = self._nodes(profile, plan)
        if any(profile["files"][kind] for kind in ("staged", "read", "live")):
            self._plan_files(profile, plan)
        if nodes:
            live = [row["directory"] for row in profile["files"]["live"]]
            nodes.add(plan, self.job, [area.directory for area in plan.staged] + live)
        view = [row["target"] for row in profile["view"]["mounts"]]
        plan_own_programs(plan, view, [area.directory for area in plan.staged])
        if self.writes:
            self.writes.points = plan.points()
        plan.operations += [Seal(path) for path in plan.sealed]
        mask_proc(plan, profile["view"]["proc"])
        return programs

    def _nodes(self, profile: dict[str, Any], plan: MountPlan) -> Nodes | None:
        """Granted devices and sockets that are there; before the files, which are mounted otherwise beside a socket."""
        if not (profile["devices"] or profile["sockets"]):
            return None
        from launcher.capability.scope import Scope
        from launcher.enforce.namespace.plan.nodes import Nodes

        nodes = Nodes(plan, profile, Scope(profile["user"]["home"], profile["workspace"]), self.job)
        plan.sockets = nodes.sockets
        return nodes

    def _plan_files(self, profile: dict[str, Any], plan: MountPlan) -> None:
        from launcher.capability.scope import Scope

        scope = Scope(profile["user"]["home"], profile["workspace"])
        if profile["files"]["staged"]:
            from launcher.enforce.namespace.staged import StagedWrites

            self.writes = StagedWrites(profile, scope, self.job)
            self.writes.plan(plan)
        live: list[str] = []
        if profile["files"]["live"]:
            from launcher.enforce.namespace.plan.live import plan_live

            live = plan_live(plan, profile["files"]["live"], mapped=self.job.mapped)
        if profile["files"]["read"]:
            from launcher.enforce.namespace.plan.files import Reader

            Reader(plan, profile, scope, shown=live, mapped=self.job.mapped).plan()

    def spec(self, stdio: tuple[int, ...], *, counted: bool = False) -> Spec:
        """`counted`: a control group refuses forks first, so that somebody counts them; RLIMIT_NPROC is one behind."""
        profile, job = self.profile, self.job
        limits = profile["limits"]
        check = self._check()
        once = self._exec_once() and not self.job.preloaded
        return Spec(
            operations=self.plan.operations,
            over=self.plan.over,
            rules=self.plan.rules,
            staged=self.plan.staged,
            scratch={
                "size": str(limits["max_disk"] or _DEFAULT_DISK),
                "nr_inodes": str(limits["max_files"] or _DEFAULT_FILES),
                "mode": "0700",
            },
            identity=job.identity,
            switch_ids=job.switch_ids,
            namespaces=NAMESPACES,
            hostname=profile["view"]["hostname"],
            loopback=profile["network"]["loopback"],
            network=job.network,
            path=job.path,
            arguments=job.arguments,
            environment=job.environment,
            cwd=profile["workspace"],
            stdio=stdio,
            passed=job.passed,
            bounded=_bounded(profile),
            rlimits=rlimits(limits, others=int(counted)),
            landlock_abi=landlock_abi(profile),
            filter=self._filter(check),
            exec_once=once,
            preloaded=self.job.preloaded,
            check=check,
            observer=job.observes(once=once, traced=check is not None) if job.observes else None,
        )

    def _check(self) -> ExecCheck | None:
        """What each exec is held against; None where there is nothing finer than "every program in view"."""
        commands = self.profile["commands"]
        unrestricted = commands["mode"] == "all" and commands["check"] == "image" and not commands["denied"]
        if self._exec_once() or unrestricted:
            return None
        from launcher.enforce.namespace.execcheck import ExecCheck

        mounted = [path for path, directory in self.plan.points() if not directory]
        helpers, own = self.programs.helpers(), self.plan.own_programs
        return ExecCheck(self.profile["permissions"], self.programs, helpers, mounted, own=own)

    def _exec_once(self) -> bool:
        return bool(self.job.exec_once or self.profile["commands"]["mode"] == "none")

    def _filter(self, check: ExecCheck | None) -> bytes:
        profile = self.profile
        variant = {
            "exec": self._exec_mode(check),
            "unix": self.plan.sockets,
            "inet": profile["network"]["loopback"] or self.job.network is not None,
            "live": bool(profile["files"]["live"]),
            "add": profile["syscalls"]["add"],
        }
        return seccomp.filter_bytes(profile["syscalls"]["table"], variant, self._cache)

    def _exec_mode(self, check: ExecCheck | None) -> str:
        """How the filter answers execve. Under an observer, which then holds `once` (a process has one listener), it
        is `trace` with no tracer: should the observer's filter not be there, every execve is answered ENOSYS.
        """
        if self.job.preloaded:
            return "refuse"
        if self._exec_once():
            return "trace" if self.job.observes else "once"
        return "trace" if check else "allow"


def _replaced(path: str, files: dict[str, bytes]) -> bool:
    """Whether files of the job stand at or below `path`, which is not taken from the host then."""
    return any(file == path or file.startswith(path + "/") for file in files)


def rlimits(limits: dict[str, int | None], *, others: int = 0) -> list[tuple[int, int]]:
    """(resource, value) of each limit that is a resource limit; `others` are processes that count besides the job's."""
    rows: list[tuple[int, int]] = [(_RLIMIT_CORE, 0)]
    for number, name, extra in (
        (_RLIMIT_FSIZE, "max_file_size", 0),
        (_RLIMIT_NOFILE, "max_open_files", 0),
        (_RLIMIT_NPROC, "max_processes", _INIT + others),
        (_RLIMIT_CPU, "max_cpu_time", 0),
    ):
        value = limits[name]
        if value is not None:
            rows.append((number, value + extra))
    return rows


def _bounded(profile: dict[str, Any]) -> list[tuple[str, list[str]]]:
    """The private file systems that are as large as a limit says, and which does; the others are the base profile's."""
    named = (("max_disk", "size"), ("max_files", "inodes"))
    rows = [
        (row["target"], [limit for limit, field in named if row[field] == profile["limits"][limit]])
        for row in profile["view"]["tmpfs"]
    ]
    return [row for row in rows if row[1]]


def landlock_abi(profile: dict[str, Any]) -> int:
    """The Landlock version to restrict with. Raises EnforcementError where the profile needs a later one."""
    from launcher.kernel import landlock

    version = landlock.abi()
    minimum = profile["landlock"]["minimum_abi"]
    if version < minimum:
        raise EnforcementError(
            "restrict files with",
            f"Landlock ABI {version}",
            hint=f"the profile needs ABI {minimum}",
        )
    return version


class Sandbox:
    """A prepared launch with its control group, its streams and its supervision; nothing runs yet.

    Raises EnforcementError. `prepare` and `commit` of staged writes are done by whoever supervises.
    """

    __slots__ = ("cgroup", "console", "prepared", "spec", "supervision")

    def __init__(self, prepared: Prepared, result: Result) -> None:
        profile, job = prepared.profile, prepared.job
        limits = dict(profile["limits"])
        self.prepared = prepared
        self.cgroup = _make_cgroup(job.id, limits, profile)
        self.console = Console(job.stdio, terminal=job.terminal, max_output=limits["max_output"], raw=job.raw)
        try:
            _acquire(prepared)
            counted = self.cgroup is not None and "pids" in self.cgroup.paths
            self.spec = prepared.spec(self.console.theirs, counted=counted)
            prepare = prepared.writes.prepare if prepared.writes else _no_scratch
            self.supervision = Supervision(self.spec, self.console, self.cgroup, result, limits, prepare)
        except BaseException:
            self.abandon()
            raise

    def abandon(self) -> None:
        """Removes what was made for a launch that comes to nothing."""
        if self.cgroup:
            self.cgroup.remove()

    def commit(self, result: Result, journals: str) -> None:
        """When the job has ended: what it wrote and is granted reaches the host. Raises EnforcementError."""
        if self.prepared.writes:
            self.prepared.writes.finish(result, journals, writer=self.prepared.job.writer)


def run(
    prepared: Prepared, result: Result, before_start: Callable[[], Callable[[], None] | None], journals: str = ""
) -> None:
    """Builds the sandbox and runs the job to its end, commits what it wrote, and fills `result`.

    `journals` is the directory for the records of commits. `before_start` is called before the sandbox is made, and
    what it returns while it is built and before the job's image starts: the place for the audit record that must be
    on disk first, and for the wait until it is. Raises EnforcementError (nothing ran), NotFoundError, RefusedError.
    """
    sandbox = Sandbox(prepared, result)
    try:
        supervise(sandbox.supervision, sandbox.spec, sandbox.cgroup, before_start)
    except BaseException:
        sandbox.abandon()
        raise
    sandbox.commit(result, journals)


def _acquire(prepared: Prepared) -> None:
    for operation in (*prepared.plan.operations, *prepared.plan.over):
        try:
            operation.acquire(prepared.job.identity)
        except OSError as error:
            hint = "the file system may have no id-mapped mounts: launch as an ordinary user, or see `mlsandbox doctor`"
            raise EnforcementError("prepare", operation.describe(), error.errno or 0, hint=hint) from error


def _no_scratch(_scratch: int) -> None:
    raise EnforcementError("stage", "writes", hint="the sandbox sent a scratch that nobody asked for")


def _make_cgroup(job: str, limits: dict[str, int | None], profile: dict[str, Any]) -> cgroups.Cgroup | None:
    degraded = {row["permission"] for row in profile["unenforced"]}
    wanted = {name: value for name, value in limits.items() if f"limits.{name}" not in degraded}
    if wanted.get("max_processes") is not None:
        wanted["max_processes"] = (wanted["max_processes"] or 0) + _INIT
    try:
        made = cgroups.create(job, wanted)
    except OSError as error:
        raise EnforcementError("limit", error.filename or "the cgroup", error.errno or 0) from error
    if made is None and any(
        wanted.get(name) is not None for name in ("max_memory", "cpus", "max_cpu_time", "max_io_read", "max_io_write")
    ):
        raise EnforcementError(
            "make",
            "a control group",
            hint="no cgroup is delegated; --allow-degraded runs without these limits",
        )
    return made
