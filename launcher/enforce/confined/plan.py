"""What a job may touch of the host's own tree, as Landlock rules: no view of its own stands between it and the host.

A rule here is only ever what the namespace backend would both mount and allow. What that backend holds by not mounting
is not held: names and sizes can be seen, and a listing shows all of a directory.
"""

from __future__ import annotations

import os

from launcher.capability.scope import Scope
from launcher.enforce.namespace.plan.files import Reader
from launcher.enforce.namespace.plan.live import plan_live
from launcher.enforce.namespace.plan.mountplan import MountPlan
from launcher.enforce.namespace.plan.programs import Programs, plan_programs
from launcher.enforce.namespace.spec import Rule
from launcher.kernel import landlock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from launcher.enforce.namespace.plan.files import Want

_DEVICE = landlock.READ_FILE | landlock.WRITE_FILE | landlock.IOCTL_DEV


def plan(profile: dict[str, Any], scratch: str) -> tuple[MountPlan, Programs]:
    """The rules, in a plan without mounts, and the programs. `scratch` is the job's own temporary directory.

    Raises RefusedError for a grant that cannot be held, OSError for what changed meanwhile.
    """
    made = MountPlan()
    programs = _programs(made, profile["commands"])
    made.rules += _view(profile["view"], executable=profile["commands"]["mode"] == "all")
    made.rules.append(Rule(scratch, landlock.SCRATCH))
    live: list[str] = []
    if profile["files"]["live"]:
        held = MountPlan()
        live = plan_live(held, profile["files"]["live"], mapped=False)
        made.rules += held.rules
    if profile["files"]["read"]:
        scope = Scope(profile["user"]["home"], profile["workspace"])
        held = MountPlan()
        _Files(held, profile, scope, shown=live, mapped=False).plan()
        made.rules += held.rules
        made.warnings += held.warnings
    # rules are opened where they are applied: canonical, so that no link on the way is the job's choice
    made.rules = [Rule(os.path.realpath(rule.path), rule.rights, optional=rule.optional) for rule in made.rules]
    return made, programs


def _programs(made: MountPlan, commands: dict[str, Any]) -> Programs:
    """Execute on just the granted files. With every program granted, the exec check still refuses what is denied."""
    held = MountPlan()
    programs = plan_programs(held, commands, [])
    made.rules += held.rules
    return programs


def _view(view: dict[str, Any], *, executable: bool) -> Iterable[Rule]:
    """The system directories and single files of /etc, read-only; no /proc, which shows everybody's processes."""
    rights = landlock.READ | (landlock.EXECUTE if executable else 0)
    yield from (Rule(row["source"], rights, optional=True) for row in view["mounts"])
    yield from (Rule(path, rights, optional=True) for _text, path in view["symlinks"])
    yield from (Rule(f"/etc/{name}", landlock.READ, optional=True) for name in view["etc"])
    yield from (Rule(f"/dev/{name}", _DEVICE, optional=True) for name in view["devices"] if name != "tty")


class _Files(Reader):
    """Readable names as rules for the very files: a directory's rule would be for all that is in it."""

    def _mount_names(self, top: str, wants: list[Want]) -> None:
        rows = [path for path, row, read in self._walk(top, wants) if row is not None and read]
        self._plan.rules += [Rule(path, self._read) for path in rows]
