"""Trees back to text, in one layout: what `mlsandbox fmt` writes. Reading the text gives the same tree.

Comments stay: those between statements on their own lines, those behind a statement in its line; a simple statement
with a comment inside is kept as it was written. Parentheses stand where the tree needs them.
"""

from __future__ import annotations

from launcher.language import ast
from launcher.language.expressions import BINDING
from launcher.language.lexer import is_name
from launcher.language.parser import parse_with_comments
from launcher.language.strings import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from launcher.language.source import Source

INDENT = "  "
WIDTH = 100

# Names that begin a statement or continue one: as values they stand in parentheses.
_WORDS = frozenset((
    "function", "if", "while", "for", "try", "break", "continue", "return", "throw", "nonlocal", "import",
    "capability", "elif", "else", "except", "catch", "finally",
))  # fmt: skip

_CONDITIONAL, _UNARY, _POSTFIX = 1, 8, 9


def format_source(source: Source) -> str:
    """A program in the standard layout. Raises SourceError."""
    program, comments = parse_with_comments(source)
    return Printer(source, comments).program(program)


def print_tree(program: ast.Program) -> str:
    """A tree as text."""
    return Printer(None, []).program(program)


class Printer:
    """Writes one program. `source` is None for a tree that has none."""

    def __init__(self, source: Source | None, comments: Sequence[tuple[int, int]]) -> None:
        self.source = source
        self.comments = list(comments)
        self.next = 0
        self.lines: list[str] = []
        self.depth = 0
        self.blank_allowed = False

    def program(self, program: ast.Program) -> str:
        self.statements(program.body)
        self.comments_before(program.end + 1)
        return "".join([line + "\n" for line in self.lines])

    # Lines, comments and blank lines.

    def line(self, text: str) -> None:
        self.lines.append(INDENT * self.depth + text if text else "")
        self.blank_allowed = True

    def comments_before(self, offset: int) -> None:
        """The comments in front of an offset, each on its own line."""
        while self.next < len(self.comments) and self.comments[self.next][0] < offset:
            start, end = self.comments[self.next]
            self.next += 1
            self.blank_before(start)
            for number, text in enumerate(self._text(start, end).split("\n")):
                self.lines.append(text.rstrip() if number else INDENT * self.depth + text.rstrip())
            self.blank_allowed = True

    def blank_before(self, offset: int) -> None:
        """One blank line where the source has any, but none at the head of a block."""
        if self.source is None or not self.blank_allowed:
            return
        head = self.source.text[:offset].rstrip(" \t\f\r")
        before = head[:-1].rstrip(" \t\f\r") if head.endswith("\n") else head
        if before.endswith("\n") and before is not head:
            self.lines.append("")
        self.blank_allowed = False

    def trailing(self, offset: int) -> None:
        """A comment behind a statement that ends at `offset`, in the same line."""
        if self.source is None or self.next >= len(self.comments):
            return
        start, end = self.comments[self.next]
        text = self._text(start, end)
        if start >= offset and "\n" not in text and not self.source.text[offset:start].strip(" \t"):
            self.lines[-1] += f"  {text.rstrip()}"
            self.next += 1

    def _text(self, start: int, end: int) -> str:
        return self.source.text[start:end].replace("\r\n", "\n") if self.source else ""

    # Statements.

    def statements(self, body: Sequence[ast.Statement]) -> None:
        for statement in body:
            self.comments_before(statement.start)
            self.blank_before(statement.start)
            if self._has_comment(statement) and type(statement) in _SIMPLE:
                self._verbatim(statement)
            else:
                _STATEMENTS[type(statement)](self, statement)
            self.trailing(statement.end)

    def _has_comment(self, node: ast.Node) -> bool:
        return self.next < len(self.comments) and self.comments[self.next][0] < node.end

    def _verbatim(self, node: ast.Node) -> None:
        for number, text in enumerate(self._text(node.start, node.end).split("\n")):
            self.lines.append(text.rstrip() if number else INDENT * self.depth + text.rstrip())
        self.blank_allowed = True
        while self._has_comment(node):
            self.next += 1

    def block(self, head: str, block: ast.Block) -> None:
        """`head {`, the statements, and the closing brace, which a following `else` extends."""
        if not block.body and not self._has_comment(block):
            self.line(f"{head} {{ }}")
            return
        self.line(f"{head} {{")
        self.blank_allowed = False
        self.depth += 1
        self.trailing(block.start + 1)
        self.statements(block.body)
        self.comments_before(block.end)
        self.depth -= 1
        self.line("}")

    def follow(self, head: str, block: ast.Block) -> None:
        """A block that goes on in the line of the last closing brace: `} else {`."""
        if self.lines[-1].endswith("}"):
            joined = self.lines.pop().lstrip()
            self.block(f"{joined} {head}", block)
        else:
            self.block(head, block)

    def simple(self, text: str) -> None:
        self.line(text + ";")

    def assign(self, node: ast.Assign) -> None:
        self.simple(f"{self.text(node.target)} {node.operator}= {self.text(node.value)}")

    def destructure(self, node: ast.Destructure) -> None:
        names = ", ".join([name.name for name in node.names])
        closer = "]" if node.form == "[" else "}"
        self.simple(f"{node.form}{names}{closer} = {self.text(node.value)}")

    def function(self, node: ast.Function) -> None:
        self.block(f"function {node.name}({self.parameters(node.parameters)})", node.body)

    def if_(self, node: ast.If) -> None:
        first, *others = node.branches
        self.block(f"if ({self.text(first.test)})", first.body)
        end = first.end
        for branch in others:
            self.between(end, branch.start)
            self.follow(f"elif ({self.text(branch.test)})", branch.body)
            end = branch.end
        if node.otherwise is not None:
            self.between(end, node.otherwise.start)
            self.follow("else", node.otherwise)

    def between(self, end: int, start: int) -> None:
        """Comments between two blocks of one statement."""
        self.trailing(end)
        self.comments_before(start)

    def try_(self, node: ast.Try) -> None:
        self.block("try", node.body)
        end = node.body.end
        for handler in node.handlers:
            name = f" ({handler.name.name})" if handler.name else ""
            self.between(end, handler.start)
            self.follow(f"except{name}", handler.body)
            end = handler.end
        if node.final is not None:
            self.between(end, node.final.start)
            self.follow("finally", node.final)

    def import_(self, node: ast.Import) -> None:
        alias = f" as {node.alias}" if node.alias else ""
        self.simple(f"import {'.'.join(node.path)}{alias}")

    def capability(self, node: ast.Capability) -> None:
        self.line(f"capability {node.name} {{")
        self.depth += 1
        self.blank_allowed = False
        for item in node.items:
            self.comments_before(item.start)
            if isinstance(item, ast.Resource):
                self.simple(f"resource {quote(item.pattern)}")
            else:
                target = "" if item.target is None else f" {quote(item.target)}"
                self.simple(f"allow {item.operation}{target}")
            self.trailing(item.end)
        self.comments_before(node.end)
        self.depth -= 1
        self.line("}")

    # Expressions.

    def text(self, node: ast.Expression, floor: int = 0) -> str:
        """The text of an expression, in parentheses where it binds less than `floor`."""
        text = _EXPRESSIONS[type(node)](self, node)
        return f"({text})" if _power(node) < floor else text

    def items(self, opener: str, texts: Sequence[str], closer: str) -> str:
        """A list in one line, or one item a line when it would be too long."""
        flat = f"{opener}{', '.join(texts)}{closer}"
        if len(flat) + len(INDENT) * self.depth <= WIDTH or "\n" in flat or len(texts) < 2:
            return flat
        inner = ",\n".join([INDENT * (self.depth + 1) + text for text in texts])
        return f"{opener}\n{inner}\n{INDENT * self.depth}{closer}"

    def number(self, node: ast.Number) -> str:
        text = repr(node.value)
        return "1e999" if text == "inf" else text

    def name(self, node: ast.Name) -> str:
        return f"({node.name})" if node.name in _WORDS else node.name

    def array(self, node: ast.Array) -> str:
        return self.items("[", [self.text(item) for item in node.items], "]")

    def object(self, node: ast.ObjectLiteral) -> str:
        pairs = zip(node.keys, node.values, strict=True)
        return self.items("{", [f"{_key(key)}: {self.text(value)}" for key, value in pairs], "}")

    def unary(self, node: ast.Unary) -> str:
        return node.operator + self.text(node.operand, _UNARY)

    def binary(self, node: ast.Binary) -> str:
        """Down the left spine without recursion."""
        rights: list[str] = []
        left: ast.Expression = node
        power = BINDING[node.operator]
        while isinstance(left, ast.Binary) and BINDING[left.operator] == power:
            rights.append(f"{left.operator} {self.text(left.right, power + 1)}")
            left = left.left
        return " ".join([self.text(left, power + 1), *reversed(rights)])

    def conditional(self, node: ast.Conditional) -> str:
        test = self.text(node.test, _CONDITIONAL + 1)
        return f"{test} ? {self.text(node.yes)} : {self.text(node.no)}"

    def call(self, node: ast.Call) -> str:
        callee = self.text(node.callee, _POSTFIX)
        return self.items(f"{callee}(", [self.text(argument) for argument in node.arguments], ")")

    def index(self, node: ast.Index) -> str:
        return f"{self.text(node.base, _POSTFIX)}[{self.text(node.index)}]"

    def slice(self, node: ast.Slice) -> str:
        low, high, step = ["" if part is None else self.text(part) for part in (node.low, node.high, node.step)]
        step = f":{step}" if step else ""
        return f"{self.text(node.base, _POSTFIX)}[{low}:{high}{step}]"

    def member(self, node: ast.Member) -> str:
        base = self.text(node.base, _POSTFIX)
        return f"({base}).{node.name}" if isinstance(node.base, ast.Number) else f"{base}.{node.name}"

    def parameters(self, parameters: Sequence[ast.Parameter]) -> str:
        return ", ".join([f"{p.name}: {p.annotation}" if p.annotation else p.name for p in parameters])

    def arrow(self, node: ast.Arrow) -> str:
        head = f"fn({self.parameters(node.parameters)}) =>"
        if isinstance(node.body, ast.Expression):
            return f"{head} {self.text(node.body)}"
        inner = Printer(self.source, self.comments)
        inner.next, inner.depth = self.next, self.depth
        inner.block(head, node.body)
        self.next = inner.next
        if not node.body.body:  # `fn() => {}` would be an object
            inner.lines = [f"{head} {{ return; }}"]
        return "\n".join(inner.lines).lstrip()


