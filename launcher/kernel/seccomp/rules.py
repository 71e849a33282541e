"""Rows and a variant -> what is decided for each system call. Pure; knows no numbers of calls."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from launcher.kernel.seccomp.table import Condition, Role, Row, Ruling, Table

Comparison = tuple[int, int, int]
"""(argument, mask, value): holds if `arguments[argument] & mask == value`."""
Clause = tuple[Comparison, ...]
"""All comparisons hold. The empty clause always holds."""


@dataclass(frozen=True)
class CallRules:
    """`verdict` answers the call, except that a clause of `never` refuses it first, and that with `only` (not None)
    it is refused where none of those clauses holds.
    """

    name: str
    verdict: str
    never: tuple[Clause, ...] = ()
    only: tuple[Clause, ...] | None = None


def rules(table: Table, words: frozenset[str]) -> tuple[CallRules, ...]:
    """The rules of every call of `table` in the variant `words`. Raises ConfigurationError for a bad variant."""
    table.check(words)
    return tuple(_call(row.ruling_in(words), row, name) for row in table.rows for name in row.calls)


def _call(ruling: Ruling, row: Row, name: str) -> CallRules:
    roles = row.calls[name]
    known = {role: where for role, where in roles.items() if where is not None}
    if len(known) < len(roles):
        return CallRules(name, ruling.pointer)
    never = _clauses(ruling.never, known)
    if ruling.verdict == "refuse" or () in never:
        return CallRules(name, "refuse")
    if ruling.only is None or ruling.verdict != "allow":
        return CallRules(name, ruling.verdict, never)
    only = _clauses(ruling.only, known)
    if not only:
        return CallRules(name, "refuse")
    return CallRules(name, ruling.verdict, never, None if () in only else only)


def _clauses(conditions: tuple[Condition, ...], roles: dict[str, Role]) -> tuple[Clause, ...]:
    return tuple(clause for condition in conditions for clause in _alternatives(condition, roles))


def _alternatives(condition: Condition, roles: dict[str, Role]) -> list[Clause]:
    """The clauses of which one must hold; none at all if a value that the call implies rules the condition out."""
    choices: list[list[Comparison]] = []
    for name, matches in condition.items():
        role = roles[name]
        if role.position is not None:
            choices.append([(role.position, mask, value) for mask, value in matches])
        elif not any((role.value or 0) & mask == value for mask, value in matches):
            return []
    return [tuple(sorted(clause)) for clause in product(*choices)]
