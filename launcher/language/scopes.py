"""Which names belong to which function.

Scope is by function, as in the host language: a name that is assigned anywhere in a function is local to it. The
program's top level is the outermost function.
"""

from __future__ import annotations

from launcher.language import ast

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any


class Scope:
    """The names of one function (or arrow, or the top level)."""

    __slots__ = ("assigned", "captured", "imports", "locals", "outer", "outward", "parameters", "shared")

    def __init__(self, outer: Scope | None, parameters: tuple[ast.Parameter, ...] = ()) -> None:
        self.outer = outer
        self.parameters = frozenset([parameter.name for parameter in parameters])
        self.locals = set(self.parameters)
        # Names that this scope itself declares nonlocal.
        self.outward: set[str] = set()
        # Names of this scope that an inner function declares nonlocal: their value may change during any call.
        self.shared: set[str] = set()
        # Names of this scope that an inner function mentions.
        self.captured: set[str] = set()
        # Names bound by anything but an import, and the paths that imports bind to a name.
        self.assigned = set(self.parameters)
        self.imports: dict[str, set[tuple[str, ...]]] = {}

    def owner(self, name: str) -> Scope | None:
        """The nearest scope, from here outward, to which `name` belongs."""
        scope: Scope | None = self
        while scope is not None and name not in scope.locals:
            scope = scope.outer
        return scope

    def collect(self, body: Iterable[ast.Statement]) -> None:
        """Add every name that the statements of a function assign, without those of functions inside."""
        outward = self.outward
        pending = list(body)
        while pending:
            statement = pending.pop()
            kind = type(statement)
            if kind is ast.Nonlocal:
                outward.update([name.name for name in statement.names])  # type: ignore[attr-defined]
            elif kind is ast.Import:
                self._import(statement)  # type: ignore[arg-type]
            elif kind in _BINDERS:
                self.assigned.update(_BINDERS[kind](statement))
            if kind in _INNER:
                for block in _INNER[kind](statement):
                    pending.extend(block.body)
        self.assigned -= outward - self.parameters
        self.locals |= self.assigned | set(self.imports)

    def _import(self, statement: ast.Import) -> None:
        name = statement.alias or statement.path[0]
        path = statement.path if statement.alias else statement.path[:1]
        self.imports.setdefault(name, set()).add(path)


def _assigned(statement: ast.Assign) -> tuple[str, ...]:
    return (statement.target.name,) if type(statement.target) is ast.Name else ()


def _caught(statement: ast.Try) -> list[str]:
    return [handler.name.name for handler in statement.handlers if handler.name is not None]


_BINDERS: dict[type[ast.Statement], Callable[[Any], Iterable[str]]] = {
    ast.Assign: _assigned,
    ast.Destructure: lambda statement: [name.name for name in statement.names],
    ast.Function: lambda statement: (statement.name,),
    ast.For: lambda statement: (statement.name.name,),
    ast.Try: _caught,
}
_INNER: dict[type[ast.Statement], Callable[[Any], list[ast.Block]]] = {
    ast.If: lambda s: [*[branch.body for branch in s.branches], *([s.otherwise] if s.otherwise else [])],
    ast.While: lambda s: [s.body],
    ast.For: lambda s: [s.body],
    ast.Try: lambda s: [s.body, *[handler.body for handler in s.handlers], *([s.final] if s.final else [])],
}
