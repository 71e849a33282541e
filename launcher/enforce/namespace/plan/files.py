"""Read grants against the disk: a whole directory is mounted as it is, anything finer is enumerated.

A mask over a live tree is never the mechanism (a host rename lifts it; kernel-facts 1): where a deny may fall inside
a granted tree, only the names that are granted and not denied now are mounted. Names that appear later are not
visible: the safe side, and listed in the documents.
"""

from __future__ import annotations

import os
import stat

from launcher.capability.kinds import DANGER_PREFIX
from launcher.capability.paths import PathPattern
from launcher.enforce.namespace.binds import Bind, BindMany, Tree
from launcher.enforce.namespace.operations import Directory, Symlink
from launcher.enforce.namespace.spec import Rule
from launcher.errors import RefusedError
from launcher.kernel import landlock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from launcher.capability.scope import Scope
    from launcher.enforce.namespace.operations import Operation
    from launcher.enforce.namespace.plan.mountplan import MountPlan

_OPTIONS = ("ro", "nosuid", "nodev")
_MOST_NAMES = 200_000
_NEVER_BELOW_ROOT = {"proc", "sys", "dev", "run", "boot", "lost+found"}
_READ = "file.read"
_LIST = "path.read"
_READS = frozenset((_READ, _LIST))


class Want:
    """One granted pattern: what may be done to what it matches, and the entries of the danger list that it means."""

    __slots__ = ("meant", "operations", "pattern", "whole")

    def __init__(self, rule: dict[str, Any], scope: Scope) -> None:
        self.pattern = PathPattern(rule["pattern"], scope)
        self.operations = set(rule["operations"])
        self.meant = {f"{DANGER_PREFIX}{name}" for name in rule["allow_danger"]}
        self.whole = _is_whole_directory(self.pattern)

    def covers(self, top: str, workspace: str) -> bool:
        """Whether it is every name below `top`, now and later. `**` is that of the workspace."""
        return self.whole and top == (self.pattern.prefix if self.pattern.anchored else workspace)


class Denied:
    """One pattern that hides names. `policy` is `danger:NAME` for an entry of the danger list."""

    __slots__ = ("operations", "pattern", "policy")

    def __init__(self, rule: dict[str, Any], scope: Scope) -> None:
        self.pattern = PathPattern(rule["pattern"], scope)
        self.operations = set(rule["operations"])
        self.policy = rule["policy"]

    def binds(self, wants: list[Want]) -> bool:
        """Whether none of the grants that cover a name means it."""
        return not any(self.policy in want.meant for want in wants)


