"""Path globs: parsed, anchored, matched against canonical paths (design section 5, "Paths"; kernel-facts 23)."""

from __future__ import annotations

from launcher.capability.glob import LONGEST_PATTERN, all_literal, literal_text, parse_segment, segment_matcher
from launcher.capability.scope import normal_bytes
from launcher.errors import DocumentError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from launcher.capability.glob import Item
    from launcher.capability.scope import Scope

    # One segment: its items, or None for `**`.
    Segment = tuple[Item, ...] | None


class Segments:
    """A list of segments to match a list of names: what path globs, URL paths and slashed names have in common.

    A final `**` takes one name or more, any other `**` none or more.
    """

    __slots__ = ("_steps", "segments")

    def __init__(self, segments: tuple[Segment, ...]) -> None:
        self.segments = segments
        # A final `**` is "any one name, then any names".
        opened = (*segments[:-1], parse_segment("*"), None) if segments and segments[-1] is None else segments
        self._steps: tuple[Callable[[str], bool] | None, ...] = tuple(
            [None if segment is None else segment_matcher(segment) for segment in opened]
        )

    def match(self, names: list[str]) -> bool:
        """Whether all of `names` match. Greedy with one way back, as in a single name: see `glob._general`."""
        steps = self._steps
        at = place = 0
        star = mark = -1
        while place < len(names):
            if at < len(steps) and steps[at] is None:
                star, mark, at = at, place, at + 1
            elif at < len(steps) and steps[at](names[place]):  # type: ignore[misc]  # None was the case above
                at += 1
                place += 1
            elif star >= 0:
                mark += 1
                at, place = star + 1, mark
            else:
                return False
        return all(step is None for step in steps[at:])

    def may_continue(self, names: list[str]) -> bool:
        """Whether some longer list that begins with `names` may match (exact up to empty character classes)."""
        steps = self._steps
        here = self._spread({0})
        for name in names:
            moved = {at + 1 for at in here if at < len(steps) and (step := steps[at]) is not None and step(name)}
            here = self._spread(moved | {at for at in here if at < len(steps) and steps[at] is None})
        return any(at < len(steps) for at in here)

    def _spread(self, places: set[int]) -> set[int]:
        """With each place before a `**`, the place after it."""
        steps = self._steps
        for at in list(places):
            following = at
            while following < len(steps) and steps[following] is None:
                following += 1
                places.add(following)
        return places


class PathPattern:
    """One path glob, resolved in a scope. `matches` wants a canonical path.

    `anchored` is False for a leading `**`: such a pattern means any path in the job's view, and that the path is in the
    view is the caller's to know. `prefix` is the longest literal directory ("/" for an unanchored one), `literal` the
    whole path when there is no wildcard. Raises DocumentError for what the language does not have.
    """

    __slots__ = ("_names", "anchored", "literal", "matches", "prefix", "segments", "text")

    def __init__(self, text: str, scope: Scope, *, exact: bool = False) -> None:
        self.text = text
        self.anchored = text.partition("/")[0] != "**"
        self._take(parse_path(text, scope, exact=exact))

    def _derive(self, segments: tuple[Segment, ...]) -> PathPattern:
        """A pattern with the same text and anchor, of other segments."""
        pattern = PathPattern.__new__(PathPattern)
        pattern.text = self.text
        pattern.anchored = self.anchored
        pattern._take(segments)  # noqa: SLF001  it is of this class
        return pattern

    def _take(self, segments: tuple[Segment, ...]) -> None:
        self.segments = segments
        literals = [literal_text(items) for items in _leading_literals(segments)]
        whole = len(literals) == len(segments)
        self.literal = "/" + "/".join([str(name) for name in literals]) if whole else None
        directory = literals[:-1] if whole else literals
        self.prefix = "/" + "/".join([str(name) for name in directory])
        self._names = Segments(segments)
        self.matches: Callable[[str], bool] = self._matcher()

    def __repr__(self) -> str:
        return f"PathPattern({self.text!r})"

    def _matcher(self) -> Callable[[str], bool]:
        """The cheapest function for the shapes that real policies have."""
        if self.literal is not None:
            return self.literal.__eq__
        below = self.prefix if self.prefix == "/" else self.prefix + "/"
        rest = self.segments[0 if self.prefix == "/" else self.prefix.count("/") :]
        if rest == (None,):
            least = len(below)
            return lambda path: len(path) > least and path.startswith(below)
        last = rest[-1]
        if len(rest) == 2 and rest[0] is None and last is not None:  # DIR/**/*.csv
            name_matches, least = segment_matcher(last), len(below)
            return lambda path: (
                len(path) > least and path.startswith(below) and name_matches(path[path.rfind("/") + 1 :])
            )
        if len(rest) == 1 and last is not None:  # DIR/*.csv
            return _one_below(below, segment_matcher(last))
        return lambda path: path.startswith(below) and self._names.match(path_names(path))

    def could_match_below(self, directory: str) -> bool:
        """Whether the pattern may match something under `directory` (canonical), at any depth; prunes walks."""
        return self._names.may_continue(path_names(directory))

    def listed_directory(self) -> PathPattern | None:
        """For `D/*` and `D/**` the pattern of D itself, which `path.read` covers too; else None."""
        if not self.segments or self.segments[-1] not in _WHOLE_DIRECTORY:
            return None
        if len(self.segments) == 1 and not self.anchored:
            return None  # anywhere in the view: whatever roots it has are matched by name
        return self._derive(self.segments[:-1])


