"""ML `keychain`: secrets by name. The value of an entry is in the sandbox only when its name was granted."""

from __future__ import annotations

from launcher.runtime.context import current
from launcher.runtime.stdlib._declare import module


def _get(name: str) -> str:
    if not isinstance(name, str):
        raise TypeError(f"a keychain entry's name must be a string, not {type(name).__name__}")
    context = current()
    context.require("keychain", "read", name)
    value = context.job.secret(name)
    if value is None:
        raise KeyError(name)
    return value


def _has(name: str) -> bool:
    """Whether `get` would give a value; a name that was not granted is not there."""
    context = current()
    return context.job.secret(name) is not None and context.allows("keychain", "read", name)


def _list() -> list[str]:
    context = current()
    return [name for name in context.job.secret_names() if context.allows("keychain", "read", name)]


MODULE = module(
    "keychain",
    "Secrets that the administrator granted by name.",
    (
        ("get", _get, "keychain.read", "get(name): the secret"),
        ("has", _has, "keychain.read", "has(name)"),
        ("list names", _list, "keychain.read", "list(): the names that may be read, sorted"),
    ),
)
