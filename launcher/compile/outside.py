"""All names below a directory but those of some trees, as path globs.

A private /tmp is the job's own; a workspace that happens to lie below /tmp on the host is not, and nothing in it is
granted by the view. Globs have no "except", and a deny would also beat what a policy grants there, so the rest is
written out: for each name that is left out, the names that part from it at each character.
"""

from __future__ import annotations

from launcher.compile.patterns import literal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    Tree = dict[str, "Tree"]


def everywhere_but(directory: str, trees: Iterable[str]) -> list[str]:
    """Globs for every path below `directory` that is neither in one of `trees` nor leads to one.

    `trees` are canonical paths strictly below `directory`. Without any the result is `DIRECTORY/**`.
    """
    branches: Tree = {}
    for path in sorted(trees):  # a tree comes before what is inside of it
        _insert(branches, path[len(directory.rstrip("/")) + 1 :].split("/"))
    return _level(literal(directory.rstrip("/")), branches) if branches else [f"{literal(directory.rstrip('/'))}/**"]


def _insert(branches: Tree, names: list[str]) -> None:
    for at, name in enumerate(names):
        if name in branches and not branches[name]:
            return  # already left out as a whole
        branches = branches.setdefault(name, {})
        if at == len(names) - 1:
            branches.clear()


def _level(prefix: str, branches: Tree) -> list[str]:
    found = [text for glob in other_names(branches) for text in (f"{prefix}/{glob}", f"{prefix}/{glob}/**")]
    for name, below in branches.items():
        if below:
            found += _level(f"{prefix}/{literal(name)}", below)
    return found


def other_names(names: Iterable[str]) -> list[str]:
    """Globs that together match every name but `names`: each parts from them after one of their beginnings."""
    known = set(names)
    beginnings = sorted({name[:length] for name in known for length in range(len(name) + 1)})
    found = []
    for start in beginnings:
        following = sorted({name[len(start)] for name in known if name.startswith(start) and len(name) > len(start)})
        others = "[!" + "".join([f"\\{char}" for char in following]) + "]" if following else "?"
        found.append(literal(start) + others + "*")
        if start not in known and start not in {"", ".", ".."}:
            found.append(literal(start))
    return found
