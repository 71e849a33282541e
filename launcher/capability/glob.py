r"""The pattern of one name between slashes: `*`, `?`, `[abc]`, `[a-z]`, `[!a]`, `\` (design section 5).

Parsing gives items that both readers share: the matcher below, and the automata of containment. `re` is not used:
importing it costs 8 ms on the path of a launch.
"""

from __future__ import annotations

from launcher.errors import DocumentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    # A literal character, or a set of code points as sorted intervals, or STAR.
    Interval = tuple[int, int]
    Item = str | tuple[Interval, ...]

# What a name is made of: every code point but NUL, `/`, and the surrogates that stand for no byte. A byte that is not
# part of a UTF-8 character is one of U+DC80..U+DCFF (PEP 383), so one code point here is what `?` means.
NAME_CHARACTERS: tuple[Interval, ...] = (
    (1, 0x2E),
    (0x30, 0xD7FF),
    (0xDC80, 0xDCFF),
    (0xE000, 0x10FFFF),
)
STAR: tuple[Interval, ...] = ()  # the empty set of characters matches nothing, so it is free to mean `*`

# A longer pattern is an attack on the parser, not a name: NAME_MAX is 255 bytes, PATH_MAX 4096.
LONGEST_PATTERN = 4096


def parse_segment(text: str) -> tuple[Item, ...]:
    r"""segment = { "*" | "?" | class | "\" any | any }; two stars together are an error, for `**` is a whole segment.

    Raises DocumentError.
    """
    items: list[Item] = []
    at = 0
    while at < len(text):
        char = text[at]
        at += 1
        if char == "*":
            if items and items[-1] == STAR:
                _refuse(text, "`**` stands for a whole segment", "write `*`, or `**` alone between slashes")
            items.append(STAR)
        elif char == "?":
            items.append(NAME_CHARACTERS)
        elif char == "[":
            charset, at = _parse_class(text, at)
            items.append(charset)
        elif char == "\\":
            items.append(_escaped(text, at))
            at += 1
        else:
            items.append(char)
    return tuple(items)


def _parse_class(text: str, at: int) -> tuple[tuple[Interval, ...], int]:
    """class = "[" [ "!" ] member { member } "]"; member = char [ "-" char ]; a "]" that comes first is a member."""
    negated = text[at : at + 1] == "!"
    if text[at : at + 1] == "^":
        _refuse(text, "`[^` is not in this language", "write `[!a]` for not, or `[\\^a]` for the character itself")
    at += negated
    intervals: list[Interval] = []
    first = True
    while first or text[at : at + 1] != "]":
        low, at = _member(text, at)
        high = low
        if text[at : at + 1] == "-" and text[at + 1 : at + 2] not in {"]", ""}:
            high, at = _member(text, at + 1)
        if high < low:
            _refuse(text, f"the range {low}-{high} runs backwards", f"write {high}-{low}")
        intervals.append((ord(low), ord(high)))
        first = False
    allowed = complement(intervals) if negated else normal(intervals)
    charset = intersect(allowed, NAME_CHARACTERS)
    if not charset:
        _refuse(text, "the class holds no character of a name", "`/` and NUL are in no name")
    return charset, at + 1


def _member(text: str, at: int) -> tuple[str, int]:
    if at >= len(text):
        _refuse(text, "`[` has no `]`", "write `\\[` for the character itself; `/` is never in a class")
    if text[at] == "\\":
        return _escaped(text, at + 1), at + 2
    return text[at], at + 1


def _escaped(text: str, at: int) -> str:
    if at >= len(text):
        _refuse(text, "`\\` escapes nothing", "write `\\\\` for the character itself")
    return text[at]


def _refuse(text: str, what: str, hint: str) -> NoReturn:
    raise DocumentError(f"pattern {text!r}: {what}", hint=hint)


# --- sets of code points -------------------------------------------------------------------------------------------


def normal(intervals: list[Interval] | tuple[Interval, ...]) -> tuple[Interval, ...]:
    """Sorted, without overlap or neighbours."""
    merged: list[Interval] = []
    for low, high in sorted(intervals):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return tuple(merged)


def complement(intervals: list[Interval] | tuple[Interval, ...], top: int = 0x10FFFF) -> tuple[Interval, ...]:
    """Everything from 0 to `top` that is in none of the intervals."""
    gaps: list[Interval] = []
    at = 0
    for low, high in normal(intervals):
        if at < low:
            gaps.append((at, low - 1))
        at = high + 1
    if at <= top:
        gaps.append((at, top))
    return tuple(gaps)


def intersect(left: tuple[Interval, ...], right: tuple[Interval, ...]) -> tuple[Interval, ...]:
    """What both sets hold."""
    shared = [(max(a, c), min(b, d)) for a, b in left for c, d in right]
    return normal([(low, high) for low, high in shared if low <= high])


def holds(charset: tuple[Interval, ...], code: int) -> bool:
    """Whether the code point is in the set."""
    for low, high in charset:  # noqa: SIM110  a generator costs three times as much here
        if low <= code <= high:
            return True
    return False


# --- matching ------------------------------------------------------------------------------------------------------


def literal_text(items: tuple[Item, ...]) -> str | None:
    """The one name that the items match, or None when they match more than one."""
    return "".join([item for item in items if isinstance(item, str)]) if all_literal(items) else None


def all_literal(items: tuple[Item, ...]) -> bool:
    """Whether no item is a wildcard."""
    return all(isinstance(item, str) for item in items)


def segment_matcher(items: tuple[Item, ...]) -> Callable[[str], bool]:
    """The fastest function that says whether a whole name matches. It never raises and is linear for one star."""
    stars = [at for at, item in enumerate(items) if item == STAR]
    literal = all(isinstance(item, str) or item == STAR for item in items)
    if literal and not stars:
        return "".join([str(item) for item in items]).__eq__
    if literal and len(stars) == 1:
        head = "".join([str(item) for item in items[: stars[0]]])
        tail = "".join([str(item) for item in items[stars[0] + 1 :]])
        return _affix_matcher(head, tail)
    if literal and stars == [0, len(items) - 1]:
        middle = "".join([str(item) for item in items[1:-1]])
        return lambda name: middle in name
    return lambda name: _general(items, name)


def _affix_matcher(head: str, tail: str) -> Callable[[str], bool]:
    if not head and not tail:
        return lambda _name: True
    if not head:
        return lambda name: name.endswith(tail)
    if not tail:
        return lambda name: name.startswith(head)
    least = len(head) + len(tail)
    return lambda name: len(name) >= least and name.startswith(head) and name.endswith(tail)


def _general(items: tuple[Item, ...], name: str) -> bool:
    """Greedy with one way back, to the last star: every item but a star takes exactly one character, so an earlier star
    never has to be tried again. At most len(items) * len(name) steps, whatever the pattern.
    """
    at = place = 0
    star = mark = -1
    while place < len(name):
        item = items[at] if at < len(items) else None
        if item == STAR:
            star, mark, at = at, place, at + 1
        elif item is not None and (item == name[place] if isinstance(item, str) else holds(item, ord(name[place]))):
            at += 1
            place += 1
        elif star >= 0:
            mark += 1
            at, place = star + 1, mark
        else:
            return False
    return all(item == STAR for item in items[at:])
