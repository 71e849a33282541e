"""ML `process`: granted programs, started from a list of words, never through a shell; `sh` is its own capability."""

from __future__ import annotations

import os

from launcher.capability.commands import TRUSTED_PATH
from launcher.runtime.context import current
from launcher.runtime.stdlib import _disk
from launcher.runtime.stdlib._declare import module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from launcher.capability.permissions import Permissions

OPTIONS = frozenset(("cwd", "env", "input", "timeout", "check"))
SHELL = "/bin/sh"

# Bare names that rules use, with their files: looked up once for each set of permissions.
_programs: list[tuple[Permissions, dict[str, str]]] = []


def _find(name: str) -> str | None:
    """The canonical file of a program: as a path, or by its bare name on the trusted PATH."""
    if "/" in name:
        return _disk.resolved(name)
    for directory in TRUSTED_PATH:
        path = f"{directory}/{name}"
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return os.path.realpath(path)
    return None


def _known_programs() -> dict[str, str]:
    permissions = current().permissions
    if not _programs or _programs[0][0] is not permissions:
        rules = [*permissions.grants, *permissions.denies]
        first = {_first_word(pattern) for rule in rules if rule.operations == ("execute",) for pattern in rule.patterns}
        found = {name: path for name in first if name and "/" not in name and (path := _find(name))}
        _programs[:] = [(permissions, found)]
    return _programs[0][1]


def _first_word(pattern: str | tuple[str, ...]) -> str:
    words = pattern.removesuffix(":*").split() if isinstance(pattern, str) else list(pattern)
    return words[0] if words else ""


def _words(command: object) -> list[str]:
    """An argument list. A string is a program without arguments: no text is ever taken apart."""
    words = [command] if isinstance(command, str) else command
    if not isinstance(words, list) or not words:
        raise TypeError("a command must be an array of strings, the program first")
    for word in words:
        if not isinstance(word, str):
            raise TypeError(f"a command's words must be strings, not {type(word).__name__}")
    if "\0" in "".join(words) or not words[0]:
        raise ValueError("a command must name a program and hold no NUL")
    return list(words)


def _run(command: list[str], options: dict[str, Any] | None = None) -> dict[str, Any]:
    words = _words(command)
    file = _find(words[0])
    current().require(
        "cmd", "execute", words, file=file or words[0], programs=_known_programs(), written=" ".join(words)
    )
    if file is None:
        raise FileNotFoundError(2, os.strerror(2), words[0])
    return _started(file, words, options)


def _sh(script: str, options: dict[str, Any] | None = None) -> dict[str, Any]:
    if "\0" in _words(script)[0]:
        raise ValueError("a shell script must hold no NUL")
    file, words = os.path.realpath(SHELL), [SHELL, "-c", script]
    current().require("sh", "execute", words, file=file, programs=_known_programs(), written=f"sh -c {script}")
    return _started(file, words, options)


def _started(file: str, words: list[str], options: dict[str, Any] | None) -> dict[str, Any]:
    from launcher.runtime.stdlib import _child

    chosen = dict(options or {})
    unknown = sorted(str(key) for key in chosen if key not in OPTIONS)
    if unknown:
        raise ValueError(f"no option {unknown[0]!r}; there are {', '.join(sorted(OPTIONS))}")
    result = _child.run(
        file,
        words,
        _disk.resolved(chosen.get("cwd") or current().scope.cwd),
        {**os.environ, **{str(key): str(value) for key, value in (chosen.get("env") or {}).items()}},
        chosen.get("input"),
        chosen.get("timeout"),
    )
    if chosen.get("check") and not result["ok"]:
        raise RuntimeError(f"{words[0]} ended with status {result['code']}: {result['stderr'].strip()[-500:]}")
    return result


def _output(command: list[str], options: dict[str, Any] | None = None) -> str:
    return str(_run(command, {**(options or {}), "check": True})["stdout"])


def _which(name: str) -> str | None:
    file = _find(name)
    return file if file and os.access(file, os.X_OK) else None


def _pid() -> int:
    return os.getpid()


_C = "cmd.execute"

MODULE = module(
    "process",
    "Granted programs, started from an argument list.",
    (
        ("run", _run, _C, "run(words[, {cwd, env, input, timeout, check}]): {code, signal, ok, stdout, stderr, ...}"),
        ("output", _output, _C, "output(words[, options]): its standard output; raises when it fails"),
        ("sh", _sh, "sh.execute", "sh(script[, options]): through the shell; as run"),
        ("which", _which, "", "which(name): the file of a program, or null"),
        ("pid", _pid, "", "pid(): the process's own number"),
    ),
)
