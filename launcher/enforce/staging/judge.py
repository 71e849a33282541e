"""Each change against the grants: what may be committed, and what is discarded and why. Pure. [L]

What is judged is the effect. A new or rewritten file needs file.write; a file whose old content is an unchanged
beginning needs file.write or file.append (of a new file the old content is nothing, so append may make one, unless a
rule denies writing it); a removal needs file.delete; a directory needs path.write, or to be the missing parent of a
granted file. Symbolic links and their like are never granted.
"""

from __future__ import annotations

from launcher.enforce.staging.changes import APPENDED, CREATED, MKDIR, MODE, MODIFIED, REMOVED, RMDIR, SPECIAL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from launcher.capability.decision import Decision
    from launcher.capability.grant import Grant
    from launcher.capability.permissions import Permissions
    from launcher.enforce.staging.changes import Change

# change -> the operations of which one must be granted
NEEDS = {
    CREATED: (("file", "write"), ("file", "append")),
    MODIFIED: (("file", "write"),),
    APPENDED: (("file", "write"), ("file", "append")),
    REMOVED: (("file", "delete"),),
    MKDIR: (("path", "write"),),
    RMDIR: (("path", "write"),),
}
_CONTENT = frozenset((CREATED, MODIFIED, APPENDED))
_GONE = frozenset((REMOVED, RMDIR))


class Judged:
    """One change with its verdict: the operation that decided (`file.write`), the rules, one sentence."""

    __slots__ = ("accepted", "change", "deciders", "operation", "reason")

    def __init__(
        self, change: Change, operation: str, deciders: tuple[Grant, ...], reason: str, *, accepted: bool
    ) -> None:
        self.change = change
        self.operation = operation
        self.deciders = deciders
        self.reason = reason
        self.accepted = accepted

    def refused(self, reason: str, deciders: tuple[Grant, ...] = ()) -> Judged:
        return Judged(self.change, self.operation, deciders, reason, accepted=False)

    def __repr__(self) -> str:
        return f"{'+' if self.accepted else '-'}{self.change!r}"


class Verdict:
    """`accepted` may be committed, in order; `refused` is discarded and reported."""

    __slots__ = ("accepted", "refused")

    def __init__(self, judged: Sequence[Judged]) -> None:
        self.accepted = [item for item in judged if item.accepted]
        self.refused = [item for item in judged if not item.accepted]

    def none_of_it(self, reason: str) -> Verdict:
        """Everything refused: `commit: success` is all or nothing."""
        return Verdict([*self.refused, *[item.refused(reason, item.deciders) for item in self.accepted]])


def judge(
    changes: Sequence[Change], permissions: Permissions, *, now: float | None = None, max_total: int | None = None
) -> Verdict:
    """Judges `changes` with `permissions` (of the host's files alone, see `areas.host_permissions`).

    `now` is for grants that expire. `max_total` bounds the sum of the sizes that would be committed, in bytes: sparse
    files and hard links make a small scratch name a large host.
    """
    judged = [_one(change, permissions, now) for change in changes]
    judged = _bounded(judged, max_total)
    judged = _removals(judged)
    return Verdict(_directories_made(judged, permissions))


def all_or_nothing(verdict: Verdict, *, succeeded: bool) -> Verdict:
    """The verdict under `commit: success`: nothing of a job that failed or did anything that was refused."""
    if not succeeded:
        return verdict.none_of_it("the job failed, and `commit: success` keeps nothing then")
    # A changed mode is no content: it is reported and does not spoil the whole.
    spoiling = [item for item in verdict.refused if item.change.kind != MODE]
    if spoiling:
        path = spoiling[0].change.path
        return verdict.none_of_it(f"{path} was refused, and `commit: success` is all or nothing")
    return verdict


def _one(change: Change, permissions: Permissions, now: float | None) -> Judged:
    if change.kind == MODE:
        return Judged(change, "", (), "modes of existing files and directories are kept", accepted=False)
    needs = NEEDS.get(change.kind, ())
    operation = ".".join(needs[0]) if needs else "file.write"
    if change.flaw or change.kind == SPECIAL:
        return Judged(change, operation, (), f"{change.flaw} never reaches the host", accepted=False)
    decisions = [(f"{kind}.{name}", permissions.decide(kind, name, change.path, now=now)) for kind, name in needs]
    for name, decision in decisions:
        if decision.allowed:
            return _sized(change, name, decision, permissions)
        if change.kind == CREATED and decision.deciders:
            break  # a name that a rule denies for writing is not made by appending to nothing
    return Judged(change, operation, decisions[0][1].deciders, decisions[0][1].reason, accepted=False)


