"""ML `regex`: regular expressions in the host's syntax. Host match objects never leave this module."""

from __future__ import annotations

import re as host

from launcher.runtime.library import Object
from launcher.runtime.stdlib._declare import module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, ClassVar

    Replacement = str | Callable[[Any], Any]

# In the order in which `toString` writes them.
FLAGS: dict[str, int] = {
    name: int(getattr(host, name)) for name in ("IGNORECASE", "MULTILINE", "DOTALL", "VERBOSE", "ASCII", "UNICODE")
}
ALL_FLAGS = sum(FLAGS.values())


def _compiled(pattern: str, flags: int = 0) -> host.Pattern[str]:
    # DEBUG would print, LOCALE would make the program depend on the machine.
    if flags & ~ALL_FLAGS:
        raise ValueError(f"unknown regex flags: {flags}")
    try:
        return host.compile(pattern, flags)
    except host.error as error:
        raise ValueError(f"Invalid regex pattern '{pattern}': {error}") from None


def _replacement(repl: Replacement) -> Any:
    """`repl` for the host. A function gets our Match, and what it returns must be text."""
    if isinstance(repl, (str, bytes)):
        return repl

    def called(found: host.Match[str]) -> str:
        text = repl(Match(found))
        if not isinstance(text, str):
            raise TypeError(f"the replacement function returned {type(text).__name__}, not a string")
        return text

    return called


def _guarded(work: Callable[[], Any]) -> Any:
    """A bad template (a group that does not exist) is an error of the program, in words without host classes."""
    try:
        return work()
    except host.error as error:
        raise ValueError(f"Invalid regex replacement: {error}") from None


class Match(Object):
    """What was found, and where."""

    __slots__ = ("_found",)
    methods: ClassVar = {
        "group": "group",
        "groups": "groups",
        "groupDict": "group_dict",
        "start": "start",
        "end": "end",
        "span": "span",
        "value": "value",
        "lastGroup": "last_group",
        "groupCount": "group_count",
        "expand": "expand",
        "toString": "to_string",
    }

    def __init__(self, found: host.Match[str]) -> None:
        self._found = found

    def group(self, which: int | str = 0) -> str | None:
        return self._found.group(which)

    def groups(self) -> list[str | None]:
        return list(self._found.groups())

    def group_dict(self, default: Any = None) -> dict[str, Any]:
        return self._found.groupdict(default)

    def start(self, which: int | str = 0) -> int:
        return self._found.start(which)

    def end(self, which: int | str = 0) -> int:
        return self._found.end(which)

    def span(self, which: int | str = 0) -> list[int]:
        return list(self._found.span(which))

    def value(self) -> str | None:
        return self._found.group()

    def last_group(self) -> str | None:
        return self._found.lastgroup

    def group_count(self) -> int:
        return len(self._found.groups())

    def expand(self, template: str) -> str:
        return str(_guarded(lambda: self._found.expand(template)))

    def to_string(self) -> str:
        return f"Match(value='{self.value()}', span={self.span()})"


class Pattern(Object):
    """A compiled pattern."""

    __slots__ = ("_pattern",)
    methods: ClassVar = {
        "search": "search",
        "match": "match",
        "fullmatch": "fullmatch",
        "findall": "findall",
        "finditer": "finditer",
        "split": "split",
        "sub": "sub",
        "subn": "subn",
        "test": "test",
        "count": "count",
        "getPattern": "get_pattern",
        "getFlags": "get_flags",
        "toString": "to_string",
    }
    properties: ClassVar = {"pattern": "text"}

    def __init__(self, pattern: host.Pattern[str]) -> None:
        self._pattern = pattern

    @property
    def text(self) -> str:
        return self._pattern.pattern

    def search(self, s: str, *bounds: int) -> Match | None:
        return _wrapped(self._pattern.search(s, *bounds))

    def match(self, s: str, *bounds: int) -> Match | None:
        return _wrapped(self._pattern.match(s, *bounds))

    def fullmatch(self, s: str, *bounds: int) -> Match | None:
        return _wrapped(self._pattern.fullmatch(s, *bounds))

    def findall(self, s: str, *bounds: int) -> list[Any]:
        return self._pattern.findall(s, *bounds)

    def finditer(self, s: str, *bounds: int) -> list[Match]:
        return [Match(found) for found in self._pattern.finditer(s, *bounds)]

    def split(self, s: str, most: int = 0) -> list[str | Any]:
        return self._pattern.split(s, most)

    def sub(self, repl: Replacement, s: str, count: int = 0) -> str:
        return str(_guarded(lambda: self._pattern.sub(_replacement(repl), s, count)))

    def subn(self, repl: Replacement, s: str, count: int = 0) -> dict[str, Any]:
        text, replaced = _guarded(lambda: self._pattern.subn(_replacement(repl), s, count))
        return {"result": text, "count": replaced}

    def test(self, s: str) -> bool:
        return self._pattern.search(s) is not None

    def count(self, s: str) -> int:
        return sum(1 for _ in self._pattern.finditer(s))

    def get_pattern(self) -> str:
        return self._pattern.pattern

    def get_flags(self) -> int:
        return int(self._pattern.flags)

    def to_string(self) -> str:
        names = [name for name, bit in FLAGS.items() if self._pattern.flags & bit]
        return f"Pattern('{self._pattern.pattern}', flags={' | '.join(names) or 0})"