class Reader:
    """Plans the read grants of one profile. `view` are the targets of the base view, already mounted."""

    __slots__ = (
        "_denied",
        "_directories",
        "_live",
        "_mapped",
        "_options",
        "_plan",
        "_read",
        "_readable_above",
        "_seen",
        "_view",
        "_wants",
        "_workspace",
    )

    def __init__(
        self, plan: MountPlan, profile: dict[str, Any], scope: Scope, *, shown: list[str], mapped: bool
    ) -> None:
        self._plan = plan
        self._live = shown
        self._mapped = mapped
        # `cmd: "*"` is every program in view, those of the job's own trees among them
        every = profile["commands"]["mode"] == "all"
        self._options = _OPTIONS if every else (*_OPTIONS, "noexec")
        self._read = landlock.READ_FILE | (landlock.EXECUTE if every else 0)
        self._workspace = profile["workspace"]
        # what a staged area shows is in its own lower
        self._view = (
            [row["target"] for row in profile["view"]["mounts"]] + [area.directory for area in plan.staged] + shown
        )
        # a deny of writing hides nothing
        denied = [rule for rule in profile["files"]["denied"] if not _READS.isdisjoint(rule["operations"])]
        self._denied = [Denied(rule, scope) for rule in denied]
        self._wants = [Want(rule, scope) for rule in profile["files"]["read"]]
        self._directories: list[str] = []
        # Landlock's rights are inherited: below these (the private /tmp) only what may be read can be there at all
        self._readable_above = [rule.path for rule in plan.rules if rule.rights & landlock.READ_FILE]
        self._seen = 0

    def plan(self) -> None:
        """Adds the mounts and rules of every read grant."""
        for top in self._tops():
            wants = [want for want in self._wants if _reaches(want, top)]
            self._plan_top(top, wants)

    def _tops(self) -> list[str]:
        """The directories to look below: literal prefixes, none inside another, the base view left out."""
        prefixes = {self._workspace if not want.pattern.anchored else want.pattern.prefix for want in self._wants}
        tops: list[str] = []
        for prefix in sorted(prefixes, key=len):
            for top in _host_root() if prefix == "/" else [prefix]:
                if not any(_within(top, other) for other in [*tops, *self._view]):
                    tops.append(top)
        return tops

    def _plan_top(self, top: str, wants: list[Want]) -> None:
        self._directories.clear()
        real = os.path.realpath(top)
        if not os.path.isdir(real):
            self._plan.warnings.append(f"{top} is granted and does not exist")
            return
        if real != top:
            raise RefusedError(
                f"{top} is granted and leads through a symbolic link to {real}",
                hint=f"grant {real}, the name that it resolves to",
            )
        # a directory is mounted whole only if every name in it, now and later, is granted
        whole = [want for want in wants if want.covers(top, self._workspace)]
        readable = any(_READ in want.operations for want in whole)
        if whole and not self._sieved(top, whole) and (readable or not self._is_readable_anyway(top)):
            self._mount_whole(top, wants)
        else:
            self._mount_names(top, wants)

    def _is_readable_anyway(self, path: str) -> bool:
        return any(_within(path, above) for above in self._readable_above)

    def _sieved(self, directory: str, whole: list[Want]) -> bool:
        """Whether something in it, which `whole` grant, must not be there: what is denied, or, where the job may use
        Unix sockets, each that is not granted by itself (a read-only mount does not hold them, kernel-facts 5).
        """
        return self._plan.sockets or any(
            deny.pattern.could_match_below(directory) and any(deny.binds([want]) for want in whole)
            for deny in self._denied
        )

    def _mount_whole(self, top: str, wants: list[Want]) -> None:
        operations: set[str] = set()
        for want in wants:
            if want.covers(top, self._workspace):
                operations |= want.operations
        found = _look(top)
        bind = Bind(top, top, self._options, (found.st_dev, found.st_ino, stat.S_IFDIR))
        self._plan.operations.append(Tree(top, top, self._options) if self._mapped else bind)
        self._plan.rules.append(Rule(top, self._rights(operations)))
        if _READ not in operations:
            rows = [path for path, _row, read in self._walk(top, wants) if read]
            self._plan.rules += [Rule(path, self._read) for path in rows]

    def _mount_names(self, top: str, wants: list[Want]) -> None:
        rows: list[tuple[str, int, int, int]] = []
        links: list[Operation] = []
        readable: list[str] = []
        hidden = False
        for path, row, read in self._walk(top, wants):
            if row is None:
                links.append(Symlink(os.readlink(path), path))
                continue
            rows.append(row)
            if read:
                readable.append(path)
            hidden = hidden or not read
        found = _look(top)
        self._plan.operations += [Directory(path) for path in (top, *self._directories)]
        if rows:
            identity = (found.st_dev, found.st_ino, stat.S_IFDIR)
            self._plan.operations.append(BindMany(top, top, self._options, identity, rows, mapped=self._mapped))
        self._plan.operations += links
        # one rule for the directory, unless it would reach into a live tree below, whose rights are its own
        if not hidden and readable and not any(_within(live, top) for live in self._live):
            self._plan.rules.append(Rule(top, landlock.READ_DIR | self._read))
        else:
            self._plan.rules += [Rule(path, self._read) for path in readable]

    def _rights(self, operations: set[str]) -> int:
        return landlock.READ_DIR | (self._read if _READ in operations else 0)

    def _walk(self, top: str, wants: list[Want]) -> Iterator[tuple[str, tuple[str, int, int, int] | None, bool]]:
        """Every granted, not denied name below `top`: (path, row of BindMany or None for a link, readable).

        A directory that is granted whole and in which nothing can be denied is one row: only those where a deny may
        fall are gone through name by name.
        """
        whole = [want for want in wants if want.covers(top, self._workspace) and _READ in want.operations]
        pending = [top]
        while pending:
            directory = pending.pop()
            for entry in _entries(directory, self._plan.warnings.append):
                path = f"{directory}/{entry.name}" if directory != "/" else f"/{entry.name}"
                self._count(path)
                try:
                    if entry.is_dir(follow_symlinks=False):
                        if whole and not self._sieved(path, whole):
                            yield path, _row(entry, path, top), True
                            continue
                        if self._listed(path, wants):
                            self._directories.append(path)
                        if any(want.pattern.could_match_below(path) for want in wants):
                            pending.append(path)
                        continue
                    yield from self._judge(entry, path, top, wants)
                except FileNotFoundError:
                    continue  # it went away while we looked: as if it had gone before

    def _listed(self, path: str, wants: list[Want]) -> bool:
        """Whether the directory is there for its own sake, with whatever is granted in it or nothing."""
        granting = [want for want in wants if _LIST in want.operations and want.pattern.matches(path)]
        denying = [deny for deny in self._denied if _LIST in deny.operations and deny.pattern.matches(path)]
        return bool(granting) and not any(deny.binds(granting) for deny in denying)

    def _judge(
        self, entry: os.DirEntry[str], path: str, top: str, wants: list[Want]
    ) -> Iterator[tuple[str, tuple[str, int, int, int] | None, bool]]:
        covering = [want for want in wants if want.pattern.matches(path)]
        if not covering:
            return
        denying = [deny for deny in self._denied if deny.pattern.matches(path)]
        operations = {operation for operation in _READS if _allowed(operation, covering, denying)}
        if not operations or (_READ not in operations and self._is_readable_anyway(path)):
            return
        if entry.is_symlink():
            yield path, None, False
            return
        row = _row(entry, path, top)
        if row[3] == stat.S_IFREG:
            yield path, row, _READ in operations

    def _count(self, path: str) -> None:
        self._seen += 1
        if self._seen > _MOST_NAMES:
            raise RefusedError(
                f"more than {_MOST_NAMES} names would have to be looked at below {path}",
                hint="grant whole directories without denies inside, or narrower directories",
            )