_WHOLE_DIRECTORY: tuple[Segment, ...] = (None, parse_segment("*"))


def _one_below(below: str, name_matches: Callable[[str], bool]) -> Callable[[str], bool]:
    least = len(below)
    return lambda path: (
        len(path) > least and path.startswith(below) and path.find("/", least) < 0 and name_matches(path[least:])
    )


def path_names(path: str) -> list[str]:
    """The names of a canonical path: none for "/"."""
    return path[1:].split("/") if len(path) > 1 else []


def parse_path(text: str, scope: Scope, *, exact: bool = False) -> tuple[Segment, ...]:
    """path = ( "/" | "~" | "@base" | "**" | relative ) { "/" segment }. Raises DocumentError.

    `exact` takes the names as they are, without wildcards or escapes (the list notation of a command).
    """
    if not text or "\0" in text or len(text) > LONGEST_PATTERN:
        _refuse(text[:80], "a path glob has 1 to 4096 characters and no NUL", "")
    try:
        text = normal_bytes(text)
    except UsageError as error:
        _refuse(text, error.message, "")
    root, rest, anchor = _anchor(text, scope)
    segments: list[Segment] = [tuple(name) for name in path_names(root)]
    floor = len(segments) if anchor == "relative" else 0
    for name in rest.split("/"):
        _append(segments, name, text, floor, exact=exact)
    return tuple(segments)


def _anchor(text: str, scope: Scope) -> tuple[str, str, str]:
    """Where the pattern hangs, what is left of it, and how it is anchored."""
    first, _, rest = text.partition("/")
    if text.startswith("/"):
        return "/", text, "absolute"
    if first == "~":
        return scope.home, rest, "home"
    if first == "@base":
        return scope.base, rest, "base"
    if first == "**":
        return "/", text, "view"
    if first.startswith("~"):
        _refuse(text, "only the user's own home can be named", "write ~/..., an absolute path, or ./~name for a file")
    if first.startswith("@"):
        _refuse(text, f"unknown anchor {first!r}", f"did you mean '@base'? A name like this is written ./{first}")
    return scope.base, text, "relative"


def _append(segments: list[Segment], name: str, text: str, floor: int, *, exact: bool) -> None:
    """One more segment, lexically resolved. `floor` is how far `..` may go up."""
    if name in {"", "."}:
        return
    if name == "..":
        if segments[floor:] and (segments[-1] is None or not all_literal(segments[-1])):
            _refuse(
                text, "`..` after a wildcard means a different directory for each match", "write the path without `..`"
            )
        if floor and len(segments) <= floor:
            _refuse(text, "a relative pattern stays in the workspace", "write the absolute path")
        del segments[-1:]
    elif name == "**" and not exact:
        if not segments or segments[-1] is not None:
            segments.append(None)
    else:
        segments.append(tuple(name) if exact else parse_segment(name))


def _leading_literals(segments: tuple[Segment, ...]) -> list[tuple[Item, ...]]:
    leading: list[tuple[Item, ...]] = []
    for segment in segments:
        if segment is None or not all_literal(segment):
            break
        leading.append(segment)
    return leading


def _refuse(text: str, what: str, hint: str) -> NoReturn:
    raise DocumentError(f"path pattern {text!r}: {what}", hint=hint)
