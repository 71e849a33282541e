"""Which directories are staged: one overlay for the granted patterns of one directory, over what lower. Pure. [L]

The lower is the live directory only where the job may read every name in it; else a snapshot of the granted names,
since an overlay shows all of its lower (kernel-facts 2).
"""

from __future__ import annotations

from launcher.capability.grant import Grant, Place
from launcher.capability.kinds import DANGER_PREFIX
from launcher.capability.limits import Limits
from launcher.capability.paths import PathPattern
from launcher.capability.permissions import Permissions, meant
from launcher.enforce.staging.tree import within

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from launcher.capability.scope import Scope

_WRITES = frozenset(("file.write", "file.append", "file.delete", "path.write"))
_READS = frozenset(("file.read", "path.read"))


class Area:
    """One overlay. `name` is a directory of the scratch; `directory` is the host's, and where the overlay is in view.

    `live_lower`: the lower is the host's directory itself. `binds` are directories below that are readable as a whole
    and nowhere writable: they stay empty in the snapshot, and their read-only mounts go on top of the overlay.
    """

    __slots__ = ("binds", "directory", "live_lower", "name")

    def __init__(self, name: str, directory: str, *, live_lower: bool, binds: tuple[str, ...] = ()) -> None:
        self.name = name
        self.directory = directory
        self.live_lower = live_lower
        self.binds = binds

    def __repr__(self) -> str:
        return f"Area({self.directory!r}, {'live' if self.live_lower else 'snapshot'}, binds={self.binds!r})"


def host_permissions(files: dict[str, Any], limits: dict[str, Any], scope: Scope) -> Permissions:
    """What a profile grants of the host's files, and nothing of its view.

    The view's private /tmp is granted to everybody; were it in here, a file of the host's /tmp would be granted too.
    """
    grants = [_grant(rule) for rule in (*files["read"], *files["staged"])]
    denies = [_grant(rule) for rule in files["denied"]]
    return Permissions(grants, denies, Limits.from_data(limits), scope)


def _grant(rule: dict[str, Any]) -> Grant:
    kind = rule["operations"][0].partition(".")[0]
    operations = tuple([name.partition(".")[2] for name in rule["operations"]])
    size = rule.get("max_file_size")
    constraints: dict[str, Any] = {} if size is None else {"max_file_size": size}
    if rule.get("allow_danger"):
        constraints["allow_danger"] = rule["allow_danger"]
    return Grant(kind, operations, (rule["pattern"],), constraints, rule["policy"], _place(rule["place"]))


def _place(text: str) -> Place:
    file, _, rest = text.rpartition(":") if text.count(":") < 2 else ("", "", "")
    if not rest and text.count(":") >= 2:
        file, line, column = text.rsplit(":", 2)
        if line.isdigit() and column.isdigit():
            return Place(file, int(line), int(column))
    return Place(text)


def plan_areas(permissions: Permissions, existing: Callable[[str], str]) -> tuple[list[Area], list[str]]:
    """The areas for the write grants of `permissions` (see `host_permissions`), and warnings.

    `existing` gives the nearest directory at or above a path that exists on the host. A directory that does not exist
    is staged from there, so that it can be made.
    """
    writes = _patterns(permissions.grants, _WRITES, permissions.scope)
    workspace = permissions.scope.base
    warnings: list[str] = []
    roots: set[str] = set()
    for pattern in writes:
        wanted = pattern.prefix if pattern.anchored else workspace
        root = existing(wanted)
        if root == "/":
            warnings.append(f"{pattern.text} is granted for writing, and no directory above it but / exists")
        else:
            roots.add(root)
    outermost = _outermost(_joined(roots, workspace, permissions))
    return [_area(f"area{index}", root, writes, permissions) for index, root in enumerate(outermost)], warnings


def _patterns(grants: Sequence[Grant], operations: frozenset[str], scope: Scope) -> list[PathPattern]:
    return [
        PathPattern(str(pattern), scope)
        for grant in grants
        if any(f"{grant.type}.{name}" in operations for name in grant.operations)
        for pattern in grant.patterns
    ]


def _joined(roots: set[str], workspace: str, permissions: Permissions) -> set[str]:
    """Several areas of a workspace that may be read as a whole are one: then rename(2) works between them."""
    inside = {root for root in roots if within(root, workspace)}
    if len(inside) > 1 and readable_whole(workspace, permissions):
        return (roots - inside) | {workspace}
    return roots


def _outermost(roots: set[str]) -> list[str]:
    kept: list[str] = []
    for root in sorted(roots, key=lambda path: (path.count("/"), path)):
        if not any(within(root, other) for other in kept):
            kept.append(root)
    return kept


def _area(name: str, root: str, writes: list[PathPattern], permissions: Permissions) -> Area:
    if readable_whole(root, permissions):
        return Area(name, root, live_lower=True)
    tops = {
        pattern.prefix
        for pattern in _patterns(permissions.grants, frozenset(("file.read",)), permissions.scope)
        if within(pattern.prefix, root) and pattern.prefix != root and readable_whole(pattern.prefix, permissions)
    }
    binds = [top for top in _outermost(tops) if not _reached(writes, top)]
    return Area(name, root, live_lower=False, binds=tuple(binds))


def readable_whole(directory: str, permissions: Permissions) -> bool:
    """Whether the job may read every name below `directory`, now and later."""
    return not _everything_denied(permissions) and any(
        is_whole(pattern) and within(directory, pattern.prefix) and not _reached(_hiding(permissions, grant), directory)
        for grant in permissions.grants
        for pattern in _patterns([grant], frozenset(("file.read",)), permissions.scope)
    )


def _hiding(permissions: Permissions, grant: Grant) -> list[PathPattern]:
    """What is denied to readers of what `grant` grants."""
    denies = [deny for deny in permissions.denies if not (deny.policy.startswith(DANGER_PREFIX) and meant(grant, deny))]
    return _patterns(denies, _READS, permissions.scope)


def _everything_denied(permissions: Permissions) -> bool:
    return any(not deny.patterns and deny.type in {"file", "path"} for deny in permissions.denies)


def _reached(patterns: list[PathPattern], directory: str) -> bool:
    return any(pattern.could_match_below(directory) or pattern.matches(directory) for pattern in patterns)


def is_whole(pattern: PathPattern) -> bool:
    """`D/**`: every name below D. A leading `**` is every name in view, but brings no more of the host into it."""
    depth = 0 if pattern.prefix == "/" else pattern.prefix.count("/")
    return pattern.literal is None and pattern.segments[depth:] == (None,) and pattern.anchored
