"""Kinds of values, their text forms, and conversions between them."""

from __future__ import annotations

import sys
from types import FunctionType

from launcher.runtime.errors import Caught
from launcher.runtime.library import Function, Object

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

_KINDS: dict[type, str] = {
    bool: "boolean",
    int: "number",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
    FunctionType: "function",
    Function: "function",
}


def typeof(x: Any) -> str:
    """The kind of a value, section 6.1 of the reference."""
    kind = _KINDS.get(type(x))
    if kind is None:
        kind = (x.kind or type(x).__name__) if isinstance(x, Object) else "unknown"
    return kind


def text(x: Any) -> str:
    """`str(x)`: booleans in lower case at the top level only, the rest as the host has it."""
    if x is True:
        return "true"
    return "false" if x is False else str(x)


def quoted(x: Any) -> str:
    """`repr(x)`."""
    if x is True:
        return "true"
    return "false" if x is False else repr(x)


def to_int(x: Any) -> int:
    """`int(x)`: texts go through float first, as in the first implementation."""
    if type(x) is str:
        try:
            number = float(x)
        except ValueError:
            raise ValueError(f"invalid literal for int() with base 10: {x!r}") from None
        return int(number)
    return int(x)


def to_float(x: Any) -> float:
    """`float(x)`."""
    return float(x)


def to_bool(x: Any) -> bool:
    """`bool(x)`."""
    return bool(x)


def length(x: Any) -> int:
    """`len(x)`: 0 for whatever has no length."""
    try:
        return len(x)
    except TypeError:
        return 0


def rounded(x: Any, digits: int | None = None) -> Any:
    """`round(x)`: half to even; a float stays a float."""
    if type(x) is float:
        return round(x, 0 if digits is None else digits)
    return round(x) if digits is None else round(x, digits)


def total(values: Iterable[Any], start: Any = 0) -> Any:
    """`sum(a)`: floats are summed with compensation, as CPython has it since 3.12."""
    if sys.version_info >= (3, 12) or type(values) in _REPEATABLE:
        result = sum(values, start)
        if sys.version_info >= (3, 12) or type(result) is not float:
            return result  # without floats every host adds alike
    return compensated(values, start)


_REPEATABLE = frozenset((list, tuple))


def compensated(values: Iterable[Any], start: Any = 0) -> Any:
    """The sum as CPython 3.12 makes it: machine integers up to the first float, then floats by Neumaier's method (and
    integers without it), and from the first other value on by plain addition.
    """
    result, rest = start, iter(values)
    if _machine(result):
        for x in rest:
            fits = _machine(x) and _machine(result + x)
            result = result + x
            if not fits:
                break
    if type(result) is float:
        result = _floats(result, rest)
    for x in rest:
        result = result + x
    return result


def _floats(result: float, rest: Iterator[Any]) -> Any:
    compensation = 0.0
    for x in rest:
        if type(x) is float:
            summed = result + x
            compensation += (result - summed) + x if abs(result) >= abs(x) else (x - summed) + result
            result = summed
        elif _machine(x):
            result += float(x)
        else:
            return _with(result, compensation) + x
    return _with(result, compensation)


def _machine(x: Any) -> bool:
    """Whether the host adds a value as a C long."""
    return type(x) in _INTEGERS and -(2**63) <= x < 2**63


_INTEGERS = frozenset((int, bool))


def _with(result: float, compensation: float) -> float:
    return result + compensation if compensation and _finite(compensation) else result


def _finite(number: float) -> bool:
    return number - number == 0.0


def keys(o: Any) -> list[Any]:
    """`keys(o)`."""
    return list(_entries(o, "keys"))


def values(o: Any) -> list[Any]:
    """`values(o)`."""
    return list(_entries(o, "values").values())


def _entries(o: Any, function: str) -> dict[Any, Any]:
    if type(o) is dict:
        return o
    if type(o) is Caught and type(o.value) is dict:
        return o.value
    raise TypeError(f"{function}() needs an object, not {typeof(o)}")
