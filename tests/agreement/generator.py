"""Random policies and operations on them, from a seed. Pure: names and rights, no disk.

A policy grants patterns that were made from paths of a small universe; an operation goes to a path that one of them
matches, or to one that misses it by one component, one letter, or one right (a near miss), or to any. So most
verdicts are close to a border, where an error would be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from random import Random

TOPS = ("d0", "d1")
LIVE = "live"
MEANT = ["git-hooks", "git-config", "agents", "ci", "editors"]  # what of the danger list a live tree must mean
SUBS = ("in", "im", "out", "i n", "In")
STEMS = ("a", "b", "ab", "k[1]", "A", "é", ".e", "two\nlines", "\udcff")
ENDS = (".csv", ".csw", ".CSV", ".txt", ".")
TOOLS = ("t0", "t1", "t2", "x0", "s0", "s1")
WORDS = ("a", "b", "ab", "-x", "--", "a b", "")
FILE = ("read", "write", "append", "delete")
READING = ("read", "list", "stat")
CHANGING = ("write", "append", "create", "delete", "rename", "mkdir", "rmdir")
KINDS = {
    "read": 20, "list": 6, "stat": 8, "write": 10, "append": 9, "create": 11, "delete": 9, "rename": 7, "mkdir": 5,
    "rmdir": 4, "exec": 11, "connect": 1,
}  # fmt: skip
_SPECIAL = "*?[]\\"


class Operation:
    """`paths` are relative to the workspace; `words` are the argument list of an exec."""

    __slots__ = ("kind", "paths", "words")

    def __init__(self, kind: str, paths: tuple[str, ...], words: tuple[str, ...] = ()) -> None:
        self.kind = kind
        self.paths = paths
        self.words = words

    def __repr__(self) -> str:
        return f"{self.kind} {' '.join(map(repr, self.paths))} {self.words or ''}".rstrip()


class Case:
    """One policy and the operations that are tried under it."""

    __slots__ = ("borders", "capabilities", "commands", "deny", "operations", "seed")

    def __init__(
        self, seed: int, capabilities: dict[str, Any], deny: dict[str, Any], operations: list[Operation]
    ) -> None:
        self.seed = seed
        self.borders: list[str] = []  # paths that the patterns were made from
        self.commands: list[tuple[str, tuple[str, ...]]] = []
        self.capabilities = capabilities
        self.deny = deny
        self.operations = operations


def escaped(name: str) -> str:
    return "".join(f"\\{letter}" if letter in _SPECIAL else letter for letter in name)


class Generator:
    """One case from one seed. `kinds` are the operations and how often each is made, in proportion."""

    def __init__(self, seed: int, random: Random, count: int, kinds: dict[str, int]) -> None:
        self._seed = seed
        self._random = random
        self._count = count
        self._kinds = kinds
        self._live = random.random() < 0.5  # a live tree is granted; denies and staged writes then stay outside of it
        self._near: list[tuple[str, str]] = []  # (path, right) that patterns were made from
        self._used: set[str] = set()
        self._made: set[str] = set()  # what is not there before
        self._commands: list[tuple[str, tuple[str, ...]]] = []

    # -- names

    def _name(self) -> str:
        return self._random.choice(STEMS) + self._random.choice(ENDS)

    def _directory(self, tops: tuple[str, ...] = TOPS) -> str:
        random = self._random
        return "/".join([random.choice(tops), *random.choices(SUBS, k=random.choice((0, 1, 1, 2)))])

    def _path(self) -> str:
        tops = (*TOPS, LIVE) if self._live and self._random.random() < 0.3 else TOPS
        return f"{self._directory(tops)}/{self._name()}"

    def _folder(self) -> str:
        return f"{self._directory()}/{self._random.choice(('m0', 'm1', 'r0', 'r1'))}"

    # -- patterns

    def _pattern(self, path: str, *, anchored: bool = False) -> str:
        """A pattern that matches `path`: some of its components made general."""
        random = self._random
        words = path.split("/")
        shape = random.choice(
            ("literal", "literal", "name", "name", "any", "letter", "letter", "component", "tail", "anywhere")
        )
        made = [escaped(word) for word in words]
        stem, dot, end = words[-1].rpartition(".")
        if "\udcff" in path or shape == "name":  # what no document can spell is matched by a wildcard
            made[-1] = f"*{dot}{escaped(end)}" if dot else "*"
            made = ["*" if "\udcff" in word else word for word in made]
        elif shape == "any":
            made[-1] = "*"
        elif shape == "letter" and stem:
            made[-1] = random.choice(("?", f"[{stem[0]}-{stem[0]}q]" if stem[0].isalnum() else "?")) + escaped(
                words[-1][1:]
            )
        elif shape == "component" and len(words) > 2:
            made[random.randrange(1, len(words) - 1)] = "*"
        elif shape == "tail" and len(words) > 1:
            made = [*made[: random.randrange(1, len(words))], "**"]
        elif shape == "anywhere" and not anchored:
            made = ["**", made[-1]]
        return "/".join(made)

    def _file_rule(self) -> dict[str, Any]:
        random = self._random
        rights = random.sample(FILE, random.choice((1, 1, 2, 3, 4)))
        if random.random() < 0.4 and "read" not in rights:
            rights.append("read")
        patterns = []
        for _ in range(random.choice((1, 1, 2))):
            path = f"{self._directory()}/{self._name()}"
            # what is staged may not be around what is live, and `**/NAME` is staged wherever it may be
            patterns.append(self._pattern(path, anchored=self._live))
            self._near += [(path, right) for right in rights]
        return {"patterns": patterns, "operations": rights}

    def _path_rule(self) -> dict[str, Any]:
        random = self._random
        rights = random.choice((["read"], ["write"], ["read", "write"]))
        path = self._folder() if self._live or random.random() < 0.5 else self._directory()
        self._near += [(path, f"path.{right}") for right in rights]
        return {"patterns": [self._pattern(path, anchored=self._live)], "operations": rights}

    def _live_rule(self) -> dict[str, Any]:
        rights = self._random.choice(
            (["read", "write"], ["write"], ["read", "write", "delete"], ["write", "delete"], ["read", "delete"])
        )
        self._near += [(f"{self._directory((LIVE,))}/{self._name()}", right) for right in (*rights, *FILE)]
        return {"patterns": [f"{LIVE}/**"], "operations": rights, "live": True, "allow_danger": MEANT}

    def _command(self, workspace: str) -> str | list[str]:
        random = self._random
        tool = random.choice(TOOLS)
        words = tuple(random.choices(WORDS[:4], k=random.choice((0, 1, 1, 2))))
        self._commands.append((tool, words))
        place = (
            f"{workspace}/tool/{tool if random.random() < 0.7 else random.choice(('*', tool[0] + '*', tool[0] + '?'))}"
        )
        if random.random() < 0.2 and "*" not in place and "?" not in place:
            return [place, *words]
        return " ".join([place, *words]) + random.choice(("", ":*"))

    def policy(self, workspace: str, probe: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """(capabilities, deny)."""
        random = self._random
        capabilities: dict[str, Any] = {
            "file": [self._file_rule() for _ in range(random.choice((2, 3, 4)))],
            "path": [self._path_rule() for _ in range(random.choice((0, 1, 2)))],
            "cmd": [probe, *[self._command(workspace) for _ in range(random.choice((1, 2, 3)))]],
        }
        if self._live:
            capabilities["file"].append(self._live_rule())
        deny: dict[str, Any] = {}
        if random.random() < 0.6:
            deny["file"] = [self._deny() for _ in range(random.choice((1, 2)))]
        if random.random() < 0.25:
            rights = random.choice((["write"], ["write"], ["read"], ["read", "write"]))
            deny["path"] = [{"patterns": [self._pattern(self._folder(), anchored=self._live)], "operations": rights}]
        if random.random() < 0.4:
            deny["cmd"] = [self._command(workspace)]
        return capabilities, deny

    def _deny(self) -> dict[str, Any]:
        random = self._random
        path, right = random.choice(
            [near for near in self._near if near[1] in FILE and not near[0].startswith(LIVE)] or [("d0/a.csv", "read")]
        )
        return {
            "patterns": [self._pattern(path, anchored=self._live)],
            "operations": random.choice(([right], [right], list(FILE))),
        }

    # -- operations

    def operations(self) -> list[Operation]:
        kinds = self._random.choices(list(self._kinds), list(self._kinds.values()), k=3 * self._count)
        made = [operation for kind in kinds if (operation := self._operation(kind))]
        return sorted(made[: self._count], key=lambda operation: _phase(operation.kind))

    def _operation(self, kind: str) -> Operation | None:
        if kind == "exec":
            return self._exec()
        if kind in {"mkdir", "rmdir"}:
            path = self._near_folder() + ("m" if kind == "mkdir" else "r") + self._random.choice("01")
        elif kind == "list":
            path = self._target(kind).rpartition("/")[0]
        else:
            path = self._target(kind)
        if path in self._used if kind in CHANGING else path in self._made:
            return None
        self._used.add(path)
        if kind == "create" and self._random.random() < 0.25 and not path.startswith(LIVE):
            directory, _, name = path.rpartition("/")
            path = f"{directory}/nw{self._random.choice('01')}/{name}"
            if path in self._used:
                return None
            self._used.add(path)
        if kind == "create":
            self._made.add(path)
        if kind != "rename":
            return Operation(kind, (path,))
        goal = self._target(kind) if self._random.random() < 0.5 else path.rpartition("/")[0] + "/" + self._name()
        if goal in self._used:
            return None
        self._used.add(goal)
        self._made.add(goal)
        return Operation(kind, (path, goal))

    def _target(self, kind: str) -> str:
        """A path near the border: of a grant, or one component or letter beside it."""
        random = self._random
        chance = random.random()
        if chance > 0.93 or not self._near:
            return self._path()
        right = {"create": "write", "rename": "delete", "list": "read", "stat": "read"}.get(kind, kind)
        files = [path for path, _right in self._near if "." in path.rpartition("/")[2]]
        fitting = [path for path, have in self._near if have == right and path in files]
        base = random.choice(fitting) if fitting and random.random() < 0.7 else random.choice(files or [self._path()])
        return base if chance < 0.2 else self._beside(base)

    def _beside(self, path: str) -> str:
        random = self._random
        words = path.split("/")
        place = random.randrange(len(words))
        if place == len(words) - 1:
            stem, dot, end = words[-1].rpartition(".")
            words[-1] = random.choice(
                (self._name(), f"{stem}{dot}{random.choice(ENDS).lstrip('.')}", f"{random.choice(STEMS)}{dot}{end}")
            )
        elif place == 0:
            words[0] = random.choice(TOPS) if words[0] != LIVE else LIVE
        elif random.random() < 0.3:
            del words[place]
        else:
            words[place] = random.choice(SUBS)
        return "/".join(words)

    def _near_folder(self) -> str:
        folders = [path.rpartition("/")[0] for path, right in self._near if right.startswith("path.")]
        if folders and self._random.random() < 0.7:
            return self._random.choice(folders) + "/"
        return self._directory() + "/"

    def _exec(self) -> Operation:
        random = self._random
        tool, words = random.choice(self._commands)
        chance = random.random()
        if chance < 0.25:
            tool = random.choice(TOOLS)
        elif chance < 0.75:
            changed = list(words)
            place = random.randrange(len(changed) + 1)
            changed[place : place + random.choice((0, 1))] = random.choice(([], [random.choice(WORDS)]))
            words = tuple(changed)
        return Operation("exec", (f"tool/{tool}",), words)


def _phase(kind: str) -> int:
    """Reading comes first: a file that the job itself changed is its own."""
    return 0 if kind in READING else 2 if kind in {"exec", "connect"} else 1


def case(seed: int, random: Random, workspace: str, probe: str, count: int, kinds: dict[str, int]) -> Case:
    """The case of `seed`; `random` was made from it."""
    generator = Generator(seed, random, count, kinds)
    capabilities, deny = generator.policy(workspace, probe)
    made = Case(seed, capabilities, deny, generator.operations())
    made.borders = sorted({path for path, _right in generator._near})
    made.commands = generator._commands
    return made
