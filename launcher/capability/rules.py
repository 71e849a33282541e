"""Compiled rules of one type and operation, indexed so that a decision does not try every pattern."""

from __future__ import annotations

from launcher.capability.commands import CommandPattern
from launcher.capability.databases import UrlPattern
from launcher.capability.hosts import HostPattern
from launcher.capability.kinds import COMMAND, HOST, KINDS, PATH, PROGRAM, URL
from launcher.capability.names import NamePattern
from launcher.capability.paths import PathPattern
from launcher.capability.ports import port_ranges, ports_hold
from launcher.errors import DocumentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from launcher.capability.grant import Grant, type_pattern
    from launcher.capability.scope import Scope

    Pattern = PathPattern | HostPattern | UrlPattern | CommandPattern | NamePattern


def parse_pattern(kind: str, pattern: type_pattern, scope: Scope) -> Pattern:
    """The pattern of a grant of type `kind`. Raises DocumentError."""
    what = KINDS[kind].pattern
    if what in {COMMAND, PROGRAM}:
        return CommandPattern.parse(pattern, scope)
    if not isinstance(pattern, str):
        raise DocumentError(f"{kind}: a list of tokens is for commands", hint="write the pattern as text")
    if what == PATH:
        return PathPattern(pattern, scope)
    if what == HOST:
        return HostPattern(pattern)
    return UrlPattern(pattern) if what == URL else NamePattern(pattern)


def parsed(grants: Sequence[Grant], scope: Scope) -> list[tuple[Pattern, Grant]]:
    """Each pattern of each grant, with the grant. An error has the place of the grant."""
    found: list[tuple[Pattern, Grant]] = []
    for grant in grants:
        for pattern in grant.patterns:
            try:
                found.append((parse_pattern(grant.type, pattern, scope), grant))
            except DocumentError as error:
                raise DocumentError(error.message, hint=error.hint, place=str(grant.place)) from None
    return found


class PathRules:
    """Path globs by their literal directory: a path is compared only with the patterns of its own ancestors."""

    __slots__ = ("_below", "_exact", "patterns", "whole")

    def __init__(self, entries: list[tuple[PathPattern, Grant]], whole: list[Grant], *, listing: bool = False) -> None:
        self.patterns = entries
        self.whole = whole
        self._exact: dict[str, list[Grant]] = {}
        self._below: dict[str, list[tuple[Callable[[str], bool], Grant]]] = {}
        for pattern, grant in entries:
            self._add(pattern, grant)
            directory = pattern.listed_directory() if listing else None
            if directory is not None:
                self._add(directory, grant)

    def _add(self, pattern: PathPattern, grant: Grant) -> None:
        if pattern.literal is not None:
            self._exact.setdefault(pattern.literal, []).append(grant)
        else:
            self._below.setdefault(pattern.prefix, []).append((pattern.matches, grant))

    def matching(self, path: str) -> list[Grant]:
        """The grants that cover the canonical path."""
        found = self.whole + self._exact.get(path, [])
        below = self._below
        end = len(path)
        while end > 0 and below:
            end = path.rfind("/", 0, end)
            bucket = below.get(path[:end] or "/")
            if bucket is not None:
                found += [grant for matches, grant in bucket if matches(path)]
        return found

    def matching_below(self, directory: str) -> list[Grant]:
        """The grants that may cover something under the canonical directory."""
        inside = directory if directory == "/" else directory + "/"
        return [
            grant
            for pattern, grant in self.patterns
            if pattern.prefix == directory
            or pattern.prefix.startswith(inside)
            or (_within(directory, pattern.prefix) and pattern.could_match_below(directory))
        ]


def _within(path: str, directory: str) -> bool:
    return directory in {"/", path} or path.startswith(directory + "/")


