"""Which programs are in view: bare names resolved once, on the trusted path, to files, and only those mounted.

A directory of programs is covered by an empty read-only file system that holds just the granted files, so what is
not granted is not there; not merely not executable (ld.so would run a file that it can read; kernel-facts 3).
With every program granted, the interpreters that are not are covered by an empty file instead.
"""

from __future__ import annotations

import os
import stat

from launcher.enforce.namespace.binds import Bind
from launcher.enforce.namespace.operations import Filesystem, Mask, Symlink
from launcher.enforce.namespace.spec import Rule
from launcher.kernel import landlock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from launcher.enforce.namespace.plan.mountplan import MountPlan

_RUNNABLE = ("ro", "nosuid", "nodev")
_COVER = {"size": "1m", "nr_inodes": "16384", "mode": "0755"}
_LOADERS = ("/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1", "/lib/ld-linux.so.2")
_HELPER_TOPS = ("/usr/lib", "/usr/libexec")
_SHEBANG = 256  # bytes; BINPRM_BUF_SIZE
_MOST_LOOKED_AT = 50_000
_MOST_LINKS = 40  # path_resolution(7): the kernel's own bound on links in one path


class Programs:
    """The commands part of a profile, with what it means on this host's disk."""

    __slots__ = ("_commands", "_globs", "path")

    def __init__(self, commands: dict[str, Any]) -> None:
        self._commands = commands
        self.path: list[str] = commands["path"]
        self._globs: dict[str, Callable[[str], bool]] = {}

    def __reduce__(self) -> tuple[object, ...]:
        return Programs, (self._commands,)

    def resolve(self, name: str) -> str:
        """The canonical file that `name` means on the trusted path, or ""."""
        if "/" in name:
            real: str = os.path.realpath(name)
            return real if _is_program(real) else ""
        for directory in self.path:
            if _is_program(f"{directory}/{name}"):
                found: str = os.path.realpath(f"{directory}/{name}")
                return found
        return ""

    def resolved(self) -> dict[str, str]:
        """The granted bare names and the canonical files that they mean on the trusted path."""
        names = {_program(rule["pattern"]) for rule in self._commands["rules"]}
        return {name: file for name in sorted(names) if "/" not in name and (file := self.resolve(name))}

    def kind(self, path: str) -> str:
        """`sh`, `js` or `py` for an interpreter by its file's name, else `cmd`."""
        name = os.path.basename(path)
        for kind in self._commands["interpreters"]:
            if self._names_of(kind)(name):
                return str(kind)
        return "cmd"

    def _names_of(self, kind: str) -> Callable[[str], bool]:
        """Whether a name is that of an interpreter of `kind`; made when first asked, since most launches do not."""
        if kind not in self._globs:
            self._globs[kind] = _one_of(self._commands["interpreters"][kind])
        return self._globs[kind]

    def granted_names(self) -> Iterator[str]:
        """The program names of the rules, and the names of granted interpreters that are on the path."""
        for rule in self._commands["rules"]:
            yield _program(rule["pattern"])
        for kind in sorted(self.granted_kinds()):
            named = self._names_of(kind)
            for directory in self.path:
                paths = [f"{directory}/{name}" for name in _names(directory) if named(name)]
                # python3-config is named like an interpreter and is a script of another one
                yield from [path for path in paths if not script_interpreter(path)]

    def helper_names(self) -> Iterator[str]:
        """What the granted programs may start (`uses`): names on the path, or path globs."""
        for rule in self._commands["rules"]:
            yield from rule["uses"]

    def helpers(self) -> frozenset[str]:
        """The canonical files of `uses`."""
        starts = [start for name in self.helper_names() for start in self.files_named(name)]
        return frozenset([os.path.realpath(start) for start in starts])

    def files_named(self, name: str) -> list[str]:
        """The programs that a rule's word names: a bare name on the trusted path, a path, or a path glob."""
        if "/" not in name:
            return [f"{top}/{name}" for top in self.path if _is_program(f"{top}/{name}")][:1]
        if not _has_wildcard(name):
            return [name] if _is_program(name) else []
        places = [name] if name.startswith("/") else [f"{top}/{name}" for top in _HELPER_TOPS]
        return [path for place in places for path in _matching(place)]

    def granted_kinds(self) -> set[str]:
        return {kind for kind in self._commands["interpreters"] if self._commands[kind]}


def plan_programs(plan: MountPlan, commands: dict[str, Any], extra: list[str]) -> Programs:
    """Adds the covers and the granted programs. `extra` are files that the launcher itself starts (ML's)."""
    programs = Programs(commands)
    plan.rules += [Rule(path, landlock.READ_FILE | landlock.EXECUTE, optional=True) for path in _LOADERS]
    if commands["mode"] == "all":
        _hide_interpreters(plan, programs, commands["programs"])
        return programs
    granted = _links_and_files(programs, extra)
    covered = [path for path in commands["programs"] if os.path.isdir(path) and not os.path.islink(path)]
    for directory in covered:
        _cover(plan, directory, granted)
    plan.executables.update(path for path, link in granted.items() if not link)
    plan.rules += [
        Rule(path, landlock.READ_FILE | landlock.EXECUTE, optional=True) for path in sorted(plan.executables)
    ]
    return programs


def plan_own_programs(plan: MountPlan, view: list[str], staged: list[str]) -> None:
    """Mounts granted programs of the job's own trees executable, on top of whatever shows those trees.

    `view` are the targets of the base view, where programs are executable already; `staged` the staged areas.
    """
    for path in sorted(plan.executables):
        if any(_below(path, directory) for directory in view):
            continue
        identity = _identity(path)
        plan.own_programs[path] = identity[:2]
        bind = Bind(path, path, _RUNNABLE, identity)
        (plan.over if any(_below(path, area) for area in staged) else plan.operations).append(bind)