def _power(node: ast.Expression) -> int:
    if isinstance(node, ast.Binary):
        return BINDING[node.operator]
    return {ast.Arrow: 0, ast.Conditional: _CONDITIONAL, ast.Unary: _UNARY}.get(type(node), _POSTFIX + 1)


def _key(key: str) -> str:
    return key if is_name(key) else quote(key)


_SIMPLE = frozenset((
    ast.ExpressionStatement, ast.Assign, ast.Destructure, ast.Return, ast.Throw, ast.Nonlocal, ast.Import,
    ast.Break, ast.Continue,
))  # fmt: skip
_STATEMENTS: dict[type[ast.Statement], Callable[[Printer, Any], None]] = {
    ast.ExpressionStatement: lambda printer, node: printer.simple(printer.text(node.value)),
    ast.Assign: Printer.assign,
    ast.Destructure: Printer.destructure,
    ast.Function: Printer.function,
    ast.If: Printer.if_,
    ast.While: lambda printer, node: printer.block(f"while ({printer.text(node.test)})", node.body),
    ast.For: lambda printer, node: printer.block(f"for ({node.name.name} in {printer.text(node.iterable)})", node.body),
    ast.Break: lambda printer, _node: printer.simple("break"),
    ast.Continue: lambda printer, _node: printer.simple("continue"),
    ast.Return: lambda printer, node: printer.simple(f"return {printer.text(node.value)}" if node.value else "return"),
    ast.Throw: lambda printer, node: printer.simple(f"throw {printer.text(node.value)}"),
    ast.Try: Printer.try_,
    ast.Nonlocal: lambda printer, node: printer.simple("nonlocal " + ", ".join(name.name for name in node.names)),
    ast.Import: Printer.import_,
    ast.Capability: Printer.capability,
}
_EXPRESSIONS: dict[type[ast.Expression], Callable[[Printer, Any], str]] = {
    ast.Number: Printer.number,
    ast.String: lambda _printer, node: quote(node.value),
    ast.Boolean: lambda _printer, node: "true" if node.value else "false",
    ast.Name: Printer.name,
    ast.Array: Printer.array,
    ast.ObjectLiteral: Printer.object,
    ast.Unary: Printer.unary,
    ast.Binary: Printer.binary,
    ast.Conditional: Printer.conditional,
    ast.Call: Printer.call,
    ast.Index: Printer.index,
    ast.Slice: Printer.slice,
    ast.Member: Printer.member,
    ast.Arrow: Printer.arrow,
}
