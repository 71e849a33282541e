"""Declared within granted: exact, by language inclusion, with an example of what is missing (design section 5)."""

from __future__ import annotations

from launcher.capability.compare_commands import command_example
from launcher.capability.compare_hosts import denies_example, host_example, host_left
from launcher.capability.compare_paths import name_example, name_left, path_example, path_left
from launcher.capability.constraints import accepts
from launcher.capability.decision import Shortfall
from launcher.capability.inclusion import TooComplexError
from launcher.capability.kinds import BASE_PREFIX, COMMAND, DANGER_PREFIX, HOST, KINDS, NAME, PATH, PROGRAM, URL
from launcher.capability.permissions import Permissions, not_empty
from launcher.capability.rules import parsed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from launcher.capability.grant import Grant
    from launcher.capability.scope import Scope

    Compare = Callable[["Question", Any], str | None]
    Left = Callable[["Question", Any], bool]

COMPLEX = "the patterns are too complex to be compared exactly"


class Question:
    """One operation of one need, the grants and denies that bear on it, and what they are read in.

    `grants` are (pattern, grant) of the grants whose constraints accept the need's, `narrower` the other grants;
    `whole_deny` is a deny of everything, if there is one.
    """

    __slots__ = ("denies", "grants", "narrower", "need", "operation", "permissions", "programs", "scope", "whole_deny")

    def __init__(
        self, permissions: Permissions, need: Grant, operation: str, programs: Mapping[str, str] | None
    ) -> None:
        self.permissions = permissions
        self.need = need
        self.operation = operation
        self.programs = programs
        self.scope: Scope = permissions.scope
        bearing = [grant for grant in permissions.grants if _bears(grant, need, operation)]
        mine = [grant for grant in bearing if accepts(grant, need)]
        self.narrower = [grant for grant in bearing if not accepts(grant, need)]
        denies = [deny for deny in permissions.denies if _bears(deny, need, operation)]
        # The kind of pattern follows from the type, which the caller chose the comparison by.
        self.grants: list[tuple[Any, Grant]] = list(parsed(mine, self.scope))
        self.denies: list[tuple[Any, Grant]] = list(parsed(denies, self.scope))
        self.whole_deny = next((deny for deny in denies if not deny.patterns), None)


def shortfalls(
    permissions: Permissions, needs: Sequence[Grant], programs: Mapping[str, str] | None = None
) -> list[Shortfall]:
    """Every pattern of the needs that is not within the grants minus the denies. Raises DocumentError for a bad one."""
    found: list[Shortfall] = []
    permissions = _without_shipped(permissions)
    for need in needs:
        if need.policy.startswith(BASE_PREFIX):
            continue
        if not need.patterns:
            found += _boolean(permissions, need)
            continue
        for operation in need.operations:
            found += _patterns(Question(permissions, need, operation, programs))
    return found


def _patterns(question: Question) -> list[Shortfall]:
    found: list[Shortfall] = []
    compare = _EXAMPLES[KINDS[question.need.type].pattern]
    entries: list[tuple[Any, Grant]] = list(parsed([question.need], question.scope))
    for pattern, need in entries:
        text: str = pattern.text
        try:
            example = compare(question, pattern)
        except TooComplexError:
            reason = f"{COMPLEX}: refused"
            found.append(Shortfall(need, question.operation, text, "", reason))
            continue
        if example is not None:
            found.append(Shortfall(need, question.operation, text, example, _reason(question, example)))
    return found


def _reason(question: Question, example: str) -> str:
    """Why the example is missing: denied, granted under narrower constraints, or not granted."""
    name = f"{question.need.type}.{question.operation} {example}"
    deciders = _deciders(question, example)
    if deciders:
        return f"{name} is declared, but denied by {deciders[0].policy or 'a policy'} {deciders[0].place}".rstrip()
    if question.narrower:
        grant = question.narrower[0]
        stated = ", ".join(f"{key} {value}" for key, value in sorted(question.need.constraints.items()))
        return f"{name} is declared with {stated}, which {grant.policy or 'the policy'} {grant.place} does not accept"
    return f"{name} is declared, but not granted"


def _deciders(question: Question, example: str) -> tuple[Grant, ...]:
    """The denies that mean the example."""
    need = question.need
    if KINDS[need.type].pattern == HOST:
        whole = (question.whole_deny,) if question.whole_deny else ()
        return whole + tuple(deny for pattern, deny in question.denies if denies_example(pattern, example))
    resource = example.split(" ") if KINDS[need.type].pattern in {COMMAND, PROGRAM} else example
    decision = question.permissions.decide(need.type, question.operation, resource, programs=question.programs, now=0)
    return () if decision.allowed else decision.deciders


def _url_example(question: Question, need: Any) -> str | None:
    """Connections are exact or everything below: no automaton is needed."""
    example = need.base + "a" if need.any_below else need.base
    shown = example.replace("://", f"://{need.user}@", 1) if need.user else str(example)
    if question.whole_deny:
        return shown
    for pattern, _ in question.denies:
        if pattern.meets(need):
            return str(pattern.base if pattern.base.startswith(need.base) else shown)
    return None if any(pattern.covers(need) for pattern, _ in question.grants) else shown


_EXAMPLES: dict[str, Compare] = {
    PATH: path_example,
    HOST: host_example,
    NAME: name_example,
    URL: _url_example,
    COMMAND: command_example,
    PROGRAM: command_example,
}


# --- needs without patterns ------------------------------------------------------------------------------------------


def _boolean(permissions: Permissions, need: Grant) -> list[Shortfall]:
    """A need without patterns is within any grant of its type that is not empty and not denied away."""
    shown = ",".join(need.operations)
    if need.operations == ("loopback",):
        granted = permissions.decide("network", "loopback", "", now=0).allowed
    else:
        granted = any(
            _left(permissions, grant, operation)
            for grant in permissions.grants
            if grant.type == need.type and not grant.policy.startswith(BASE_PREFIX) and not_empty(grant)
            for operation in grant.operations
        )
    if granted:
        return []
    return [Shortfall(need, shown, "", need.type, f"{need.type} is declared, but nothing of it is granted")]


def _left(permissions: Permissions, grant: Grant, operation: str) -> bool:
    """Whether anything of the grant is left after the denies."""
    question = Question(permissions, grant, operation, None)
    if question.whole_deny:
        return False
    if not grant.patterns:
        return KINDS[grant.type].pattern == PROGRAM or operation == "loopback"
    left = _LEFT[KINDS[grant.type].pattern]
    try:
        return any(left(question, pattern) for pattern, _ in parsed([grant], question.scope))
    except TooComplexError:
        return False


def _command_left(question: Question, pattern: Any) -> bool:
    return not any(deny.every or (deny.tokens == pattern.tokens) for deny, _ in question.denies)


def _url_left(question: Question, pattern: Any) -> bool:
    return not any(deny.covers(pattern) for deny, _ in question.denies)


_LEFT: dict[str, Left] = {
    PATH: path_left,
    HOST: host_left,
    NAME: name_left,
    URL: _url_left,
    COMMAND: _command_left,
    PROGRAM: _command_left,
}


def _bears(rule: Grant, need: Grant, operation: str) -> bool:
    return rule.type == need.type and operation in rule.operations


def _without_shipped(permissions: Permissions) -> Permissions:
    """The same without the denies of the base profile and of the shipped danger list, which bind but are no policy."""
    denies = [deny for deny in permissions.denies if not deny.policy.startswith((BASE_PREFIX, DANGER_PREFIX))]
    return Permissions(permissions.grants, denies, permissions.limits, permissions.scope)
