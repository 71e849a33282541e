"""Running a compiled program: the names that generated code may use, modules, and the result.

Generated code runs with an empty `__builtins__`; the table `_namespace` is all that it can name. Library modules are
imported when a program imports them, user modules run once, at their first import.
"""

from __future__ import annotations

import math
from types import FunctionType

from launcher.language.catalogue import HOST_FUNCTIONS, LIBRARY, LIST_METHODS, MATH_FUNCTIONS, STRING_METHODS
from launcher.runtime import access, errors
from launcher.runtime.builtins_ml import BUILTINS
from launcher.runtime.library import Function, Module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from launcher.language.compiled import Program, Unit

_STDLIB = "launcher.runtime.stdlib."
# `network` is what the first documents call `http`.
_FILES = {"network": "http"}


class Nothing:
    """What a program without a `result` ends with."""

    def __repr__(self) -> str:
        return "NOTHING"


NOTHING = Nothing()


class UserModule(Module):
    """A user module: its members are the current values of its top-level variables."""

    __slots__ = ()

    def member(self, name: str) -> Any:
        try:
            return self.members[name]()
        except NameError:
            raise KeyError(name) from None


class Package(Module):
    """The `a` of `import a.b;`: it has the modules that were imported below it."""

    __slots__ = ()


def undefined(name: str) -> Any:
    """A call of a name that nobody defines. Those of the host's functions are refused as such."""
    if name in HOST_FUNCTIONS:
        raise errors.SecurityError(f"Access to function {name!r} is not allowed")
    raise NameError(f"name {name!r} is not defined")


class Machine:
    """One program with its runtime state."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.modules: dict[str, Module] = {}
        own: dict[str, tuple[Callable[..., Any], str]] = {
            "modules": (self.loaded, "the names of the modules loaded so far"),
            "available_modules": (self.available, "the names of all modules"),
            "has_module": (self.has, "whether a module exists"),
            "module_info": (self.info, "what is known of a module"),
        }
        self.builtins = {**BUILTINS, **{name: Function(name, call, (), doc) for name, (call, doc) in own.items()}}
        self.builtin = Module("builtin", self.builtins, "the builtin functions as a module")
        self.modules["builtin"] = self.builtin

    def run(self) -> Any:
        """Run the program to its end; returns the value of `result`, or NOTHING. Errors come out as they are."""
        return self._execute(self.program.main, "")

    def units(self) -> dict[str, Unit]:
        """The compiled sources by name, for stack traces."""
        units = [self.program.main, *self.program.modules.values()]
        return {unit.name: unit for unit in units}

    def session(self, echo: Callable[[Any], None]) -> dict[str, Any]:
        """The namespace of an interactive session, whose variables live in it."""
        return {**self._namespace(self.program.main, ""), "echo": echo}

    def _execute(self, unit: Unit, full: str) -> Any:
        return FunctionType(unit.code, self._namespace(unit, full))()

    def _namespace(self, unit: Unit, full: str) -> dict[str, Any]:
        def load(path: str, whole: Any) -> Module:
            return self._load(unit.modules.get(path, path), path, whole)

        def export(getters: dict[str, Callable[[], Any]]) -> None:
            self.modules[full] = UserModule(full, getters, "a user module")

        return {
            **_COMMON,
            **{f"b_{name}": function.call for name, function in self.builtins.items()},
            **{f"f_{name}": function for name, function in self.builtins.items()},
            "builtin": self.builtin,
            "load": load,
            "export": export,
        }

    # Modules.

    def _load(self, full: str, path: str, whole: Any) -> Module:
        module = self.modules.get(full) or self._first(full)
        return module if whole or "." not in path else self._package(path, module)

    def _first(self, full: str) -> Module:
        unit = self.program.modules.get(full)
        if unit is None:
            self.modules[full] = library(full)
        else:
            self._execute(unit, full)
        return self.modules[full]

    def _package(self, path: str, module: Module) -> Module:
        """The chain of packages for a dotted import, with `module` at its end; returns the first."""
        head, *names = path.split(".")
        root = self.modules.get(head)
        members = dict(root.members) if type(root) is Package else {}
        package = Package(head, _below(members, names, module, head), "a package")
        if root is None or type(root) is Package:
            self.modules[head] = package
        return package

    def loaded(self) -> list[str]:
        return sorted(self.modules)

    def available(self, kind: Any = None) -> list[str]:
        user = sorted(self.program.modules)
        return user if kind == "user" else sorted({*LIBRARY, "builtin", *(() if kind else user)})

    def has(self, name: Any) -> bool:
        return name in self.available()

    def info(self, name: Any) -> Any:
        if not self.has(name):
            return None
        user = name in self.program.modules
        module = self.modules.get(name) or (None if user else library(name))
        return {
            "name": name,
            "type": "builtin" if name == "builtin" else "user" if user else "library",
            "file_path": self.program.modules[name].name if user else None,
            "loaded": name in self.modules,
            "reload_count": 0,
            "functions": access.attribute_names(module) if module else [],
        }


def _below(members: dict[str, Any], names: list[str], module: Module, path: str) -> dict[str, Any]:
    name = names[0]
    if len(names) == 1:
        return {**members, name: module}
    inner = members.get(name)
    known = dict(inner.members) if type(inner) is Package else {}
    full = f"{path}.{name}"
    return {**members, name: Package(full, _below(known, names[1:], module, full), "a package")}


def library(name: str) -> Module:
    """The library module `name`, which is in the catalogue."""
    from importlib import import_module

    module = import_module(_STDLIB + _FILES.get(name, name)).MODULE
    assert isinstance(module, Module)  # noqa: S101  the library is ours
    return module


# What generated code may name beside builtins: the host functions whose meaning is ML's, and the checked paths.
_COMMON: dict[str, Any] = {
    "__builtins__": {},
    "Exception": Exception,
    "NameError": NameError,
    "TypeError": TypeError,
    "MISS": (KeyError, TypeError, ValueError, AttributeError),
    "NOTHING": NOTHING,
    "UserError": errors.UserError,
    "abs": abs,
    "array": access.array,
    "bin": bin,
    "bool": bool,
    "caught": errors.caught,
    "chr": chr,
    "dict": dict,
    "float": float,
    "function_of": access.function_of,
    "hex": hex,
    "int": int,
    "len": len,
    "list": list,
    "max": max,
    "member": access.member,
    "method": access.method,
    "min": min,
    "oct": oct,
    "ord": ord,
    "range": range,
    "set_entry": access.set_entry,
    "str": str,
    "thrown": errors.thrown,
    "type": type,
    "undefined": undefined,
    **{f"str_{name}": getattr(str, name) for name in STRING_METHODS},
    **{f"math_{name}": getattr(math, name) for name in MATH_FUNCTIONS},
    **{f"list_{name}": getattr(list, name) for name in LIST_METHODS},
}