def _sized(change: Change, operation: str, decision: Decision, permissions: Permissions) -> Judged:
    judged = Judged(change, operation, decision.deciders, decision.reason, accepted=True)
    if change.kind not in _CONTENT:
        return judged
    limit = permissions.limits.max_file_size
    if limit is not None and change.size > limit:
        return judged.refused(f"{change.size} bytes are more than the limit max_file_size of {limit}")
    fitting = tuple([grant for grant in decision.deciders if _fits(grant, change.size)])
    if not fitting:
        largest = max(int(grant.constraints["max_file_size"]) for grant in decision.deciders)
        return judged.refused(
            f"{change.size} bytes are more than the max_file_size of {largest} of the grant", decision.deciders
        )
    return Judged(change, operation, fitting, decision.reason, accepted=True)


def _fits(grant: Grant, size: int) -> bool:
    limit = grant.constraints.get("max_file_size")
    return limit is None or size <= int(limit)


def _bounded(judged: list[Judged], max_total: int | None) -> list[Judged]:
    if max_total is None:
        return judged
    left = max_total
    bounded: list[Judged] = []
    for item in judged:
        if item.accepted and item.change.kind in _CONTENT:
            left -= item.change.size
            if left < 0:
                left += item.change.size
                item = item.refused(f"all files together would be more than max_disk, {max_total} bytes")  # noqa: PLW2901
        bounded.append(item)
    return bounded


def _removals(judged: list[Judged]) -> list[Judged]:
    """A directory stays where something in it stays, and what stays cannot be replaced by something else."""
    staying: dict[str, str] = {}  # directory -> what stays in it
    kept: list[Judged] = []
    refused: set[str] = set()
    for item in judged:  # children come before their directory
        path = item.change.path
        if item.change.kind == RMDIR and item.accepted and path in staying:
            item = item.refused(f"{staying[path]} in it stays")  # noqa: PLW2901
        elif item.accepted and path in refused:
            item = item.refused("what was there before stays")  # noqa: PLW2901
        if not item.accepted and item.change.kind in _GONE:
            staying.setdefault(_parent(path), path)
            refused.add(path)
        kept.append(item)
    return kept


def _directories_made(judged: list[Judged], permissions: Permissions) -> list[Judged]:
    """A missing parent of a granted file is granted with it; without its directory a file cannot be."""
    filled: dict[str, Judged] = {}  # directory -> something accepted that is new in it
    for item in judged:
        if item.accepted and item.change.kind == CREATED:
            filled.setdefault(_parent(item.change.path), item)
    made = {item.change.path: item for item in judged if item.change.kind == MKDIR}
    for path in sorted(made, key=len, reverse=True):  # from the bottom: an implied parent may imply its own
        item = _implied(made[path], filled.get(path), permissions)
        made[path] = item
        if item.accepted:
            filled.setdefault(_parent(path), item)
    for path in sorted(made, key=len):  # from the top: nothing below a refused directory can be
        made[path] = _below_refused(made[path], made)
    return [made[item.change.path] if item.change.kind == MKDIR else _below_refused(item, made) for item in judged]


def _implied(item: Judged, inside: Judged | None, permissions: Permissions) -> Judged:
    if item.accepted or inside is None or not permissions.parent_of_granted_write(item.change.path):
        return item
    reason = f"the missing parent of {inside.change.path}, which is granted"
    return Judged(item.change, "path.write", inside.deciders, reason, accepted=True)


def _below_refused(item: Judged, made: dict[str, Judged]) -> Judged:
    if not item.accepted or item.change.kind not in {CREATED, MKDIR}:
        return item
    path = _parent(item.change.path)
    while path:
        above = made.get(path)
        if above is not None and not above.accepted:
            return item.refused(f"its directory {above.change.path} was refused: {above.reason}")
        path = _parent(path)
    return item


def _parent(path: str) -> str:
    return path.rpartition("/")[0]