def _wrapped(found: host.Match[str] | None) -> Match | None:
    return None if found is None else Match(found)


def _search(p: str, s: str, flags: int = 0) -> Match | None:
    return Pattern(_compiled(p, flags)).search(s)


def _match(p: str, s: str, flags: int = 0) -> Match | None:
    return Pattern(_compiled(p, flags)).match(s)


def _fullmatch(p: str, s: str, flags: int = 0) -> Match | None:
    return Pattern(_compiled(p, flags)).fullmatch(s)


def _findall(p: str, s: str, flags: int = 0) -> list[Any]:
    return Pattern(_compiled(p, flags)).findall(s)


def _finditer(p: str, s: str, flags: int = 0) -> list[Match]:
    return Pattern(_compiled(p, flags)).finditer(s)


def _split(p: str, s: str, most: int = 0, flags: int = 0) -> list[Any]:
    return Pattern(_compiled(p, flags)).split(s, most)


def _sub(p: str, repl: Replacement, s: str, count: int = 0, flags: int = 0) -> str:
    return Pattern(_compiled(p, flags)).sub(repl, s, count)


def _subn(p: str, repl: Replacement, s: str, count: int = 0, flags: int = 0) -> dict[str, Any]:
    return Pattern(_compiled(p, flags)).subn(repl, s, count)


def _test(p: str, s: str, flags: int = 0) -> bool:
    return Pattern(_compiled(p, flags)).test(s)


def _count(p: str, s: str, flags: int = 0) -> int:
    return Pattern(_compiled(p, flags)).count(s)


def _escape(s: str) -> str:
    return host.escape(s)


def _is_valid(p: str) -> bool:
    try:
        _compiled(p)
    except (ValueError, TypeError, OverflowError, RecursionError):
        return False
    return True


def _compile(p: str, flags: int = 0) -> Pattern:
    return Pattern(_compiled(p, flags))


def _flag(bit: int) -> Callable[[], int]:
    def flag() -> int:
        return bit

    return flag


_M = "regex.match"

MODULE = module(
    "regex",
    "Regular expressions, in Python's syntax.",
    (
        ("search", _search, _M, "search(p, s[, flags]): the first Match anywhere, or null"),
        ("match", _match, _M, "match(p, s[, flags]): a Match at the start, or null"),
        ("fullmatch", _fullmatch, _M, "fullmatch(p, s[, flags]): a Match of all of s, or null"),
        ("findall", _findall, _M, "findall(p, s[, flags]): strings, or tuples when p has several groups"),
        ("finditer", _finditer, _M, "finditer(p, s[, flags]): an array of Match"),
        ("split", _split, _M, "split(p, s[, max, flags]): the text between"),
        ("sub", _sub, _M, "sub(p, repl, s[, count, flags]): with what was found replaced"),
        ("subn", _subn, _M, "subn(p, repl, s[, count, flags]): {result, count}"),
        ("test", _test, _M, "test(p, s[, flags]): whether p is found"),
        ("count", _count, _M, "count(p, s[, flags]): how often p is found"),
        ("escape", _escape, "", "escape(s): a pattern that matches s itself"),
        ("isValid", _is_valid, "", "isValid(p): whether p is a pattern"),
        ("compile", _compile, "regex.compile", "compile(p[, flags]): a Pattern"),
        *((name, _flag(bit), "", f"{name}(): the flag's number; combine with +") for name, bit in FLAGS.items()),
    ),
)
