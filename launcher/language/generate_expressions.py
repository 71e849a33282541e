"""Expressions to host code.

ML operators on ML values mean what the host's mean, so they are written as they are; what differs goes through a
function of `launcher.runtime.machine`. `o.k` reads an entry of an object, and anything else takes a slow path. Where
an expression has no effects (`launcher.language.purity`), it is tried the quick way and evaluated again if that fails:

    try: t1 = v_o['k'] + 1
    except MISS: t1 = member(v_o, 'k') + 1

which costs nothing while it succeeds (a `try` has no set-up cost since CPython 3.11). Where no statement can stand
(`inline`), a member is a guarded expression. Evaluation order is kept: when an operand needs statements, the operands
before it that a call could change are put into temporaries first.
"""

from __future__ import annotations

from launcher.language import ast
from launcher.language.catalogue import BUILTIN_MODULE, BUILTINS, CONSTANTS
from launcher.language.purity import GUARDED, LONGEST_CHAIN, PLAIN, Purity
from launcher.language.repeated import Repeated
from launcher.language.writer import Writer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from launcher.language.names import Names
    from launcher.language.scopes import Scope

_OPERATORS = {"&&": "and", "||": "or"}
_COMPARISONS = frozenset(("==", "!=", "<", ">", "<=", ">="))
_IDENTITY = {"==": "is", "!=": "is not"}
# Forms that are surely no constants, for which the host would warn.
_PLAIN = frozenset((ast.Name, ast.Member, ast.Index, ast.Call))
_LEAVES = frozenset((ast.Name, ast.Number, ast.String, ast.Boolean))
# Operators that stand in one chain without parentheses between them.
_FAMILY = {"+": "sum", "-": "sum", "*": "product", "/": "product", "//": "product", "%": "product"}
_FAMILY |= {"&&": "and", "||": "or"}


