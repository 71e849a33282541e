"""Which expressions may be evaluated twice.

`o.k` is compiled to the host's `o['k']`, which is right when `o` is an object that has `k`, and fails otherwise; then
the expression is evaluated again by the checked path. That is only allowed where the first try had no effect: an
expression of names, constants, operators, members, indices and of calls that change nothing.
"""

from __future__ import annotations

from launcher.language import ast
from launcher.language.catalogue import BUILTINS, CONSTANTS, MATH_FUNCTIONS, STRING_METHODS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from launcher.language.scopes import Scope

# IMPURE has effects; PLAIN is the same on both paths; GUARDED needs a second path.
IMPURE, PLAIN, GUARDED = 0, 1, 2

# Longer chains are cut into pieces by temporaries, which effect-free texts cannot have.
LONGEST_CHAIN = 100

# Builtins without effects that cost little to call twice.
_BUILTINS = frozenset(("len", "str", "int", "float", "bool", "typeof", "isinstance", "abs", "min", "max", "chr", "ord"))


class Purity:
    """Answers for the nodes of one program, remembered; `modules` are the paths that its imports bind."""

    __slots__ = ("_known", "modules", "scope")

    def __init__(self, scope: Scope, modules: Iterable[str] = ()) -> None:
        self.scope = scope
        self.modules = frozenset(modules)
        self._known: dict[ast.Node, int] = {}

    def of(self, node: ast.Expression) -> int:
        kind = type(node)
        if kind in _LEAVES:
            return PLAIN
        known = self._known.get(node)
        if known is None:
            rule = _RULES.get(kind)
            known = self._known[node] = rule(self, node) if rule else IMPURE
        return known

    def all(self, nodes: Iterable[ast.Expression | None]) -> int:
        most = PLAIN
        for node in nodes:
            if node is not None:
                found = self.of(node)
                if found == IMPURE:
                    return IMPURE
                most = max(most, found)
        return most

    def module_of(self, node: ast.Expression) -> str:
        """The module that a name surely is: bound by one import at the top level and by nothing else."""
        if not isinstance(node, ast.Name):
            return ""
        owner = self.scope.owner(node.name)
        if owner is None or owner.outer is not None or node.name in owner.assigned or node.name in owner.shared:
            return ""
        paths = owner.imports.get(node.name, set())
        path = ".".join(next(iter(paths))) if len(paths) == 1 else ""
        return path if path in self.modules else ""

    def is_math(self, node: ast.Member) -> bool:
        """Whether a member is one of `MATH_FUNCTIONS` of the library."""
        return node.name in MATH_FUNCTIONS and self.module_of(node.base) == "math"

    def _name(self, node: ast.Name) -> int:
        bound = node.name in BUILTINS or node.name in CONSTANTS or self.scope.owner(node.name) is not None
        return PLAIN if bound else IMPURE

    def _binary(self, node: ast.Binary) -> int:
        """Along the left spine without recursion."""
        rights: list[ast.Expression] = []
        left: ast.Expression = node
        while isinstance(left, ast.Binary):
            rights.append(left.right)
            left = left.left
        return self.all([left, *rights]) if len(rights) < LONGEST_CHAIN else IMPURE

    def _member(self, node: ast.Member) -> int:
        found = self.of(node.base)
        return GUARDED if found and not isinstance(node.base, ast.ObjectLiteral) else found

    def _call(self, node: ast.Call) -> int:
        callee = node.callee
        if isinstance(callee, ast.Name) and callee.name in _BUILTINS:
            found = self.all(node.arguments)
            return GUARDED if found and callee.name == "len" and len(node.arguments) == 1 else found
        if not isinstance(callee, ast.Member):
            return IMPURE
        if self.is_math(callee):
            return GUARDED if self.all(node.arguments) else IMPURE
        if callee.name in STRING_METHODS and not self.module_of(callee.base):
            return GUARDED if self.all([callee.base, *node.arguments]) else IMPURE
        return IMPURE


_LEAVES = frozenset((ast.Number, ast.String, ast.Boolean))
_RULES: dict[type[ast.Expression], Callable[[Purity, Any], int]] = {
    ast.Name: Purity._name,  # noqa: SLF001
    ast.Array: lambda purity, node: purity.all(node.items),
    ast.ObjectLiteral: lambda purity, node: purity.all(node.values),
    ast.Unary: lambda purity, node: purity.of(node.operand),
    ast.Binary: Purity._binary,  # noqa: SLF001
    ast.Conditional: lambda purity, node: purity.all([node.test, node.yes, node.no]),
    ast.Index: lambda purity, node: purity.all([node.base, node.index]),
    ast.Slice: lambda purity, node: purity.all([node.base, node.low, node.high, node.step]),
    ast.Member: Purity._member,  # noqa: SLF001
    ast.Call: Purity._call,  # noqa: SLF001
}
