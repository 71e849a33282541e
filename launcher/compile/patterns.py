"""Path globs as a profile holds them: written out in full, so that they mean the same wherever the profile is read."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from launcher.capability.scope import Scope

_SPECIAL = frozenset("*?[\\")


def resolved(text: str, scope: Scope) -> str:
    """`text` with `~`, `@base` and relative anchors written out, and `.`, `..` and `//` removed.

    A leading `**` stays: it is any place in the job's view. `text` is a pattern that PathPattern accepts; the result
    parses to the same one in any scope (a test holds it).
    """
    first, _, rest = text.partition("/")
    if first == "**":
        return _clean(text)
    if not first:
        return "/" + _clean(text)
    if first == "~":
        root = scope.home
    elif first == "@base":
        root = scope.base
    else:
        root, rest = scope.base, text
    return "/" + _clean(literal(root) + "/" + rest)


def literal(path: str) -> str:
    """The glob that matches just `path`."""
    return "".join(["\\" + char if char in _SPECIAL else char for char in path])


def whole_directory(pattern: str) -> str:
    """D for the pattern `D/**` without other wildcards, else ""."""
    directory = pattern.removesuffix("/**")
    return unescaped(directory) if directory != pattern and is_literal(directory) and directory else ""


def is_literal(pattern: str) -> bool:
    """Whether the resolved pattern has no wildcard."""
    at = 0
    while at < len(pattern):
        if pattern[at] == "\\":
            at += 1
        elif pattern[at] in _SPECIAL:
            return False
        at += 1
    return True


def unescaped(pattern: str) -> str:
    """The path that a pattern without wildcards matches."""
    kept = []
    at = 0
    while at < len(pattern):
        at += pattern[at] == "\\"
        kept.append(pattern[at : at + 1])
        at += 1
    return "".join(kept)


def _clean(pattern: str) -> str:
    """Lexically, as the algebra does: a `..` takes the segment before it, `**/**` is `**`. No leading slash."""
    kept: list[str] = []
    for segment in pattern.split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment not in {"", "."} and not (segment == "**" and kept[-1:] == ["**"]):
            kept.append(segment)
    return "/".join(kept)
