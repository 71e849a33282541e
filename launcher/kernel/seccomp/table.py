"""A seccomp table (profiles/seccomp/NAME.yaml) as values. Pure: text in, rows out; every name is checked here.

The notation is explained at the head of the table itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import yaml

from launcher.errors import ConfigurationError
from launcher.kernel.seccomp.constants import CONSTANTS, ERRNOS
from launcher.kernel.seccomp.cover import cover
from launcher.kernel.seccomp.variant import VARIANT_WORDS

SCHEMA = "mlsandbox.seccomp/1"
VERDICTS = ("allow", "refuse", "notify", "trace", *ERRNOS)
POINTER = "pointer"
_RULING = ("verdict", "pointer", "only", "never")
UINT32 = 0xFFFFFFFF
UINT64 = 0xFFFFFFFFFFFFFFFF

Match = tuple[int, int]
"""(mask, value): an argument matches if `argument & mask == value`."""
Condition = dict[str, tuple[Match, ...]]
"""Role -> matches of which one must hold. Every role must hold."""


@dataclass(frozen=True)
class Role:
    """Where a call keeps what a role names: `position` 0 to 5, or the constant `value` that the call implies."""

    position: int | None = None
    value: int | None = None


@dataclass(frozen=True)
class Ruling:
    """How a row decides: for all its calls alike. `only` is None where no condition limits the allowing."""

    verdict: str = "allow"
    pointer: str = "ENOSYS"
    only: tuple[Condition, ...] | None = None
    never: tuple[Condition, ...] = ()


@dataclass(frozen=True)
class Row:
    group: str
    operation: str
    why: str
    calls: dict[str, dict[str, Role | None]]
    ruling: Ruling
    variants: tuple[tuple[frozenset[str], Ruling], ...] = ()

    def ruling_in(self, words: frozenset[str]) -> Ruling:
        """The ruling in a variant; the last line that applies wins."""
        chosen = self.ruling
        for needed, ruling in self.variants:
            chosen = ruling if needed <= words else chosen
        return chosen


@dataclass(frozen=True)
class Table:
    rows: tuple[Row, ...]
    additions: dict[str, str] = field(default_factory=dict)
    conflicts: tuple[frozenset[str], ...] = ()

    def check(self, words: frozenset[str]) -> None:
        """Raises ConfigurationError for an addition that does not exist, or a variant that contradicts itself."""
        for word in sorted(words):
            if word.startswith("+") and word[1:] not in self.additions:
                known = ", ".join(f"+{name}" for name in self.additions)
                raise ConfigurationError(f"unknown system call addition {word!r}", hint=f"one of {known}")
        for conflict in self.conflicts:
            if conflict <= words:
                raise ConfigurationError(
                    f"system call settings contradict each other: {' and '.join(sorted(conflict))}"
                )


def parse(text: bytes, place: str) -> Table:
    """The table in `text`. Raises ConfigurationError with `place` for anything that is not understood."""
    try:
        data = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506  both are safe loaders
        return _table(data)
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigurationError(f"this system call table cannot be used: {error}", place=place) from error


def _table(data: dict[str, Any]) -> Table:
    _only_keys("the table", data, {"schema", "additions", "conflicts", "groups"})
    if data["schema"] != SCHEMA:
        raise ValueError(f"schema is {data['schema']!r}, not {SCHEMA!r}")
    words = VARIANT_WORDS | {f"+{name}" for name in data.get("additions", {})}
    rows = tuple(_row(group["group"], row, words) for group in data["groups"] for row in group["rows"])
    _once([name for row in rows for name in row.calls], "system call")
    _once([row.operation for row in rows], "operation")
    conflicts = tuple(_words(conflict, words) for conflict in data.get("conflicts", []))
    return Table(rows, dict(data.get("additions", {})), conflicts)


def _only_keys(what: str, data: dict[str, Any], known: set[str]) -> None:
    unknown = sorted(set(data) - known)
    if unknown:
        raise ValueError(f"{what} has an unknown key {unknown[0]!r}")


def _once(names: list[str], what: str) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"two rows decide the {what} {twice[0]!r}")


def _words(items: list[str], known: frozenset[str]) -> frozenset[str]:
    for word in items:
        if word not in known:
            raise ValueError(f"unknown variant {word!r}")
    return frozenset(items)


def _row(group: str, data: dict[str, Any], words: frozenset[str]) -> Row:
    operation = data["op"]
    _only_keys(operation, data, {"op", "why", "calls", "in", *_RULING})
    listed = data["calls"]
    calls = {name: _roles(listed[name]) if isinstance(listed, dict) else {} for name in listed}
    plain: dict[str, Any] = {key: data[key] for key in _RULING if key in data}
    variants = tuple(
        (_words(key.split(), words), _ruling(operation, {**plain, **changes}, calls))
        for key, changes in data.get("in", {}).items()
    )
    return Row(group, operation, data.get("why", ""), calls, _ruling(operation, plain, calls), variants)


def _roles(data: dict[str, int | str]) -> dict[str, Role | None]:
    return {name: _role(where) for name, where in data.items()}


def _role(where: int | str) -> Role | None:
    if where == POINTER:
        return None
    if isinstance(where, int) and 0 <= where <= 5:
        return Role(position=where)
    if isinstance(where, str) and where.startswith("="):
        return Role(value=_number(where[1:]))
    raise ValueError(f"an argument is 0 to 5, =VALUE or pointer, not {where!r}")


def _ruling(operation: str, data: dict[str, Any], calls: dict[str, dict[str, Role | None]]) -> Ruling:
    _only_keys(operation, data, {*_RULING})
    for key in ("verdict", "pointer"):
        if data.get(key, "allow") not in VERDICTS:
            raise ValueError(f"{operation}: unknown {key} {data[key]!r}")
    only = tuple(_condition(operation, item, calls) for item in data.get("only", ())) or None
    never = tuple(_condition(operation, item, calls) for item in data.get("never", ()))
    return Ruling(data.get("verdict", "allow"), data.get("pointer", "ENOSYS"), only, never)


def _condition(operation: str, data: dict[str, Any], calls: dict[str, dict[str, Role | None]]) -> Condition:
    for role in data:
        for name, roles in calls.items():
            if role not in roles:
                raise ValueError(f"{operation}: {name} has no argument {role!r}")
    return {role: _matches(term) for role, term in data.items()}


def _matches(term: object) -> tuple[Match, ...]:
    if isinstance(term, list):
        return cover({_number(name) for name in term}, UINT32)
    if isinstance(term, dict):
        _only_keys("a comparison", term, {"mask", "is"})
        return cover({_number(name) for name in term["is"]}, _number(term["mask"]))
    if term == "null":
        return ((UINT64, 0),)
    word, _, bits = str(term).partition(" ")
    if word not in ("has", "lacks") or not bits:
        raise ValueError(f"a condition is `has`, `lacks`, a list, `null` or a mask, not {term!r}")
    mask = _number(bits)
    return ((mask, mask if word == "has" else 0),)


def _number(names: int | str) -> int:
    if isinstance(names, int):
        return names
    value = 0
    for name in names.split("|"):
        if name not in CONSTANTS and not name.isdecimal():
            raise ValueError(f"unknown constant {name!r}")
        value |= CONSTANTS[name] if name in CONSTANTS else int(name)
    return value
