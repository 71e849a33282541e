"""ML `env`: environment variables. A name is readable when it was granted, or when the program set it itself."""

from __future__ import annotations

import os

from launcher.runtime.context import current
from launcher.runtime.stdlib._declare import module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

TRUE = frozenset(("true", "1", "yes", "on"))

# What the program set: its own, so it may read it back. Programs that it starts get it too.
OWN: set[str] = set()


def _name(k: object) -> str:
    if not isinstance(k, str):
        raise TypeError(f"a variable's name must be a string, not {type(k).__name__}")
    return k


def _value(k: str) -> str | None:
    if _name(k) not in OWN:
        current().require("env", "read", k)
    return os.environ.get(k)


def _get(k: str, default: Any = None) -> Any:
    value = _value(k)
    return default if value is None else value


def _require(k: str) -> str:
    value = _value(k)
    if value is None:
        raise RuntimeError(f"Required environment variable not set: {k}")
    return value


def _has(k: str) -> bool:
    return _value(k) is not None


def _all() -> dict[str, str]:
    """Those that may be read: the others are not there."""
    context = current()
    return {k: v for k, v in os.environ.items() if k in OWN or context.allows("env", "read", k)}


def _get_int(k: str, default: Any = 0) -> Any:
    value = _value(k)
    try:
        return default if value is None else int(value)
    except ValueError:
        return default


def _get_float(k: str, default: Any = 0.0) -> Any:
    value = _value(k)
    try:
        return default if value is None else float(value)
    except ValueError:
        return default


def _get_bool(k: str, default: Any = False) -> Any:
    value = _value(k)
    return default if value is None else value.lower() in TRUE


def _set(k: str, v: object) -> None:
    os.environ[_name(k)] = v if isinstance(v, str) else str(v)
    OWN.add(k)


def _delete(k: str) -> None:
    """Takes a variable away from this program and what it starts."""
    os.environ.pop(_name(k), None)
    OWN.discard(k)


_R = "env.read"
_W = "env.write"

MODULE = module(
    "env",
    "Environment variables.",
    (
        ("get", _get, _R, "get(k[, default]): null when it is not set"),
        ("require", _require, _R, "require(k): raises when it is not set"),
        ("has", _has, _R, "has(k)"),
        ("all", _all, _R, "all(): an object of those that may be read"),
        ("get_int", _get_int, _R, "get_int(k[, default = 0])"),
        ("get_bool", _get_bool, _R, "get_bool(k[, default = false]): true, 1, yes and on"),
        ("get_float", _get_float, _R, "get_float(k[, default = 0.0])"),
        ("set", _set, _W, "set(k, v): for this program and what it starts"),
        ("delete", _delete, _W, "delete(k): for this program and what it starts"),
    ),
)
