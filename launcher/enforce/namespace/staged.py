"""Staged writes of one launch: which areas, the snapshots before the job, and the commit after it.

The supervisor does all of it from outside the sandbox, by descriptor: it holds the scratch file system that the child
mounted, which outlives the job's mount namespace with that descriptor. Sources are read, and the host is written,
with the user's own ids.
"""

from __future__ import annotations

import errno
import os
import time

from launcher.enforce.namespace.binds import Bind
from launcher.enforce.namespace.fork import Effective
from launcher.enforce.namespace.spec import Rule, Staged
from launcher.enforce.namespace.trees import clone_mapped
from launcher.enforce.staging.areas import host_permissions, plan_areas
from launcher.enforce.staging.baseline import Baseline
from launcher.enforce.staging.changes import changes
from launcher.enforce.staging.commit import Settings, commit
from launcher.enforce.staging.judge import all_or_nothing, judge
from launcher.enforce.staging.layers import Layers
from launcher.enforce.staging.snapshot import Budget, Snapshot, existing_directory
from launcher.enforce.staging.tree import look, relative, split, within
from launcher.errors import EnforcementError, RefusedError
from launcher.kernel import landlock, libc
from launcher.kernel.abi import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from launcher.capability.permissions import Permissions
    from launcher.capability.scope import Scope
    from launcher.enforce.job import Job, Review
    from launcher.enforce.namespace.plan.mountplan import MountPlan
    from launcher.enforce.namespace.spec import Identity
    from launcher.enforce.result import Result
    from launcher.enforce.staging.areas import Area
    from launcher.enforce.staging.judge import Verdict

_STAGED = ("nosuid", "nodev")
_BIND = ("ro", "nosuid", "nodev", "noexec")
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
_DEFAULT_DISK = 1 << 30
_DEFAULT_FILES = 1 << 18
_UMASK = 0o022


class StagedWrites:
    """The write grants of one profile. `areas` are where the job may write; nothing else of the host is writable."""

    __slots__ = (
        "_baselines",
        "_identity",
        "_limits",
        "_mapped",
        "_review",
        "_scratch",
        "_switch",
        "areas",
        "permissions",
        "points",
        "profile",
    )

    def __init__(self, profile: dict[str, Any], scope: Scope, job: Job) -> None:
        self.profile = profile
        self._identity = job.identity
        self._switch = job.switch_ids
        self._mapped = job.mapped
        self._review = job.review
        self._limits: dict[str, int | None] = profile["limits"]
        self.permissions: Permissions = host_permissions(profile["files"], profile["limits"], scope)
        self._baselines: dict[str, Baseline] = {}
        self._scratch = -1
        self.areas: list[Area] = []
        self.points: list[tuple[str, bool]] = []  # (path, is a directory) of what is mounted on top of the areas

    def plan(self, plan: MountPlan) -> None:
        """Adds the areas to the mount plan. Raises RefusedError for a directory that leads through a link."""
        self.areas, warnings = plan_areas(self.permissions, existing_directory)
        plan.warnings += warnings
        for area in self.areas:
            if os.path.realpath(area.directory) != area.directory:
                raise RefusedError(
                    f"{area.directory} is granted for writing and leads through a symbolic link",
                    hint=f"grant {os.path.realpath(area.directory)}, the name that it resolves to",
                )
            # What root or another id owns cannot be copied up by the job (EOVERFLOW): it gets copies of its own.
            if area.live_lower and _owner(area.directory) != self._identity.uid:
                area.live_lower = False
                area.binds = ()
            if plan.sockets:  # a bind shows the sockets of its tree; an overlay and a snapshot do not
                area.binds = ()
            # `cmd: "*"` is every program in view, what the job built among them
            every = self.profile["commands"]["mode"] == "all"
            options = _STAGED if every else (*_STAGED, "noexec")
            plan.staged.append(Staged(area.name, area.directory, live_lower=area.live_lower, options=options))
            plan.rules.append(Rule(area.directory, landlock.SCRATCH | (landlock.EXECUTE if every else 0)))
            plan.over += [Bind(path, path, _BIND) for path in area.binds]

    # -- before the job -----------------------------------------------------------------------------------------------

    def prepare(self, scratch: int) -> None:
        """Fills the lower layers in the scratch file system behind the descriptor.

        Raises RefusedError, EnforcementError.
        """
        self._scratch = scratch
        disk, files = self._limits["max_disk"] or _DEFAULT_DISK, self._limits["max_files"] or _DEFAULT_FILES
        budget = Budget(disk, files)
        for area in self.areas:
            try:
                self._baselines[area.name] = Baseline() if area.live_lower else self._snapshot(area, budget)
            except OSError as error:
                hint = "raise limits.max_disk or limits.max_files" if error.errno == errno.ENOSPC else ""
                raise EnforcementError("take a snapshot of", area.directory, error.errno or 0, hint=hint) from error

    def _snapshot(self, area: Area, budget: Budget) -> Baseline:
        source = self._source(area.directory)
        target = _open_inside(self._scratch, f"{area.name}/lower")
        owner = (self._identity.uid, self._identity.gid)
        effective = Effective(self._identity) if self._switch else None
        try:
            baseline = Snapshot(area, self.permissions, budget, owner).take(source, target)
            for path, directory in self.points:
                if within(path, area.directory) and path != area.directory:
                    _make_point(target, relative(path, area.directory), owner, directory=directory)
            return baseline
        finally:
            if effective:
                effective.restore()
            os.close(source)
            os.close(target)

    def _source(self, directory: str) -> int:
        """The host's directory, opened with the user's rights: by his ids, or as root's shown as the job's."""
        tree = clone_mapped(self._identity, directory, _BIND) if self._mapped else -1
        effective = Effective(self._identity) if self._switch else None
        try:
            return _open_host(directory) if tree < 0 else _open_inside(tree, ".")
        finally:
            if effective:
                effective.restore()
            if tree >= 0:
                os.close(tree)

    # -- after the job ------------------------------------------------------------------------------------------------

    def finish(self, result: Result, journals: str, *, writer: Identity | None) -> None:
        """Judges what the job wrote, commits what is granted, and fills `result`. Raises EnforcementError.

        `writer` are the ids that the host is written with; None for this process's own.
        """
        journal = _journal_directory(journals, writer)
        effective = Effective(writer) if writer else None
        layers: list[Layers] = []
        try:
            layers = [self._layers(area) for area in self.areas]
            self._commit(layers, f"/proc/self/fd/{journal}", result)
        except OSError as error:
            hint = "what the job wrote is lost" if not result.committed else ""
            raise EnforcementError("commit", error.filename or "staged writes", error.errno or 0, hint=hint) from error
        finally:
            if effective:
                effective.restore()
            for area in layers:
                for fd in (area.upper, area.lower, area.target):
                    os.close(fd)
            os.close(journal)
            os.close(self._scratch)

    def _layers(self, area: Area) -> Layers:
        upper = _open_inside(self._scratch, f"{area.name}/upper")
        target = _open_host(area.directory)
        lower = os.dup(target) if area.live_lower else _open_inside(self._scratch, f"{area.name}/lower")
        return Layers(area.name, area.directory, (upper, lower, target), self._baselines[area.name])

    def _commit(self, layers: list[Layers], journals: str, result: Result) -> None:
        found = []
        for area in layers:
            found += changes(area.upper, area.lower, area.name, area.directory, area.baseline.readable)
        verdict = judge(found, self.permissions, now=time.time(), max_total=self._limits["max_disk"] or _DEFAULT_DISK)
        atomic = self.profile["commit"] == "success"
        if atomic:
            verdict = all_or_nothing(verdict, succeeded=result.ended_by == "job" and result.exit_code == 0)
        if self._review and verdict.accepted:
            verdict = self._reviewed(verdict, layers, self._review, result)
        report = commit(verdict, layers, Settings(journals, result.job, _UMASK, atomic=atomic))
        result.committed = report.committed
        result.refused = [*report.refused, *report.conflicts, *report.failed]

    def _reviewed(self, verdict: Verdict, layers: list[Layers], ask: Review, result: Result) -> Verdict:
        """What the person who was asked lets through: all of it or nothing. The scratch no longer changes."""
        from launcher.enforce.staging.review import review

        if ask(review(verdict, layers), len(verdict.accepted), len(verdict.refused)):
            result.review = "accepted"
            return verdict
        result.review = "declined"
        return verdict.none_of_it("declined at the review")