class ExpressionGenerator(Writer):
    """Each method returns host text of one expression; lines that must run before it are written."""

    __slots__ = ("members", "names", "path", "purity", "repeated", "single")

    def __init__(self, names: Names, scope: Scope) -> None:
        super().__init__(scope)
        self.names = names
        # (variable, member) of library modules that are called: the name of the temporary that holds the function.
        self.members: dict[tuple[str, str], str] = {}
        # Whether to do without second paths: they take a block each, and the host allows 20 inside each other.
        self.single = False
        # "fast" or "slow" while one of the two texts of an expression is made.
        self.path = ""
        self.purity = Purity(scope, names.modules)
        self.repeated = Repeated(self.purity)

    def expression(self, node: ast.Expression) -> str:
        if self.inline or self.path or self.pure(node) != GUARDED:
            return _EXPRESSIONS[type(node)](self, node)
        value = self.temporary()
        self.guarded(f"{value} = {{}}", [node])
        return value

    def pure(self, node: ast.Expression) -> int:
        return self.pure_all((node,))

    def pure_all(self, nodes: Sequence[ast.Expression]) -> int:
        """IMPURE, PLAIN or GUARDED; never the last where only one path is to be written."""
        found = self.purity.all(nodes)
        return min(found, PLAIN) if self.single else found

    def guarded(self, pattern: str, nodes: Sequence[ast.Expression], slow_pattern: str = "") -> None:
        """Write a line that tries the fast texts of effect-free expressions, and one with the slow texts."""
        at = self.at
        fast, slow = self.both(nodes)
        self.at = at
        self.line(f"try: {pattern.format(*fast)}")
        self.line(f"except MISS: {(slow_pattern or pattern).format(*slow)}")

    def both(self, nodes: Sequence[ast.Expression]) -> tuple[list[str], list[str]]:
        texts = []
        for path in ("fast", "slow"):
            self.path, before = path, self.path
            texts.append([self.expression(node) for node in nodes])
            self.path = before
        return texts[0], texts[1]

    def test(self, node: ast.Expression) -> str:
        """A condition. Of a comparison the sides are tried, not the whole: the host has one instruction for comparing
        and branching, and none for keeping what came of it.
        """
        comparison = isinstance(node, ast.Binary) and node.operator in _COMPARISONS
        if self.inline or self.path or not comparison or self.pure(node) != GUARDED:
            return self.expression(node)
        assert isinstance(node, ast.Binary)  # noqa: S101  what `comparison` says
        sides = [node.left, node.right]
        tried = [side for side in sides if type(side) not in _LEAVES]
        kept = {side: Text(self.temporary()) for side in tried}
        pattern = "; ".join([f"{text.text} = {{}}" for text in kept.values()])
        self.guarded(pattern, tried)
        left, right = [kept.get(side, side) for side in sides]
        return f"({self.expression(left)} {self._comparison(node)} {self.expression(right)})"

    def operands(self, nodes: Sequence[ast.Expression]) -> list[str]:
        """The texts of several expressions that are evaluated in this order."""
        texts: list[str] = []
        for node in nodes:
            before = self.written
            text = self.expression(node)
            if self.written > before:
                self.keep_before(texts, before)
            texts.append(text)
        return texts

    def keep_before(self, texts: list[str], before: int) -> None:
        """Put operands into temporaries in front of the lines that a later operand has written."""
        index = len(self.lines) - (self.written - before)
        later_lines, later_marks = self.lines[index:], self.marks[index:]
        del self.lines[index:], self.marks[index:]
        texts[:] = [self.keep(text) for text in texts]
        self.lines += later_lines
        self.marks += later_marks

    def sometimes(self, node: ast.Expression) -> str:
        """The text of an expression that may not be evaluated at all: it may write no statements."""
        before, self.inline = self.inline, True
        text = self.expression(node)
        self.inline = before
        return text

    # Leaves.

    def number(self, node: ast.Number) -> str:
        text = repr(node.value)
        return "1e999" if text == "inf" else text

    def string(self, node: ast.String) -> str:
        return repr(node.value)

    def boolean(self, node: ast.Boolean) -> str:
        return "True" if node.value else "False"

    def name(self, node: ast.Name) -> str:
        name = node.name
        if self.scope.owner(name) is not None:
            return f"v_{name}"
        if name in CONSTANTS:
            return "None"
        if name in BUILTINS:
            return f"f_{name}"
        return "builtin" if name == BUILTIN_MODULE else f"undefined({name!r})"

    # Compounds.

    def array(self, node: ast.Array) -> str:
        return f"[{', '.join(self.operands(node.items))}]"

    def object(self, node: ast.ObjectLiteral) -> str:
        values = self.operands(node.values)
        return "{" + ", ".join([f"{key!r}: {value}" for key, value in zip(node.keys, values, strict=True)]) + "}"

    def unary(self, node: ast.Unary) -> str:
        operand = self.expression(node.operand)
        return f"(not {operand})" if node.operator == "!" else f"(-{operand})"

    def conditional(self, node: ast.Conditional) -> str:
        test = self.expression(node.test)
        return f"({self.sometimes(node.yes)} if {test} else {self.sometimes(node.no)})"

    def binary(self, node: ast.Binary) -> str:
        """A chain of operators of one family, flat: `a + b - c` is one level for the host's parser too."""
        operators, operands = _spine(node)
        family = _FAMILY.get(node.operator)
        if node.operator in _OPERATORS:
            return self._logical(_OPERATORS[node.operator], operands)
        if family is None:
            left, right = self.operands(operands)
            return f"({left} {self._comparison(node)} {right})"
        if "+" in operators and any(map(_has_text, operands)):
            return self._texts(operators, operands)
        return self._chain(operators, self.operands(operands))

    def _comparison(self, node: ast.Binary) -> str:
        """Comparing with null is identity, which the host tests without asking the other value."""
        word = _IDENTITY.get(node.operator)
        plain, null = type(node.left) in _PLAIN, node.right
        is_null = isinstance(null, ast.Name) and null.name in CONSTANTS and self.scope.owner(null.name) is None
        return word if word and plain and is_null else node.operator

    def _chain(self, operators: Sequence[str], texts: list[str]) -> str:
        run = texts[0]
        for count, (operator, text) in enumerate(zip(operators, texts[1:], strict=True), 1):
            run = f"{run} {operator} {text}"
            if not count % LONGEST_CHAIN and not self.inline and not self.path:
                run = self.keep(f"({run})")
        return f"({run})"

    def _logical(self, word: str, operands: Sequence[ast.Expression]) -> str:
        texts = [self.expression(operands[0])]
        texts += [self.sometimes(operand) for operand in operands[1:]]
        return "(" + f" {word} ".join(texts) + ")"

    def _texts(self, operators: Sequence[str], operands: Sequence[ast.Expression]) -> str:
        """A chain with a string literal in it: from the first such `+` on, everything is made text and joined."""
        texts = self.operands(operands)
        pieces = [(operands[0], texts[0])]
        joined = _has_text(operands[0])
        for operator, operand, text in zip(operators, operands[1:], texts[1:], strict=True):
            if operator == "+" and (joined or _has_text(operand)):
                pieces.append((operand, text))
                joined = True
            else:
                left = _joined(pieces) if joined else pieces[0][1]
                pieces, joined = [(_OPAQUE, f"({left} {operator} {text})")], False
        return _joined(pieces) if joined else pieces[0][1]

    # Members, indices and calls.

    def member(self, node: ast.Member) -> str:
        kept = self.repeated.names.get(node) if self.path else None
        if kept is None:
            return self._member(node)
        return f"({kept} := {self._member(node)})" if node in self.repeated.first else kept

    def _member(self, node: ast.Member) -> str:
        if isinstance(node.base, ast.ObjectLiteral):
            return f"{self.expression(node.base)}[{node.name!r}]"
        base = self.expression(node.base)
        if self.path == "fast" and node.name != "length" and not is_constant(base):
            return f"{self.subscriptable(base)}[{node.name!r}]"
        if node.name == "length":
            first, again = self.bind(base)
            return f"(len({again}) if type({first}) is list else member({again}, 'length'))"
        if self.path or self.purity.module_of(node.base):
            return f"member({base}, {node.name!r})"
        return self.entry(base, node.name, "member")

    def entry(self, base: str, name: str, otherwise: str) -> str:
        """The entry `name` of an object, or what the slow path `otherwise` finds."""
        if is_constant(base):
            return f"{otherwise}({base}, {name!r})"
        if self.inline or self.single:
            first, again = self.bind(base)
            return (
                f"({again}[{name!r}] if type({first}) is dict and {name!r} in {again} "
                f"else {otherwise}({again}, {name!r}))"
            )
        kept = self.keep(base)
        value = self.temporary()
        if otherwise == "method":
            value += f"_{name}"  # launcher.runtime.calls reads it in the error of a call that fails
        self.line(f"try: {value} = {kept}[{name!r}]")
        self.line(f"except MISS: {value} = {otherwise}({kept}, {name!r})")
        return value

    def index(self, node: ast.Index) -> str:
        base, index = self.operands((node.base, node.index))
        return f"{self.subscriptable(base)}[{index}]"

    def slice(self, node: ast.Slice) -> str:
        parts = [part for part in (node.low, node.high, node.step) if part is not None]
        texts = iter(self.operands((node.base, *parts)))
        base = next(texts)
        low, high, step = [next(texts) if part is not None else "" for part in (node.low, node.high, node.step)]
        return f"{self.subscriptable(base)}[{low}:{high}:{step}]"

    def subscriptable(self, base: str) -> str:
        """The host warns about subscripts and calls of literals; a temporary keeps it quiet."""
        if base[0] in "[{(" or is_constant(base):
            return f"({self.temporary()} := {base})"
        return base

    def call(self, node: ast.Call) -> str:
        """A call: `launcher.language.generate_calls`."""
        raise NotImplementedError

    def arrow(self, node: ast.Arrow) -> str:
        """A lambda where the body allows it, else a function that is defined in front of the statement."""
        raise NotImplementedError


