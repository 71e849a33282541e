"""Grants of commands and interpreters as the profile's `commands`: which images the kernel may start."""

from __future__ import annotations

from launcher.capability.commands import CommandPattern
from launcher.capability.kinds import INTERPRETERS, is_multi_call
from launcher.compile.patterns import resolved

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from launcher.capability.grant import Grant, type_pattern
    from launcher.capability.permissions import Permissions
    from launcher.capability.scope import Scope
    from launcher.compile.base import BaseProfile

_TYPES = ("cmd", "sh", "js", "py")
_EVERY = "*"
# Multi-call files are shells too (`busybox sh`): where no shell is granted they are covered like one, and where one of
# them is granted by itself the name that it is started by must be verified.
_MULTI_CALL = ["busybox", "busybox.*", "toybox", "toybox.*"]
# As globs, `python` and `python3.11`: what capability.kinds.interpreter_type says of names with a version.
_INTERPRETERS = {
    kind: [glob for name in sorted(names) for glob in (name, f"{name}[0-9]*")] for kind, names in INTERPRETERS.items()
}
_INTERPRETERS["sh"] += _MULTI_CALL


def command_rules(permissions: Permissions, base: BaseProfile, root_links: dict[str, str]) -> dict[str, Any]:
    """The profile's `commands`."""
    gone = {deny.type for deny in permissions.denies if deny.type in _TYPES and _means_all(deny)}
    held = [grant for grant in permissions.grants if grant.type in _TYPES and grant.type not in gone]
    whole = {grant.type for grant in held if _means_all(grant)}
    scope = permissions.scope
    rules = [_rule(g, p, scope) for g in held for p in g.patterns if not (p == _EVERY and g.type != "cmd")]
    denied = [
        _rule(deny, pattern, scope)
        for deny in permissions.denies
        if deny.type in _TYPES
        for pattern in deny.patterns or (_EVERY,)
    ]
    mode = "all" if "cmd" in whole else "listed" if rules or whole else "none"
    granted = _parsed(held, scope)
    finer = _has_arguments([*granted, *_parsed(permissions.denies, scope)]) or _many_in_one(granted)
    return {
        "mode": mode,
        "check": "refuse" if mode == "none" else "arguments" if finer else "image",
        "rules": rules,
        "denied": denied,
        "sh": "sh" in whole,
        # A grant of every command is one of these interpreters too; shells are granted by `sh` alone.
        **{kind: kind in whole or (mode == "all" and kind not in gone) for kind in ("js", "py")},
        "interpreters": _INTERPRETERS,
        **_places(base, root_links),
    }


def _places(base: BaseProfile, root_links: dict[str, str]) -> dict[str, list[str]]:
    """Search path and program directories, without those that are only another name for one in /usr."""
    links = {f"/{name}" for name, target in root_links.items() if target}
    given = base.data["commands"]
    return {key: [path for path in given[key] if path not in links] for key in ("path", "programs")}


def _means_all(rule: Grant) -> bool:
    return _EVERY in rule.patterns or (not rule.patterns and rule.type != "cmd") or _denies_all(rule)


def _denies_all(rule: Grant) -> bool:
    # A grant of `cmd` without patterns grants nothing and never reaches a profile; a deny without means all.
    return rule.type == "cmd" and not rule.patterns


def _rule(rule: Grant, pattern: type_pattern, scope: Scope) -> dict[str, Any]:
    return {
        "type": rule.type,
        "pattern": _written_out(pattern, scope),
        "uses": [_written_out(text, scope) for text in rule.constraints.get("uses") or ()],
        "policy": rule.policy,
        "place": str(rule.place),
    }


def _written_out(pattern: type_pattern, scope: Scope) -> Any:
    """The pattern with its program resolved when that is a path; bare names stay (the plan looks them up)."""
    if not isinstance(pattern, str):
        return list(pattern)
    program, blank, rest = pattern.strip().partition(" ")
    if "/" not in program:
        return pattern
    program, colon, more = program.partition(":*") if not blank and program.endswith(":*") else (program, "", "")
    return resolved(program, scope) + colon + more + blank + rest


def _parsed(rules: Iterable[Grant], scope: Scope) -> list[CommandPattern]:
    return [CommandPattern.parse(p, scope) for rule in rules if rule.type in _TYPES for p in rule.patterns]


def _has_arguments(patterns: list[CommandPattern]) -> bool:
    """Whether any pattern says more than which program."""
    return any(pattern.arguments or not pattern.final_any for pattern in patterns)


def _many_in_one(patterns: list[CommandPattern]) -> bool:
    """Whether any names a file of which the arguments say what it is."""
    return any(is_multi_call(pattern.tokens[0]) for pattern in patterns)