def _make_point(lower: int, inside: str, owner: tuple[int, int], *, directory: bool) -> None:
    """A place in a snapshot for what is mounted there: a program or a live tree whose own name may not be read."""
    parents, name = split(inside)
    here = os.dup(lower)
    try:
        for word in parents.split("/") if parents else []:
            below = _open_or_make(here, word, owner)
            os.close(here)
            here = below
        if directory:
            os.close(_open_or_make(here, name, owner))
        elif look(here, name) is None:
            os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=here))
            os.chown(name, *owner, dir_fd=here, follow_symlinks=False)
    finally:
        os.close(here)


def _open_or_make(directory: int, name: str, owner: tuple[int, int]) -> int:
    if look(directory, name) is None:
        os.mkdir(name, 0o755, dir_fd=directory)
        os.chown(name, *owner, dir_fd=directory, follow_symlinks=False)
    return _open_inside(directory, name)


def _owner(directory: str) -> int:
    try:
        return os.stat(directory).st_uid
    except OSError as error:
        raise RefusedError(f"{directory} went away while it was looked at: {error.strerror}") from error


def _open_host(directory: str) -> int:
    return libc.openat2(libc.HERE, directory, _DIRECTORY, 0, RESOLVE_NO_SYMLINKS)


def _open_inside(scratch: int, path: str) -> int:
    return libc.openat2(scratch, path, _DIRECTORY, 0, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)


def _journal_directory(journals: str, writer: Identity | None) -> int:
    """A descriptor of the directory for the journals of this writer: his own, below one that he cannot walk to."""
    uid = writer.uid if writer else os.geteuid()
    path = f"{journals}/{uid}"
    os.makedirs(journals, 0o700, exist_ok=True)
    os.makedirs(path, 0o700, exist_ok=True)
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    if writer and os.fstat(fd).st_uid != writer.uid:
        os.fchown(fd, writer.uid, writer.gid)
    return fd
