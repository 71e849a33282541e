"""How a library module is written down: one row a function, with its capabilities and help."""

from __future__ import annotations

from types import FunctionType

from launcher.runtime.library import Function, Module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    # ML names (synonyms separated by blanks), the code, the capabilities it needs (blanks between), one line of help
    Row = tuple[str, Callable[..., object], str, str]


def module(name: str, doc: str, rows: Iterable[Row], constants: Mapping[str, object] | None = None) -> Module:
    """The module `name` with the functions of `rows` and `constants` (ML values) as its members."""
    members: dict[str, object] = dict(constants or {})
    for names, code, capabilities, text in rows:
        for member in names.split():
            members[member] = Function(f"{name}.{member}", code, tuple(capabilities.split()), text)
        _name_for_errors(code, names.split()[0])
    return Module(name, members, doc)


def _name_for_errors(code: Callable[..., object], name: str) -> None:
    """Python builds `sqrt() takes 1 positional argument but 2 were given` from the qualified name: give it ML's."""
    if isinstance(code, FunctionType):
        code.__name__ = code.__qualname__ = name


def closure(name: str, code: Callable[..., object], doc: str) -> Function:
    """A function value that a library function returns (`compose`, `curry`): it needs no capability of its own."""
    _name_for_errors(code, name.rpartition(".")[2])
    return Function(name, code, (), doc)
