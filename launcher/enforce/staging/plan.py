"""An accepted change set as steps. Pure: no step is done, no host file looked at. [L]"""

from __future__ import annotations

from launcher.enforce.staging.changes import CREATED, MKDIR, REMOVED, RMDIR
from launcher.enforce.staging.steps import CREATE, REMOVE, REPLACE, TEMPORARY, Step
from launcher.enforce.staging.tree import join, split

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from launcher.enforce.staging.judge import Judged

_KINDS = {CREATED: CREATE, MKDIR: CREATE, REMOVED: REMOVE, RMDIR: REMOVE}
# A name is removed before something else is made there.
_ORDER = {REMOVE: 0, REPLACE: 1, CREATE: 2}


def plan(accepted: Sequence[Judged], nonce: str) -> list[Step]:
    """The steps for `accepted`, in the order in which they are done.

    A new directory with all that is new in it is one step, and so is a removed one: it appears, or goes, at once.
    `nonce` (no slash) makes the temporary names this commit's own.
    """
    tops: dict[tuple[str, str, str], Step] = {}  # (kind, area, path) of directories -> the step of their topmost one
    steps: list[Step] = []
    for item in sorted(accepted, key=_parents_first):
        change = item.change
        kind = _KINDS.get(change.kind, REPLACE)
        parent, name = split(change.inside)
        step = tops.get((kind, change.area, parent)) if parent else None
        if step is None:
            step = Step(kind, change.area, parent, name, f"{TEMPORARY}{nonce}-{len(steps)}")
            steps.append(step)
        if change.kind in {MKDIR, RMDIR}:
            tops[kind, change.area, change.inside] = step
        step.items.append(item)
    return sorted(steps, key=lambda step: _ORDER[step.kind])


def _parents_first(item: Judged) -> tuple[str, int, str]:
    change = item.change
    return change.area, change.inside.count("/"), change.inside


def split_removal(step: Step) -> list[Step]:
    """A directory that cannot go as a whole: its granted files one by one. None for any other step."""
    files = [item for item in step.items if item.change.kind == REMOVED]
    if len(files) == len(step.items):
        return []
    split_steps = []
    for index, item in enumerate(files):
        parent, name = split(item.change.inside)
        one = Step(REMOVE, step.area, parent, name, f"{step.temporary}-{index}")
        one.items.append(item)
        split_steps.append(one)
    return split_steps


def inner_path(step: Step, item: Judged) -> str:
    """The path of one of the step's items below the step's own name; "" for the name itself."""
    return item.change.inside[len(join(step.parent, step.name)) :].lstrip("/")
