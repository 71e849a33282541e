"""The base view: system directories, /proc, /dev, /tmp, /etc. What every sandbox has before any grant."""

from __future__ import annotations

import os

from launcher.enforce.namespace.binds import Bind, Device
from launcher.enforce.namespace.operations import Directory, Filesystem, Mask, Operation, ReadOnly, Symlink
from launcher.enforce.namespace.spec import Rule
from launcher.errors import EnforcementError
from launcher.kernel import landlock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from launcher.enforce.namespace.plan.mountplan import MountPlan

_NO_EXEC = ("nosuid", "nodev", "noexec")
_DEVICE_NUMBERS = {
    "null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0),
}  # fmt: skip
_DEVICE = landlock.READ_FILE | landlock.WRITE_FILE | landlock.IOCTL_DEV
_DEV_LINKS = (
    ("/proc/self/fd", "/dev/fd"), ("fd/0", "/dev/stdin"), ("fd/1", "/dev/stdout"), ("fd/2", "/dev/stderr"),
    ("pts/ptmx", "/dev/ptmx"),
)  # fmt: skip


def plan_view(plan: MountPlan, view: dict[str, Any], *, executable: bool) -> None:
    """Adds the base view. `executable`: whether every program in the system directories may be started."""
    rights = landlock.READ | (landlock.EXECUTE if executable else 0)
    plan.rules.append(Rule("/", landlock.READ_DIR))
    for row in view["mounts"]:
        plan.operations += _mount(row)
        plan.rules.append(Rule(row["target"], rights, optional=True))
    for text, path in view["symlinks"]:
        plan.operations += _link_or_mount(text, path)
    _plan_proc(plan, view["proc"])
    _plan_dev(plan, view["devices"])
    for row in view["tmpfs"]:
        settings = {"size": str(row["size"]), "nr_inodes": str(row["inodes"]), "mode": f"{row['mode']:o}"}
        plan.operations.append(Filesystem("tmpfs", row["target"], settings, _NO_EXEC))
        plan.rules.append(Rule(row["target"], landlock.SCRATCH))
    plan.rules.append(Rule("/etc", landlock.READ, optional=True))


def mask_proc(plan: MountPlan, proc: dict[str, Any]) -> None:
    """Adds the masks of /proc; after everything that may need /proc or /dev while mounting."""
    plan.operations += [ReadOnly(path) for path in proc["readonly"]]
    plan.operations += [Mask(path) for path in proc["masked"]]


def _mount(row: dict[str, Any]) -> list[Operation]:
    source = row["source"]
    if os.path.islink(source):
        return [Symlink(os.readlink(source), row["target"])]
    if not os.path.isdir(source):
        if row["optional"]:
            return []
        raise EnforcementError("mount", source, hint="the base profile names it and the host does not have it")
    return [Bind(source, row["target"], row["options"])]


def _link_or_mount(text: str, path: str) -> list[Operation]:
    """/bin is a link into /usr on merged hosts and a directory on others (usrmerge)."""
    if os.path.islink(path) or not os.path.isdir(path):
        real = os.path.normpath(os.path.join(os.path.dirname(path), text))
        return [Symlink(text, path)] if os.path.isdir(real) else []
    return [Bind(path, path, ("ro", "nosuid", "nodev"))]


def _plan_proc(plan: MountPlan, proc: dict[str, Any]) -> None:
    del proc  # the masks come last, see mask_proc
    plan.operations.append(Filesystem("proc", "/proc", {}, _NO_EXEC))
    plan.rules.append(Rule("/proc", landlock.READ))


def _plan_dev(plan: MountPlan, names: list[str]) -> None:
    plan.operations.append(
        Filesystem("tmpfs", "/dev", {"size": "64k", "nr_inodes": "512", "mode": "0755"}, ("nosuid", "noexec"))
    )
    for name in names:
        plan.operations.append(Device(name, *_DEVICE_NUMBERS[name]))
        plan.rules.append(Rule(f"/dev/{name}", _DEVICE))
    settings = {"newinstance": "", "ptmxmode": "0666", "mode": "0620"}
    plan.operations.append(Filesystem("devpts", "/dev/pts", settings, ("nosuid", "noexec")))
    plan.rules.append(Rule("/dev/pts", landlock.READ | landlock.WRITE_FILE | landlock.IOCTL_DEV))
    plan.operations += [Symlink(text, path) for text, path in _DEV_LINKS]
    plan.sealed.append("/dev")


def plan_directories(plan: MountPlan, paths: list[str]) -> None:
    """HOME and the workspace exist, empty, so that programs have somewhere to stand."""
    plan.operations += [Directory(path) for path in paths if path != "/"]
