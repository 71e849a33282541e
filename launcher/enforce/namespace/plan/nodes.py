"""Grants of devices and sockets against the disk: each character device and each Unix socket that is granted, alone.

What is looked for is looked for with the tenant's own ids, and opened with them when it is bound. A device keeps the
host's permissions: the job opens it, or not, as its user would. A socket is bound as the inode of this moment; one
that a server makes anew under the same name is another, and the job's answers ECONNREFUSED. Block devices are never
bound: a disk is every file on it, without owners.
"""

from __future__ import annotations

import os
import stat
import time

from launcher.capability.paths import PathPattern
from launcher.capability.permissions import Permissions
from launcher.enforce.namespace.binds import BindNodes
from launcher.enforce.namespace.fork import Effective
from launcher.enforce.namespace.spec import Rule
from launcher.errors import RefusedError
from launcher.kernel import landlock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from launcher.capability.scope import Scope
    from launcher.enforce.job import Job
    from launcher.enforce.namespace.plan.mountplan import MountPlan

_DEVICE_OPTIONS = ("ro", "nosuid", "noexec")
_SOCKET_OPTIONS = (*_DEVICE_OPTIONS, "nodev")
_DEVICE_RIGHTS = landlock.READ_FILE | landlock.WRITE_FILE | landlock.IOCTL_DEV
# key of the profile: (type, operation, file type, options, Landlock rights)
_KINDS = {
    "devices": ("device", "use", stat.S_IFCHR, _DEVICE_OPTIONS, _DEVICE_RIGHTS),
    "sockets": ("socket", "connect", stat.S_IFSOCK, _SOCKET_OPTIONS, 0),
}
# The sandbox has its own of these: the host's are terminals of other people, the caller's among them (attack 90).
_OWN = ("/dev/pts", "/dev/ptmx", "/dev/tty", "/dev/console")
_MOST_NAMES = 20_000


class Nodes:
    """The devices and sockets of one launch. `sockets` says whether there is any: AF_UNIX is refused without."""

    __slots__ = ("_found", "_scope", "_seen", "sockets")

    def __init__(self, plan: MountPlan, profile: dict[str, Any], scope: Scope, job: Job) -> None:
        self._scope = scope
        self._seen = 0
        self._found: dict[str, dict[str, os.stat_result]] = {}
        permissions = Permissions.from_data(profile["permissions"])
        own = [*_OWN, *[f"/dev/{name}" for name in profile["view"]["devices"]]]
        effective = Effective(job.identity) if job.switch_ids and not job.mapped else None
        try:
            for key in _KINDS:
                self._found[key] = self._look(key, profile[key], permissions, own, plan.warnings)
        finally:
            if effective:
                effective.restore()
        self.sockets = bool(self._found["sockets"])

    def add(self, plan: MountPlan, job: Job, written: list[str]) -> None:
        """Adds the binds; `written` are the directories that the job writes to. Raises RefusedError inside of one."""
        for key, (_type, _operation, kind, options, rights) in _KINDS.items():
            below: dict[str, list[tuple[str, int, int, int]]] = {}
            for path, found in sorted(self._found[key].items()):
                _refuse_inside(path, written)
                directory, _, name = path.rpartition("/")
                below.setdefault(directory or "/", []).append((name, found.st_dev, found.st_ino, kind))
                if rights:
                    plan.rules.append(Rule(path, rights))
            for directory, rows in below.items():
                above = os.lstat(directory)
                identity = (above.st_dev, above.st_ino, stat.S_IFDIR)
                plan.operations.append(BindNodes(directory, directory, options, identity, rows, mapped=job.mapped))

    def _look(
        self, key: str, rules: list[dict[str, Any]], permissions: Permissions, own: list[str], warnings: list[str]
    ) -> dict[str, os.stat_result]:
        kind, operation, wanted, *_ = _KINDS[key]
        found: dict[str, os.stat_result] = {}
        for rule in rules:
            pattern = PathPattern(rule["pattern"], self._scope)
            matches = 0
            for path in self._names(pattern, rule):
                seen = _lstat(path)
                if seen is None or stat.S_IFMT(seen.st_mode) != wanted or _within(path, own):
                    continue
                matches += 1
                if permissions.decide(kind, operation, path, now=time.time()).allowed:
                    found[path] = seen
            if not matches:
                warnings.append(f"{kind} {rule['pattern']} is granted and there is none")
        return found

    def _names(self, pattern: PathPattern, rule: dict[str, Any]) -> Iterator[str]:
        top = pattern.literal or (pattern.prefix if pattern.anchored else self._scope.base)
        if top == "/":
            hint = "name its directory, as in /dev/dri/* or /run/user/1000/agent.sock"
            raise RefusedError(
                f"{rule['pattern']} would be looked for on all of the host", hint=hint, place=str(rule["place"])
            )
        real = os.path.realpath(top)
        if real != top:
            raise RefusedError(
                f"{top} is granted and leads through a symbolic link to {real}",
                hint=f"grant {real}, the name that it resolves to",
                place=str(rule["place"]),
            )
        if pattern.literal:
            yield top
            return
        yield from self._walk(top, pattern)

    def _walk(self, top: str, pattern: PathPattern) -> Iterator[str]:
        pending = [top]
        while pending:
            directory = pending.pop()
            for name, is_directory in _entries(directory):
                self._count(directory)
                path = f"{directory}/{name}"
                if is_directory and pattern.could_match_below(path):
                    pending.append(path)
                elif not is_directory and pattern.matches(path):
                    yield path

    def _count(self, directory: str) -> None:
        self._seen += 1
        if self._seen > _MOST_NAMES:
            hint = "grant devices and sockets in narrower directories"
            raise RefusedError(f"more than {_MOST_NAMES} names would have to be looked at below {directory}", hint=hint)


def _entries(directory: str) -> list[tuple[str, bool]]:
    """Names and whether they are directories; none where the tenant may not look, as /tmp/ssh-* of other people."""
    try:
        with os.scandir(directory) as entries:
            return sorted([(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries])
    except OSError:
        return []


def _lstat(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except OSError:
        return None


def _within(path: str, directories: list[str]) -> bool:
    return any(path == directory or path.startswith(directory + "/") for directory in directories)


def _refuse_inside(path: str, written: list[str]) -> None:
    """A mount point in a directory that is staged would be a file that the job made; in a live one a stub."""
    for directory in written:
        if _within(path, [directory.rstrip("/")]):
            raise RefusedError(
                f"{path} is granted as a device or socket, inside {directory}, which the job writes to",
                hint="let it be elsewhere, or grant writing to narrower directories",
            )
