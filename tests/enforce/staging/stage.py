"""A staged area for tests, with a real overlay: everything happens in one forked child with its own user and mount
namespaces, as the backend does it, and the host's directory is a plain directory of the test."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from launcher.capability import Grant, Limits, Permissions, Scope
from launcher.enforce.staging.areas import Area
from launcher.enforce.staging.baseline import Baseline
from launcher.enforce.staging.changes import Change, changes
from launcher.enforce.staging.commit import Settings, commit, recover
from launcher.enforce.staging.judge import all_or_nothing, judge
from launcher.enforce.staging.layers import Layers
from launcher.enforce.staging.report import Report
from launcher.enforce.staging.snapshot import Budget, Snapshot
from launcher.enforce.staging.tree import DIRECTORY
from launcher.kernel import libc
from launcher.kernel.abi import CLONE_NEWNS, CLONE_NEWUSER, MNT_DETACH, MS_PRIVATE, MS_REC, PR_SET_DUMPABLE
from tests.kernel.filtered import in_child

Entries = list[dict[str, Any]]
NOBODY = 65534
USERS = [0, NOBODY] if os.geteuid() == 0 else [os.geteuid()]
__all__ = [
    "NOBODY",
    "USERS",
    "Entries",
    "Room",
    "Stage",
    "allow",
    "json",
    "outcomes",
    "recover",
    "room",
    "staged",
    "write",
]


def allow(host: str, *rules: str, limits: Limits | None = None, **constraints: Any) -> Permissions:
    """`file.read,write:PATTERN`, or `!file.read:PATTERN`; relative patterns are below `host`."""
    grants: list[Grant] = []
    denies: list[Grant] = []
    for rule in rules:
        words, _, pattern = rule.lstrip("!").partition(":")
        kind, _, operations = words.partition(".")
        made = Grant(kind, tuple(operations.split(",")), (pattern,), dict(constraints), "p")
        (denies if rule.startswith("!") else grants).append(made)
    return Permissions(grants, denies, limits or Limits(), Scope("/home/nobody", host))


@contextmanager
def room(uid: int) -> Iterator[str]:
    """A directory of that user's, that the user can get to, with host/ in it."""
    base = tempfile.mkdtemp(prefix="mlsandbox-staging-", dir="/tmp")
    try:
        for name in ("host", "scratch", "view", "state"):
            os.mkdir(f"{base}/{name}", 0o755)
        for path in (base, *(f"{base}/{name}" for name in ("host", "scratch", "view", "state"))):
            os.chown(path, uid, uid or 0)
        os.chmod(base, 0o755)
        yield base
    finally:
        shutil.rmtree(base)


class Stage:
    """Inside the child. `run` stages, runs the job, and commits."""

    def __init__(self, base: str) -> None:
        self.base, self.host = base, f"{base}/host"
        self.warnings: list[str] = []
        self.found: list[Change] = []
        uid, gid = os.geteuid(), os.getegid()
        libc.prctl(PR_SET_DUMPABLE, 1)  # after a change of ids /proc/self is root's
        libc.unshare(CLONE_NEWUSER | CLONE_NEWNS)
        for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
        libc.mount("none", "/", "none", MS_REC | MS_PRIVATE)
        self.mount_scratch()

    def mount_scratch(self) -> None:
        libc.mount("tmpfs", f"{self.base}/scratch", "tmpfs", 0, "size=64m,nr_inodes=20000")
        for name in ("lower", "upper", "work"):
            os.mkdir(f"{self.base}/scratch/{name}", 0o755)

    def _fd(self, path: str) -> int:
        return os.open(path, DIRECTORY)

    def run(
        self,
        permissions: Permissions,
        job: Callable[[], object],
        *,
        live: bool = False,
        before_commit: Callable[[], object] = lambda: None,
        success_only: bool = False,
        **settings: Any,
    ) -> list[dict[str, Any]]:
        layers = self.stage(permissions, live=live)
        self.work(job, live=live)
        before_commit()
        return self.finish(permissions, layers, success_only=success_only, **settings).entries

    def stage(self, permissions: Permissions, *, live: bool = False) -> Layers:
        area, scratch = Area("area0", self.host, live_lower=live), f"{self.base}/scratch"
        target = self._fd(self.host)
        lower = target if live else self._fd(f"{scratch}/lower")
        baseline = Baseline()
        if not live:
            snapshot = Snapshot(area, permissions, Budget(64 << 20, 10_000), (os.geteuid(), os.getegid()))
            baseline = snapshot.take(target, lower)
            self.warnings = snapshot.warnings
        return Layers("area0", self.host, (self._fd(f"{scratch}/upper"), lower, target), baseline)

    def work(
        self, job: Callable[[], object], *, live: bool = False, look: Callable[[str], object] = lambda _view: None
    ) -> None:
        scratch, view = f"{self.base}/scratch", f"{self.base}/view"
        lower = self.host if live else f"{scratch}/lower"
        options = f"lowerdir={lower},upperdir={scratch}/upper,workdir={scratch}/work,userxattr,redirect_dir=nofollow,index=off,metacopy=off"
        libc.mount("overlay", view, "overlay", 0, options)
        pid = os.fork()
        if pid == 0:
            try:
                os.umask(0o022)
                os.chdir(view)
                job()
                os._exit(0)
            except BaseException as error:
                os.write(2, f"job: {error!r}\n".encode())
                os._exit(1)
        assert os.waitpid(pid, 0)[1] == 0
        look(view)
        libc.umount2(view, MNT_DETACH)

    def finish(
        self, permissions: Permissions, layers: Layers, *, success_only: bool = False, **settings: Any
    ) -> Report:
        self.found = changes(layers.upper, layers.lower, "area0", self.host, layers.baseline.readable)
        verdict = judge(self.found, permissions, max_total=64 << 20)
        if success_only:
            verdict = all_or_nothing(verdict, succeeded=True)
            settings["atomic"] = True
        return commit(verdict, [layers], Settings(f"{self.base}/state", "job1", 0o022, **settings))


def staged(base: str, uid: int, body: Callable[[Stage], Any]) -> Any:
    """What `body` returns, run in the child as `uid`."""
    return in_child(lambda: body(Stage(base)), uid=uid)


class Room:
    def __init__(self, base: str, uid: int) -> None:
        self.base, self.uid = base, uid
        self.host = Path(base) / "host"

    def put(self, name: str, text: str = "", mode: int = 0o644) -> Path:
        path = self.host / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        while path != self.host:
            os.chown(path, self.uid, self.uid)
            path = path.parent
        return self.host / name

    def run(self, rules: list[str], job: Callable[[], object], **options: Any) -> Entries:
        limits = options.pop("limits", None)
        constraints = options.pop("constraints", {})
        allowed = allow(str(self.host), *rules, limits=limits, **constraints)
        found: Entries = staged(self.base, self.uid, lambda stage: stage.run(allowed, job, **options))
        assert not [name for name in self.names() if ".mlsandbox-" in name], "a temporary file was left"
        assert os.listdir(f"{self.base}/state") == []
        return found

    def do(self, body: Callable[[Stage], Any]) -> Any:
        return staged(self.base, self.uid, body)

    def names(self) -> list[str]:
        return sorted(str(path.relative_to(self.host)) for path in self.host.rglob("*"))

    def read(self, name: str) -> str:
        return (self.host / name).read_text()


def outcomes(entries: Entries) -> dict[str, str]:
    return {f"{entry['change']} {entry['path'].partition('/host/')[2]}": entry["outcome"] for entry in entries}


def write(path: str, text: str, mode: str = "w") -> None:
    with open(path, mode) as file:
        file.write(text)
