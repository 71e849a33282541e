"""The builtin functions: what they do, and the table that the generated code and `available_modules` use."""

from __future__ import annotations

import sys
from types import FunctionType

from launcher.runtime import access, values
from launcher.runtime.library import Function, Module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def print_(*arguments: Any) -> None:
    """Writes the text forms joined by a blank, and a newline."""
    if len(arguments) == 1 and type(arguments[0]) is str:
        sys.stdout.write(arguments[0] + "\n")
        return
    sys.stdout.write(" ".join([values.text(argument) for argument in arguments]) + "\n")


def input_(prompt: Any = "") -> str:
    if prompt != "":
        sys.stdout.write(values.text(prompt))
    sys.stdout.flush()
    line = sys.stdin.readline()
    if not line:
        raise EOFError("EOF when reading a line")
    return line.removesuffix("\n")


def isinstance_(x: Any, name: Any) -> bool:
    return bool(values.typeof(x) == name)


def range_(*bounds: Any) -> list[int]:
    return list(range(*bounds))


def enumerate_(a: Any, start: int = 0) -> list[Any]:
    return list(enumerate(a, start))


def zip_(*arrays: Any) -> list[Any]:
    return list(zip(*arrays, strict=False))


def sorted_(a: Any, reverse: Any = False) -> list[Any]:
    return sorted(a, reverse=bool(reverse))


def reversed_(a: Any) -> list[Any]:
    return list(a)[::-1]


def min_(*arguments: Any) -> Any:
    return _extreme(min, arguments)


def max_(*arguments: Any) -> Any:
    return _extreme(max, arguments)


def _extreme(choose: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    if len(arguments) > 1:
        return choose(arguments)
    if not arguments:
        return None
    only = arguments[0]
    if type(only) in {list, tuple, dict}:
        return choose(only) if only else None
    return only


def format_(x: Any, spec: str) -> str:
    return format(x, spec)


def iter_(x: Any) -> Any:
    return iter(x)


def next_(iterator: Any, *default: Any) -> Any:
    if len(default) > 1:
        raise TypeError(f"next expected at most 2 arguments, got {1 + len(default)}")
    try:
        return next(iterator)
    except StopIteration:
        if default:
            return default[0]
        raise RuntimeError("Iterator exhausted - use default parameter to avoid error") from None


def call_(function: Any, *arguments: Any) -> Any:
    return function(*arguments)


def help_(x: Any) -> str:
    """A description, and the capabilities that a function asks for."""
    if type(x) is Function:
        needed = f"Requires: {', '.join(x.capabilities)}" if x.capabilities else "Capabilities: None required"
        return f"{x.name}: {x.doc}\n{needed}"
    if isinstance(x, Module):
        return f"module {x.name}: {x.doc}\nCapabilities: None required"
    if type(x) is FunctionType:
        return f"function {x.__name__}\nCapabilities: None required"
    return f"a value of kind {values.typeof(x)}\nCapabilities: None required"


def required_capabilities(f: Any) -> list[str]:
    return list(f.capabilities) if type(f) is Function else []


def has_capability(name: Any) -> bool:
    from launcher.runtime.context import current

    return isinstance(name, str) and current().has_capability(name)


def get_capabilities() -> list[str]:
    from launcher.runtime.context import current

    return current().names()


def get_capability_info(name: Any) -> Any:
    from launcher.runtime.context import current

    return current().info(name) if isinstance(name, str) else None


# ML name, function, one line of help. The module functions (`modules` and its kin) are in launcher.runtime.machine.
_ROWS: tuple[tuple[str, Callable[..., Any], str], ...] = (
    ("print", print_, "writes values and a newline"),
    ("input", input_, "reads a line, after a prompt"),
    ("str", values.text, "the text form of a value"),
    ("int", values.to_int, "an integer from a number or a text"),
    ("float", values.to_float, "a float from a number or a text"),
    ("bool", values.to_bool, "the truth of a value"),
    ("typeof", values.typeof, "the kind of a value"),
    ("isinstance", isinstance_, "whether a value is of a kind"),
    ("len", values.length, "the length of a string, array or object"),
    ("range", range_, "an array of integers"),
    ("enumerate", enumerate_, "an array of (index, value)"),
    ("zip", zip_, "an array of tuples, as long as the shortest array"),
    ("sorted", sorted_, "a new sorted array"),
    ("reversed", reversed_, "a new array, back to front"),
    ("keys", values.keys, "the keys of an object"),
    ("values", values.values, "the values of an object"),
    ("min", min_, "the smallest of several values or of an array"),
    ("max", max_, "the largest of several values or of an array"),
    ("sum", values.total, "the sum of an array"),
    ("abs", abs, "the absolute value of a number"),
    ("round", values.rounded, "a number rounded half to even"),
    ("all", all, "whether all are true"),
    ("any", any, "whether any is true"),
    ("callable", access.is_function, "whether a value can be called"),
    ("chr", chr, "the character of a code point"),
    ("ord", ord, "the code point of a character"),
    ("hex", hex, "an integer in hexadecimal"),
    ("bin", bin, "an integer in binary"),
    ("oct", oct, "an integer in octal"),
    ("repr", values.quoted, "the quoted form of a value"),
    ("format", format_, "a value formatted by a specification such as .2f"),
    ("iter", iter_, "an iterator over a value"),
    ("next", next_, "the next value of an iterator"),
    ("call", call_, "calls a function with arguments"),
    ("hasattr", access.has_attribute, "whether a value has a method or property"),
    ("getattr", access.get_attribute, "a method or property by name"),
    ("help", help_, "what a function does and needs"),
    ("methods", access.attribute_names, "the names of a value's methods and properties"),
    ("hasCapability", has_capability, "whether a capability is held"),
    ("getCapabilities", get_capabilities, "the names of the capabilities held"),
    ("getCapabilityInfo", get_capability_info, "what is known of a capability"),
    ("requiredCapabilities", required_capabilities, "the capabilities that a function asks for"),
)


def _named(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The host's arity errors show the qualified name: give it ML's."""
    if isinstance(function, FunctionType):
        function.__qualname__ = name
    return function


BUILTINS: dict[str, Function] = {name: Function(name, _named(name, call), (), doc) for name, call, doc in _ROWS}
