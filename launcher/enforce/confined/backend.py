"""A Profile and a Job run without namespaces, where the operator accepted that (`--allow-degraded`)."""

from __future__ import annotations

import _signal
import os
import shutil

from launcher.enforce.confined.init import spawn
from launcher.enforce.confined.plan import plan
from launcher.enforce.namespace import backend, channel
from launcher.enforce.namespace.console import Console
from launcher.enforce.namespace.execcheck import ExecCheck
from launcher.enforce.namespace.spec import Spec
from launcher.enforce.namespace.supervise import Supervision, supervise
from launcher.errors import EnforcementError, RefusedError
from launcher.kernel import seccomp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from launcher.enforce.job import Job
    from launcher.enforce.result import Result

_SCRATCH = "/var/tmp"  # noqa: S108  a directory of a random name is made in it


class Confined:
    """A launch that is decided and planned. Like `namespace.backend.Prepared`, with nothing mounted."""

    __slots__ = ("_cache", "job", "plan", "profile", "programs", "scratch")

    def __init__(self, profile: dict[str, Any], job: Job, cache: str | None) -> None:
        """Raises RefusedError for what has no meaning without a view of one's own, EnforcementError."""
        if job.mounts or job.passed:
            raise RefusedError(
                "an ML program cannot be run on this host: its interpreter is mounted into the job's own view",
                hint="launch a command, or allow user namespaces; `mlsandbox doctor` says how",
            )
        self.profile = profile
        self.job = job
        self._cache = cache
        self.scratch = f"{_SCRATCH}/mlsandbox-{job.id}"
        job.terminal = False  # there is no devpts of the job's own
        job.environment["TMPDIR"] = self.scratch
        try:
            self.plan, self.programs = plan(profile, self.scratch)
        except OSError as error:
            hint = "it changed while the sandbox was being planned; launch again"
            raise EnforcementError("look at", error.filename or "the host", error.errno or 0, hint=hint) from error

    def run(self, result: Result, before_start: Callable[[], Callable[[], None] | None]) -> None:
        """Runs the job to its end and fills `result`. Raises EnforcementError, NotFoundError, RefusedError."""
        limits = dict(self.profile["limits"])
        console = Console(self.job.stdio, terminal=False, max_output=limits["max_output"])
        self._make_scratch()
        try:
            spec = self.spec(console.theirs)
            supervision = Supervision(spec, console, None, result, limits, _nothing_staged)
            supervise(supervision, spec, None, before_start, spawn=spawn, kill=_told_to_end)
        finally:
            shutil.rmtree(self.scratch, ignore_errors=True)

    def _make_scratch(self) -> None:
        os.mkdir(self.scratch, 0o700)
        if self.job.switch_ids:
            os.chown(self.scratch, self.job.identity.uid, self.job.identity.gid)

    def spec(self, stdio: tuple[int, ...]) -> Spec:
        profile, job = self.profile, self.job
        once = profile["commands"]["mode"] == "none"
        # always, and not only for argument rules: nothing is hidden here, so every image is held against the grants
        check = None if once else ExecCheck(profile["permissions"], self.programs, self.programs.helpers())
        variant = {
            "exec": "once" if once else "trace",
            "unix": False,
            "inet": False,  # the network is the host's
            "live": bool(profile["files"]["live"]),
            "add": profile["syscalls"]["add"],
        }
        return Spec(
            operations=(), over=(), staged=(), scratch={}, bounded=(), namespaces=0, hostname="", loopback=False,
            network=None, preloaded=None,
            rules=self.plan.rules, identity=job.identity, switch_ids=job.switch_ids,
            path=job.path, arguments=job.arguments, environment=job.environment, cwd=profile["workspace"],
            stdio=stdio, passed=(), rlimits=backend.rlimits(profile["limits"], others=_tasks_of(job.identity.uid)),
            landlock_abi=backend.landlock_abi(profile),
            filter=seccomp.filter_bytes(profile["syscalls"]["table"], variant, self._cache),
            exec_once=once, check=check, observer=None,
        )  # fmt: skip


def _told_to_end(control: channel.Channel) -> Callable[[], None]:
    """SIGKILL is for the job's parent to hand on: killed itself, it would leave the job's processes behind."""

    def end() -> None:
        try:
            control.send(channel.SIGNAL, (_signal.SIGKILL,))
        except OSError:  # it has gone
            return

    return end


def _tasks_of(uid: int) -> int:
    """Tasks that already count against RLIMIT_NPROC of this user: without a user namespace it is the host's count."""
    found = 0
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                if os.stat(f"/proc/{name}").st_uid == uid:
                    found += len(os.listdir(f"/proc/{name}/task"))
            except OSError:
                continue
    return found


def _nothing_staged(_scratch: int) -> None:
    raise EnforcementError("stage", "writes", hint="there is no scratch on this host")
