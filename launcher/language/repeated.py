"""Members that are read again before anything could have changed them: they are looked up once.

    b.vx = b.vx - dx * c.m * mag;        try: v_b['vx'] = (v_b['vx'] - (v_dx * (k1 := v_c['m']) * v_mag))
    b.vy = b.vy - dy * c.m * mag;        try: v_b['vy'] = (v_b['vy'] - (v_dy * k1 * v_mag))

A run is a row of assignments whose parts have no effects (`launcher.language.purity`), so nothing but the assignments
themselves happens in it: a new value of `c` forgets all that was read through `c`, a store to any `.m` forgets every
`m` (two names may mean one object), a store by index forgets everything. Anything else ends the run.
"""

from __future__ import annotations

from launcher.language import ast

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from launcher.language.purity import Purity

    Key = tuple[str, str]  # variable, member


class Repeated:
    """`names` gives each such read the variable that holds its value; `first` are those that set it."""

    __slots__ = ("_count", "_purity", "_seen", "first", "names")

    def __init__(self, purity: Purity) -> None:
        self._purity = purity
        self._count = 0
        self._seen: dict[Key, ast.Member] = {}
        self.names: dict[ast.Node, str] = {}
        self.first: set[ast.Node] = set()

    def find(self, statements: Iterable[ast.Statement]) -> None:
        """Look through the statements of one block, without those of blocks inside it."""
        self._seen = {}
        for statement in statements:
            if type(statement) is ast.Assign and self._purity.all(_parts(statement)):
                for node, always in _members(_parts(statement)):
                    self._read(node, always=always)
                self._forget(statement.target)
            else:
                self._seen.clear()

    def _read(self, node: ast.Member, *, always: bool) -> None:
        if type(node.base) is not ast.Name or node.name == "length" or self._purity.module_of(node.base):
            return
        key = node.base.name, node.name
        first = self._seen.get(key)
        if first is None:
            if always:
                self._seen[key] = node
            return
        if first not in self.names:
            self._count += 1
            self.names[first] = f"k{self._count}"
            self.first.add(first)
        self.names[node] = self.names[first]

    def _forget(self, target: ast.Expression) -> None:
        if isinstance(target, ast.Name):
            gone = [key for key in self._seen if key[0] == target.name]
        elif isinstance(target, ast.Member):
            gone = [key for key in self._seen if key[1] == target.name]
        else:
            gone = list(self._seen)
        for key in gone:
            del self._seen[key]


def _parts(statement: ast.Assign) -> list[ast.Expression]:
    """What an assignment evaluates, in order. The target of a compound one is read apart, through a temporary."""
    target = statement.target
    places = () if statement.operator or type(target) is ast.Name else _inside(target)
    return [statement.value, *places]


def _members(nodes: Iterable[ast.Expression | None], *, always: bool = True) -> Iterator[tuple[ast.Member, bool]]:
    """Every member read of effect-free expressions in the order of evaluation, and whether it surely happens."""
    for node in nodes:
        if isinstance(node, (ast.Binary, ast.Conditional)):
            for part, sure in _chain(node) if isinstance(node, ast.Binary) else _choice(node):
                yield from _members((part,), always=always and sure)
        elif node is not None:
            yield from _members(_inside(node), always=always)
            if isinstance(node, ast.Member):
                yield node, always


def _inside(node: ast.Expression) -> tuple[Any, ...]:
    return _INSIDE[type(node)](node) if type(node) in _INSIDE else ()


def _chain(node: ast.Binary) -> list[tuple[ast.Expression, bool]]:
    """The operands along the left spine, without recursion; what stands right of `&&` and `||` may not happen."""
    operands: list[tuple[ast.Expression, bool]] = []
    left: ast.Expression = node
    while isinstance(left, ast.Binary):
        operands.append((left.right, left.operator not in {"&&", "||"}))
        left = left.left
    return [(left, True), *reversed(operands)]


def _choice(node: ast.Conditional) -> list[tuple[ast.Expression, bool]]:
    return [(node.test, True), (node.yes, False), (node.no, False)]


_INSIDE: dict[type[ast.Expression], Callable[[Any], tuple[Any, ...]]] = {
    ast.Array: lambda node: node.items,
    ast.ObjectLiteral: lambda node: node.values,
    ast.Unary: lambda node: (node.operand,),
    ast.Index: lambda node: (node.base, node.index),
    ast.Slice: lambda node: (node.base, node.low, node.high, node.step),
    ast.Member: lambda node: (node.base,),
    ast.Call: lambda node: (*_inside(node.callee), *node.arguments),
}
