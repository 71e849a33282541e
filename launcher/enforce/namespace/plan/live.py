"""`live` grants: whole directories mounted writable, with the Landlock rights of just what is granted.

Nothing stands between the job and the host here, so only what Landlock can hold is granted: no append without write
(there is no such right), no symbolic links, devices, fifos or sockets, and no set-id bits (the filter's `live` form).
"""

from __future__ import annotations

import os
import stat

from launcher.enforce.namespace.binds import Bind, Tree
from launcher.enforce.namespace.spec import Rule
from launcher.errors import RefusedError
from launcher.kernel import landlock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from launcher.enforce.namespace.plan.mountplan import MountPlan

_OPTIONS = ("nosuid", "nodev", "noexec")
_TRUNCATE_ABI = 3  # below it a write right cannot be told from a truncation (Linux 6.2)
_RIGHTS = {
    "file.read": landlock.READ_FILE | landlock.READ_DIR,
    "path.read": landlock.READ_DIR,
    "file.write": landlock.WRITE_FILE | landlock.TRUNCATE | landlock.MAKE_REG,
    "file.append": landlock.WRITE_FILE | landlock.MAKE_REG,
    "file.delete": landlock.REMOVE_FILE,
    "path.write": landlock.MAKE_DIR | landlock.REMOVE_DIR,
}


def plan_live(plan: MountPlan, rows: list[dict[str, Any]], *, mapped: bool) -> list[str]:
    """Adds the mounts and rules; the directories. Raises RefusedError for what cannot be held live."""
    granted: dict[str, set[str]] = {}
    for row in rows:
        granted.setdefault(row["directory"], set()).update(row["operations"])
    for directory, operations in sorted(granted.items()):
        _check(directory, operations)
        _refuse_rights_from_above(plan, directory, _rights(operations))
        found = os.lstat(directory)
        identity = (found.st_dev, found.st_ino, stat.S_IFDIR)
        # last: on top of a read-only mount of a directory above it, or of a staged area
        plan.over.append(
            Tree(directory, directory, _OPTIONS) if mapped else Bind(directory, directory, _OPTIONS, identity)
        )
        plan.rules.append(Rule(directory, _rights(operations)))
    return list(granted)


def _rights(operations: set[str]) -> int:
    rights = landlock.READ_DIR
    for operation in operations:
        rights |= _RIGHTS[operation]
    # a rename deletes one name and makes another, also between directories
    return rights | landlock.REFER if {"file.write", "file.delete"} <= operations else rights


def _refuse_rights_from_above(plan: MountPlan, directory: str, rights: int) -> None:
    """Landlock's rights are inherited downwards, through mounts too: below a staged area, or the private /tmp, a live
    tree would have their rights, which are all there are. And a staged area inside would be hidden by the live mount.
    """
    above = [rule.path for rule in plan.rules if rule.rights & ~rights and _within(directory, rule.path)]
    above = [path for path in above if path != "/"]  # listing alone, which shows what is mounted
    inside = [area.directory for area in plan.staged if _within(area.directory, directory)]
    for path in (*above, *inside):
        raise RefusedError(
            f"{directory} is granted live, and the job has other rights in {path}: one inside the other, the kernel"
            " cannot hold their difference",
            hint="leave out `live`, or use a directory outside; grant staged writes by narrower patterns than `**`",
        )


def _within(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def _check(directory: str, operations: set[str]) -> None:
    if os.path.realpath(directory) != directory or not os.path.isdir(directory):
        raise RefusedError(
            f"{directory} is granted live and is not a directory of that name on this host",
            hint="" if os.path.lexists(directory) else f"make it, as the user whose job it is: mkdir -p {directory}",
        )
    if "file.append" in operations and "file.write" not in operations:
        raise RefusedError(
            f"{directory} is granted live for appending, and the kernel has no right to append only",
            hint="leave out `live`: a staged append is held exactly",
        )
    if landlock.abi() < _TRUNCATE_ABI:
        raise RefusedError(
            f"{directory} is granted live, which needs Landlock ABI {_TRUNCATE_ABI} (Linux 6.2)",
            hint="leave out `live`: staged writes are held without it",
        )
