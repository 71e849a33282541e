"""The constraints of tokens as a lattice: each has its form, how two of them meet, and what it refuses at use.

Absent inherits, empty allows nothing, an unknown name is refused when the token is made: a constraint that is not
understood must not become a permission.
"""

from __future__ import annotations

import time
from math import isnan

from launcher.runtime.errors import CapabilityError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any


class TokenError(CapabilityError):
    """A token that may not be made, handed on or used. `code` is a stable word (`operation_not_permitted`, ...)."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.code = code


def refusal(code: str, message: str, word: str, words: Iterable[str]) -> TokenError:
    """A TokenError with the nearest valid word."""
    from launcher.capability.suggest import suggest

    nearest = suggest(word, list(words))
    return TokenError(code, f"{message}; did you mean {nearest!r}?" if nearest else message)


# --- forms: each gives the value as it is kept, or raises ValueError ---------------------------------------


def _count(value: Any) -> Any:
    if type(value) is not int or value < 0:
        raise ValueError("a whole number, 0 or more")
    return value


def _delegations(value: Any) -> Any:
    return value if value == "unlimited" else _count(value)


def _moment(value: Any) -> Any:
    if type(value) not in {int, float} or isnan(value):
        raise ValueError("seconds since the epoch")
    return float(value)


def _words(value: Any) -> Any:
    if isinstance(value, str) or not all(type(word) is str for word in value):
        raise ValueError("a list of strings")
    return tuple(sorted(set(value)))


def _numbers(value: Any) -> Any:
    return tuple(sorted({_count(number) for number in value}))


# The periods in which a rate may be written: `100/m`, `5/10s`.
PERIODS = {
    "s": 1,
    "sec": 1,
    "second": 1,
    "m": 60,
    "min": 60,
    "minute": 60,
    "h": 3600,
    "hour": 3600,
    "d": 86400,
    "day": 86400,
}


def rate(value: Any) -> tuple[int, float]:
    """A rate as (uses, seconds): `{count, seconds}`, a pair, a number (a second), `100/m`, `5/10s`. Or ValueError."""
    if isinstance(value, str):
        count, _, period = value.replace(" ", "").partition("/")
        digits = len(period) - len(period.lstrip("0123456789"))
        unit = period[digits:] or "s"
        if not count.isdecimal() or unit not in PERIODS:
            raise ValueError("a rate such as 100/m")
        return int(count), float(int(period[:digits] or 1) * PERIODS[unit])
    if isinstance(value, dict):  # as policies keep it
        return _count(value["count"]), _moment(value["seconds"])
    if isinstance(value, (list, tuple)) and len(value) == 2:
        return _count(value[0]), _moment(value[1])
    return _count(value), 1.0


# --- how the constraint of a parent and of a child meet ----------------------------------------------------


def _least(parent: Any, child: Any) -> Any:
    if parent == "unlimited" or child == "unlimited":
        return child if parent == "unlimited" else parent
    return min(parent, child)


def _most(parent: Any, child: Any) -> Any:
    return max(parent, child)


def _both(parent: Any, child: Any) -> Any:
    common = tuple(sorted(set(parent) & set(child)))
    if not common:
        raise TokenError("constraint_conflict", f"nothing is left of {list(parent)} and {list(child)}")
    return common


def _either(parent: Any, child: Any) -> Any:
    return tuple(sorted(set(parent) | set(child)))


def _slower(parent: Any, child: Any) -> Any:
    return min(parent, child, key=lambda pair: pair[0] / max(pair[1], 1e-9))


# Name -> its form, and how two of them meet.
TABLE: dict[str, tuple[Callable[[Any], Any], Callable[[Any, Any], Any]]] = {
    "expires_at": (_moment, _least),
    "not_before": (_moment, _most),
    "max_uses": (_count, _least),
    "max_delegations": (_delegations, _least),
    "max_file_size": (_count, _least),
    "max_memory": (_count, _least),
    "max_cpu_time": (_moment, _least),
    "max_rows": (_count, _least),
    "rate": (rate, _slower),
    "ports": (_numbers, _both),
    "methods": (_words, _both),
    "tables": (_words, _both),
    "allowed_extensions": (_words, _both),
    "denied_patterns": (_words, _either),
}


def parsed(constraints: dict[str, Any]) -> dict[str, Any]:
    """The constraints as they are kept. Raises TokenError: `unknown_constraint`, `invalid_NAME_constraint`."""
    kept: dict[str, Any] = {}
    for name, value in constraints.items():
        if name not in TABLE:
            raise refusal("unknown_constraint", f"no constraint {name!r}", name, TABLE)
        try:
            kept[name] = TABLE[name][0](value)
        except (ValueError, TypeError) as error:
            raise TokenError(f"invalid_{name}_constraint", f"{name} must be {error}") from None
    return kept


def meet(parent: dict[str, Any], child: dict[str, Any]) -> dict[str, Any]:
    """What both allow; what only one names is taken over. Raises TokenError when nothing is left."""
    together = {**parent, **child}
    for name in parent.keys() & child.keys():
        together[name] = TABLE[name][1](parent[name], child[name])
    return together


# --- at use -------------------------------------------------------------------------------------------------


def met(constraints: dict[str, Any], resource: Any, context: dict[str, Any], cpu_at_issue: float) -> None:
    """Raises TokenError for the first constraint that this use does not meet."""
    for name, limit in constraints.items():
        test = _TESTS.get(name)
        if test is not None:
            test(limit, resource, context, cpu_at_issue)


def _not_expired(limit: float, *_: Any) -> None:
    if time.time() >= limit:
        raise TokenError("capability_expired", "the token has expired")


def _begun(limit: float, *_: Any) -> None:
    if time.time() < limit:
        raise TokenError("outside_time_window", "the token is not valid yet")


def _small(limit: int, _resource: Any, context: dict[str, Any], _cpu: float) -> None:
    size = context.get("size")
    if size is not None and size > limit:
        raise TokenError("size_exceeded", f"{size} bytes are more than the {limit} that the token allows")


def _within_memory(limit: int, *_: Any) -> None:
    from resource import RUSAGE_SELF, getrusage

    peak = getrusage(RUSAGE_SELF).ru_maxrss * 1024  # getrusage(2): kilobytes
    if peak > limit:
        raise TokenError("memory_exceeded", f"the process has used {peak} bytes, the token is for {limit}")


def _within_cpu(limit: float, _resource: Any, _context: dict[str, Any], cpu_at_issue: float) -> None:
    if time.process_time() - cpu_at_issue > limit:
        raise TokenError("cpu_time_exceeded", f"the token is for {limit:g} seconds of processor time")


def _extension(allowed: tuple[str, ...], resource: Any, *_: Any) -> None:
    name = str(resource).rpartition("/")[2]
    extension = "." + name.rpartition(".")[2] if "." in name.lstrip(".") else ""
    if extension not in allowed:
        raise TokenError(
            "extension_not_allowed", f"the token is for {' '.join(allowed)}, not {extension or 'no extension'}"
        )


def _table(allowed: tuple[str, ...], _resource: Any, context: dict[str, Any], _cpu: float) -> None:
    for table in context.get("tables", ()):
        if table not in allowed:
            raise TokenError("table_not_permitted", f"the token is for {' '.join(allowed)}, not {table}")


_TESTS: dict[str, Callable[..., None]] = {
    "expires_at": _not_expired,
    "not_before": _begun,
    "max_file_size": _small,
    "max_memory": _within_memory,
    "max_cpu_time": _within_cpu,
    "allowed_extensions": _extension,
    "tables": _table,
}