class HostRules:
    """Host patterns by name and by the domain under a leading wildcard; the few others in a list.

    `broad` is how denies are read: a port or path that nobody named is every port and path.
    """

    __slots__ = ("_by_domain", "_by_name", "_others", "broad", "operation", "whole")

    def __init__(
        self, entries: list[tuple[HostPattern, Grant]], whole: list[Grant], operation: str, *, broad: bool = False
    ) -> None:
        self.whole = whole
        self.operation = operation
        self.broad = broad
        self._by_name: dict[str, list[tuple[HostPattern, Grant]]] = {}
        self._by_domain: dict[str, list[tuple[HostPattern, Grant]]] = {}
        self._others: list[tuple[HostPattern, Grant]] = []
        for entry in entries:
            self._bucket(entry[0]).append(entry)

    def _bucket(self, pattern: HostPattern) -> list[tuple[HostPattern, Grant]]:
        if pattern.block is not None or pattern.host == "*":
            return self._others
        if pattern.host.startswith("*."):
            return self._by_domain.setdefault(pattern.host[2:], [])
        return self._others if "*" in pattern.host else self._by_name.setdefault(pattern.host, [])

    def matching(self, host: str, port: int | None, method: str, path: str | None, *, connect: bool) -> list[Grant]:
        """The grants that cover a request to the canonical host.

        `connect` is the moment when only host and port are known: a rule on methods or paths is judged later, so it
        does not refuse yet and does not deny yet.
        """
        candidates = [entry for entry in self._others if entry[0].matches_host(host)]
        candidates += self._by_name.get(host, ())
        domain = host
        while domain and self._by_domain:
            candidates += self._by_domain.get(domain, ())
            domain = domain.partition(".")[2]
        request = (port, method, path, connect)
        return self.whole + [grant for pattern, grant in candidates if self._holds(pattern, grant, request)]

    def _holds(self, pattern: HostPattern, grant: Grant, request: tuple[int | None, str, str | None, bool]) -> bool:
        port, method, path, connect = request
        if not ports_hold(port_ranges(pattern, grant, self.operation, broad=self.broad), port, broad=self.broad):
            return False
        methods = grant.constraints.get("methods")
        if connect:
            return not self.broad or (not pattern.path and methods is None)
        # What nobody knows (no method, no path) is inside a deny and outside a grant.
        method_holds = methods is None or (method.upper() in _upper(methods) if method else self.broad)
        return method_holds and (pattern.matches_path(path) or (path is None and self.broad))


def _upper(methods: Sequence[str]) -> list[str]:
    return [str(name).upper() for name in methods]


class CommandRules:
    """Command patterns by program; path globs and `*` in a list. `whole` are the grants that mean all of it."""

    __slots__ = ("_by_program", "_others", "patterns", "whole")

    def __init__(self, entries: list[tuple[CommandPattern, Grant]], whole: list[Grant]) -> None:
        self.patterns = entries
        self.whole = whole
        self._by_program: dict[str, list[tuple[CommandPattern, Grant]]] = {}
        self._others: list[tuple[CommandPattern, Grant]] = []
        for entry in entries:
            program = entry[0].program
            (self._by_program.setdefault(program, []) if program else self._others).append(entry)

    def matching(self, argv: Sequence[str], programs: Mapping[str, str] | None) -> list[Grant]:
        """The grants that cover the argument list, narrowly."""
        if not argv or not argv[0]:
            return []
        named = self._by_program.get(argv[0].rpartition("/")[2], ())
        if programs is not None and "/" in argv[0]:  # one file may be found by several names
            named = [entry for found in self._by_program.values() for entry in found]
        found = [grant for pattern, grant in (*named, *self._others) if pattern.matches(argv, programs)]
        return self.whole + found

    def denying(self, started: Sequence[Sequence[str]]) -> list[Grant]:
        """The denies that mean one of the commands that would be started, broadly."""
        return self.whole + [
            grant for pattern, grant in self.patterns if any(pattern.denies_alone(argv) for argv in started)
        ]


class NameRules:
    """Name globs or connections: exact names by look-up, the others in turn."""

    __slots__ = ("patterns", "whole")

    def __init__(self, entries: Sequence[tuple[NamePattern | UrlPattern, Grant]], whole: list[Grant]) -> None:
        self.patterns = entries
        self.whole = whole

    def matching(self, name: str) -> list[Grant]:
        """The grants that cover the name."""
        return self.whole + [grant for pattern, grant in self.patterns if pattern.matches(name)]