def is_constant(text: str) -> bool:
    return text[0] in "0123456789'\"" or text in {"None", "True", "False"}


class Text(ast.Expression):
    """Host text in the place of an expression, for compound assignment."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text
        self.start = self.end = 0


_OPAQUE = Text("")


def _spine(node: ast.Binary) -> tuple[list[str], list[ast.Expression]]:
    """Operators and operands of a left-associative chain of one family, left to right."""
    family = _FAMILY.get(node.operator)
    operators, operands = [node.operator], [node.right]
    left = node.left
    while family is not None and isinstance(left, ast.Binary) and _FAMILY.get(left.operator) == family:
        operators.append(left.operator)
        operands.append(left.right)
        left = left.left
    operands.append(left)
    return operators[::-1], operands[::-1]


def _has_text(node: ast.Expression) -> bool:
    """Whether a node is a string literal or a `+` chain with one in it: what makes `+` join texts."""
    while isinstance(node, ast.Binary) and node.operator == "+":
        if _has_text(node.right):
            return True
        node = node.left
    return type(node) is ast.String


def _joined(pieces: Sequence[tuple[ast.Expression, str]]) -> str:
    """Host text that joins the text forms. CPython compiles this shape of `%` like an f-string."""
    pattern, values = [], []
    for node, text in pieces:
        if isinstance(node, ast.String):
            pattern.append(node.value.replace("%", "%%"))
        else:
            pattern.append("%s")
            values.append(text)
    if not values:
        return repr("".join(pattern).replace("%%", "%"))
    return f"({''.join(pattern)!r} % ({', '.join(values)},))"


_EXPRESSIONS: dict[type[ast.Expression], Callable[[ExpressionGenerator, Any], str]] = {
    ast.Number: ExpressionGenerator.number,
    ast.String: ExpressionGenerator.string,
    ast.Boolean: ExpressionGenerator.boolean,
    ast.Name: ExpressionGenerator.name,
    ast.Array: ExpressionGenerator.array,
    ast.ObjectLiteral: ExpressionGenerator.object,
    ast.Unary: ExpressionGenerator.unary,
    ast.Binary: ExpressionGenerator.binary,
    ast.Conditional: ExpressionGenerator.conditional,
    ast.Call: lambda generator, node: generator.call(node),
    ast.Index: ExpressionGenerator.index,
    ast.Slice: ExpressionGenerator.slice,
    ast.Member: ExpressionGenerator.member,
    ast.Arrow: lambda generator, node: generator.arrow(node),
    Text: lambda _generator, node: str(node.text),
}