_SIGNS = frozenset("*?[\\")  # a pattern that begins with one of these begins with no character in particular


def _one_of(texts: Sequence[str]) -> Callable[[str], bool]:
    """Whether a name matches one of many patterns. It is asked about every program of the host, a thousand and more: so
    literal names are looked up, and of the others only those that begin like the name are tried.
    """
    from launcher.capability.glob import parse_segment, segment_matcher

    literal = frozenset([text for text in texts if not _has_wildcard(text) and "\\" not in text])
    begins: dict[str, list[Callable[[str], bool]]] = {}
    for text in texts:
        if text not in literal:
            first = "" if text[:1] in _SIGNS else text[:1]
            begins.setdefault(first, []).append(segment_matcher(parse_segment(text)))
    anywhere = begins.pop("", [])
    for matchers in begins.values():
        matchers.extend(anywhere)

    def matches(name: str) -> bool:
        if name in literal:
            return True
        for match in begins.get(name[:1], anywhere):  # noqa: SIM110  a thousand times a launch, without a generator
            if match(name):
                return True
        return False

    return matches


def _cover(plan: MountPlan, directory: str, granted: dict[str, str]) -> None:
    inside = [(path, link) for path, link in sorted(granted.items()) if _below(path, directory)]
    if not inside:
        plan.operations.append(Mask(directory))
        return
    plan.operations.append(Filesystem("tmpfs", directory, _COVER, ("nosuid", "nodev", "noexec")))
    plan.sealed.append(directory)
    for path, link in inside:
        operation = Symlink(link, path) if link else Bind(path, path, _RUNNABLE, _identity(path))
        plan.operations.append(operation)


def _below(path: str, directory: str) -> bool:
    return path.startswith(directory + "/")


def _links_and_files(programs: Programs, extra: list[str]) -> dict[str, str]:
    """Every name on the way to each granted program: path -> text of the link, or "" for the file itself."""
    found: dict[str, str] = {}
    for name in [*programs.granted_names(), *programs.helper_names(), *extra]:
        for start in programs.files_named(name):
            _follow(start, found)
    # A script brings its interpreter into view; what else that may be used for, the check at exec time decides.
    for path in [path for path, link in found.items() if not link]:
        for interpreter in interpreters_of(path):
            for start in programs.files_named(interpreter):
                _follow(start, found)
    return found


def _follow(path: str, found: dict[str, str]) -> None:
    for _ in range(_MOST_LINKS):
        here = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
        if not os.path.islink(here):
            if _is_program(here):
                found[here] = ""
            return
        text = os.readlink(here)
        found[here] = text
        path = os.path.normpath(os.path.join(os.path.dirname(here), text))


def interpreters_of(path: str) -> list[str]:
    """The programs that a start of the script `path` starts: its interpreter, and env(1) where that looks it up."""
    return [interpreter for interpreter, _options in starts_of(path)]


def starts_of(path: str) -> list[tuple[str, tuple[str, ...]]]:
    """How a start of the script `path` looks to the kernel: (interpreter, its words before the script's own name).

    The kernel hands over the rest of the first line as one word (execve(2)); env(1) with -S splits it.
    """
    words = _shebang(path)
    if not words:
        return []
    rest = " ".join(words[1:])
    starts: list[tuple[str, tuple[str, ...]]] = [(words[0], (rest,) if rest else ())]
    looked_up = script_interpreter(path)
    if looked_up != words[0]:
        starts.append((looked_up, tuple(words[words.index(looked_up) + 1 :])))
    return starts


def _shebang(path: str) -> list[str]:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return []
    try:
        head = os.read(fd, _SHEBANG)
    finally:
        os.close(fd)
    return os.fsdecode(head[2:].partition(b"\n")[0]).split() if head.startswith(b"#!") else []


def script_interpreter(path: str) -> str:
    """The program that runs the script `path` (env(1) looked through), or ""."""
    words = _shebang(path)
    if words and os.path.basename(words[0]) == "env":
        words = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
    return words[0] if words else ""


def _hide_interpreters(plan: MountPlan, programs: Programs, directories: list[str]) -> None:
    granted = programs.granted_kinds()
    for directory in directories:
        for name in _names(directory):
            path = f"{directory}/{name}"
            if not os.path.islink(path) and programs.kind(path) not in granted | {"cmd"}:
                plan.operations.append(Bind("/dev/null", path, ("ro", "nosuid", "nodev", "noexec")))


def _program(pattern: str | list[str]) -> str:
    if isinstance(pattern, list):
        return pattern[0]
    return pattern.removesuffix(":*").split()[0]


def _matching(text: str) -> list[str]:
    """The programs on disk that a path glob matches, bounded."""
    from launcher.capability.paths import PathPattern
    from launcher.capability.scope import Scope

    pattern = PathPattern(text, Scope("/", "/"))
    found: list[str] = []
    pending = [pattern.prefix]
    seen = 0
    while pending and seen < _MOST_LOOKED_AT:
        directory = pending.pop()
        for name in _names(directory):
            seen += 1
            path = f"{directory.rstrip('/')}/{name}"
            if os.path.isdir(path) and not os.path.islink(path):
                if pattern.could_match_below(path):
                    pending.append(path)
            elif pattern.matches(path) and _is_program(path):
                found.append(path)
    return found


def _has_wildcard(path: str) -> bool:
    return any(sign in path for sign in "*?[")


def _is_program(path: str) -> bool:
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return False
    return stat.S_ISREG(found.st_mode) and bool(found.st_mode & 0o111)


def _identity(path: str) -> tuple[int, int, int]:
    found = os.lstat(path)
    return found.st_dev, found.st_ino, stat.S_IFMT(found.st_mode)


def _names(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []
