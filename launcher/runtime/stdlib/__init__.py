"""The ML standard library. A module is loaded when a program imports it: each job pays only for what it names."""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from launcher.runtime.library import Module

# ML name -> Python module below this package. `network` is `http` under the name that the seeds use.
MODULES: dict[str, str] = {
    "args": "args",
    "collections": "collections",
    "console": "console",
    "crypto": "crypto",
    "csv": "csv",
    "database": "database",
    "datetime": "datetime",
    "env": "env",
    "file": "file",
    "functional": "functional",
    "http": "http",
    "json": "json",
    "keychain": "keychain",
    "log": "log",
    "math": "math",
    "network": "http",
    "path": "path",
    "process": "process",
    "random": "random",
    "regex": "regex",
    "string": "string",
}

_loaded: dict[str, Module] = {}


def names() -> list[str]:
    """The names of all library modules, sorted."""
    return sorted(MODULES)


def loaded() -> list[str]:
    """The names of the library modules that the program has imported so far, sorted."""
    return sorted(_loaded)


def load(name: str) -> Module | None:
    """The library module called `name`, or None when there is none (a user module, then)."""
    if name not in MODULES:
        return None
    if name not in _loaded:
        _loaded[name] = import_module(f"{__name__}.{MODULES[name]}").MODULE
    return _loaded[name]
