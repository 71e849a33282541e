"""Temporary names: how programs call a file that will be renamed over the real one."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from launcher.capability.scope import Scope

# Suffixes that editors, shells and libraries give to a file that is not finished or that is the one before.
SUFFIXES = frozenset(("tmp", "temp", "new", "part", "partial", "swp", "bak", "old", "lock", "orig", "crdownload"))
# mkstemp(3) and its kin: six to sixteen letters and digits, at least one of which is a digit or a capital.
RANDOM_LENGTHS = range(6, 17)


def original_names(name: str) -> list[str]:
    """The names that `name` may be a temporary of: `.report.txt.tmp` of `report.txt`. Empty for an ordinary name."""
    found: list[str] = []
    for hidden in (name, name[1:] if name.startswith(".") else ""):
        if not hidden:
            continue
        if hidden.endswith("~") and len(hidden) > 1:
            found.append(hidden[:-1])
        stem, _, suffix = hidden.rpartition(".")
        if stem and (suffix.lower() in SUFFIXES or _is_random(suffix)):
            found.append(stem)
    if name.startswith("#") and name.endswith("#") and len(name) > 2:
        found.append(name[1:-1])
    if name.startswith(".#") and len(name) > 2:
        found.append(name[2:])
    return found


def _is_random(suffix: str) -> bool:
    plain = suffix.replace("_", "a")
    return len(suffix) in RANDOM_LENGTHS and plain.isascii() and plain.isalnum() and not plain.islower()


def is_staged(directory: str, staged: Sequence[str], scope: Scope) -> bool:
    """Whether writes in the canonical `directory` are staged. `staged` are directories, files, or the patterns of both.

    A staged file or pattern stages the directory that it stands in: one overlay per common parent (design section 8).
    """
    from launcher.capability.paths import PathPattern

    for text in staged:
        pattern = PathPattern(text, scope)
        top = pattern.prefix if pattern.literal is None else pattern.literal
        if directory in {top, top.rpartition("/")[0]} or directory.startswith(f"{top.rstrip('/')}/"):
            return True
    return False