def _allowed(operation: str, covering: list[Want], denying: list[Denied]) -> bool:
    """As `Permissions.decide` has it: each operation by the grants of it. What may not be read is not listed either."""
    granting = [want for want in covering if operation in want.operations]
    hiding = [deny for deny in denying if operation in deny.operations or _READ in deny.operations]
    return bool(granting) and not any(deny.binds(granting) for deny in hiding)


def _row(entry: os.DirEntry[str], path: str, top: str) -> tuple[str, int, int, int]:
    found = entry.stat(follow_symlinks=False)
    return path[len(top) :].lstrip("/"), found.st_dev, found.st_ino, stat.S_IFMT(found.st_mode)


def _look(top: str) -> os.stat_result:
    try:
        return os.lstat(top)
    except OSError as error:
        raise RefusedError(f"{top} went away while it was looked at: {error.strerror}") from error


def _entries(directory: str, warn: Callable[[str], None]) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except PermissionError:
        warn(f"{directory} is granted and may not be read by the user")
        return []
    except FileNotFoundError:
        return []


def _is_whole_directory(pattern: PathPattern) -> bool:
    """`D/**`: every name below D, and nothing else."""
    names = 0 if pattern.prefix == "/" else pattern.prefix.count("/")
    return pattern.literal is None and pattern.segments[names:] == (None,)


def _reaches(want: Want, top: str) -> bool:
    return _within(want.pattern.prefix, top) or want.pattern.could_match_below(top)


def _within(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def _host_root() -> list[str]:
    """The directories of the host's root that a grant of `/**` brings into view."""
    with os.scandir("/") as entries:
        names = [e.name for e in entries if e.is_dir(follow_symlinks=False) and e.name not in _NEVER_BELOW_ROOT]
    return [f"/{name}" for name in sorted(names)]
