"""The syntax tree: the statements, and every other node under one name."""

from __future__ import annotations

from launcher.language.ast_expressions import (
    Array,
    Arrow,
    Binary,
    Block,
    Boolean,
    Call,
    Conditional,
    Index,
    Member,
    Name,
    Number,
    ObjectLiteral,
    Parameter,
    Slice,
    String,
    Unary,
)
from launcher.language.nodes import Expression, Node, Statement, same

__all__ = [
    "Allow",
    "Array",
    "Arrow",
    "Assign",
    "Binary",
    "Block",
    "Boolean",
    "Branch",
    "Break",
    "Call",
    "Capability",
    "Conditional",
    "Continue",
    "Destructure",
    "Expression",
    "ExpressionStatement",
    "For",
    "Function",
    "Handler",
    "If",
    "Import",
    "Index",
    "Member",
    "Name",
    "Node",
    "Nonlocal",
    "Number",
    "ObjectLiteral",
    "Parameter",
    "Program",
    "Resource",
    "Return",
    "Slice",
    "Statement",
    "String",
    "Throw",
    "Try",
    "Unary",
    "While",
    "same",
]


class ExpressionStatement(Statement):
    """`e;`."""

    __slots__ = ("value",)
    fields = ("value",)

    def __init__(self, value: Expression, start: int = 0, end: int = 0) -> None:
        self.value = value
        self.start = start
        self.end = end


class Assign(Statement):
    """`target = value;`, or with `operator` `target += value;`."""

    __slots__ = ("operator", "target", "value")
    fields = ("target", "operator", "value")

    def __init__(self, target: Expression, operator: str, value: Expression, start: int = 0, end: int = 0) -> None:
        self.target = target
        self.operator = operator
        self.value = value
        self.start = start
        self.end = end


class Destructure(Statement):
    """`[a, b] = e;` (`form` is `[`) or `{x, y} = e;` (`{`)."""

    __slots__ = ("form", "names", "value")
    fields = ("form", "names", "value")

    def __init__(self, form: str, names: tuple[Name, ...], value: Expression, start: int = 0, end: int = 0) -> None:
        self.form = form
        self.names = names
        self.value = value
        self.start = start
        self.end = end


class Function(Statement):
    """`function f(a) { }`."""

    __slots__ = ("body", "name", "parameters")
    fields = ("name", "parameters", "body")

    def __init__(self, name: str, parameters: tuple[Parameter, ...], body: Block, start: int = 0, end: int = 0) -> None:
        self.name = name
        self.parameters = parameters
        self.body = body
        self.start = start
        self.end = end


class Branch(Node):
    """One `if (test) { }` or `elif (test) { }`."""

    __slots__ = ("body", "test")
    fields = ("test", "body")

    def __init__(self, test: Expression, body: Block, start: int = 0, end: int = 0) -> None:
        self.test = test
        self.body = body
        self.start = start
        self.end = end


class If(Statement):
    """`if`, any number of `elif`, and `else`."""

    __slots__ = ("branches", "otherwise")
    fields = ("branches", "otherwise")

    def __init__(self, branches: tuple[Branch, ...], otherwise: Block | None, start: int = 0, end: int = 0) -> None:
        self.branches = branches
        self.otherwise = otherwise
        self.start = start
        self.end = end


class While(Statement):
    """`while (test) { }`."""

    __slots__ = ("body", "test")
    fields = ("test", "body")

    def __init__(self, test: Expression, body: Block, start: int = 0, end: int = 0) -> None:
        self.test = test
        self.body = body
        self.start = start
        self.end = end


class For(Statement):
    """`for (name in iterable) { }`."""

    __slots__ = ("body", "iterable", "name")
    fields = ("name", "iterable", "body")

    def __init__(self, name: Name, iterable: Expression, body: Block, start: int = 0, end: int = 0) -> None:
        self.name = name
        self.iterable = iterable
        self.body = body
        self.start = start
        self.end = end


class Break(Statement):
    """`break;`."""

    __slots__ = ()
    fields = ()

    def __init__(self, start: int = 0, end: int = 0) -> None:
        self.start = start
        self.end = end


class Continue(Statement):
    """`continue;`."""

    __slots__ = ()
    fields = ()

    def __init__(self, start: int = 0, end: int = 0) -> None:
        self.start = start
        self.end = end


class Return(Statement):
    """`return;` or `return e;`."""

    __slots__ = ("value",)
    fields = ("value",)

    def __init__(self, value: Expression | None, start: int = 0, end: int = 0) -> None:
        self.value = value
        self.start = start
        self.end = end


class Throw(Statement):
    """`throw e;`."""

    __slots__ = ("value",)
    fields = ("value",)

    def __init__(self, value: Expression, start: int = 0, end: int = 0) -> None:
        self.value = value
        self.start = start
        self.end = end


class Handler(Node):
    """One `except (name) { }`; `catch` is the same."""

    __slots__ = ("body", "name")
    fields = ("name", "body")

    def __init__(self, name: Name | None, body: Block, start: int = 0, end: int = 0) -> None:
        self.name = name
        self.body = body
        self.start = start
        self.end = end


class Try(Statement):
    """`try`, any number of `except`, and `finally`."""

    __slots__ = ("body", "final", "handlers")
    fields = ("body", "handlers", "final")

    def __init__(
        self, body: Block, handlers: tuple[Handler, ...], final: Block | None, start: int = 0, end: int = 0
    ) -> None:
        self.body = body
        self.handlers = handlers
        self.final = final
        self.start = start
        self.end = end


class Nonlocal(Statement):
    """`nonlocal a, b;`."""

    __slots__ = ("names",)
    fields = ("names",)

    def __init__(self, names: tuple[Name, ...], start: int = 0, end: int = 0) -> None:
        self.names = names
        self.start = start
        self.end = end


class Import(Statement):
    """`import a.b as c;`; `alias` is "" without `as`."""

    __slots__ = ("alias", "path")
    fields = ("path", "alias")

    def __init__(self, path: tuple[str, ...], alias: str, start: int = 0, end: int = 0) -> None:
        self.path = path
        self.alias = alias
        self.start = start
        self.end = end


class Resource(Node):
    """`resource "pattern";` in a capability block."""

    __slots__ = ("pattern",)
    fields = ("pattern",)

    def __init__(self, pattern: str, start: int = 0, end: int = 0) -> None:
        self.pattern = pattern
        self.start = start
        self.end = end


class Allow(Node):
    """`allow operation "target";`; `target` is None without one."""

    __slots__ = ("operation", "target")
    fields = ("operation", "target")

    def __init__(self, operation: str, target: str | None, start: int = 0, end: int = 0) -> None:
        self.operation = operation
        self.target = target
        self.start = start
        self.end = end


class Capability(Statement):
    """`capability Name { ... }`."""

    __slots__ = ("items", "name")
    fields = ("name", "items")

    def __init__(self, name: str, items: tuple[Resource | Allow, ...], start: int = 0, end: int = 0) -> None:
        self.name = name
        self.items = items
        self.start = start
        self.end = end


class Program(Node):
    """A whole source."""

    __slots__ = ("body",)
    fields = ("body",)

    def __init__(self, body: tuple[Statement, ...], start: int = 0, end: int = 0) -> None:
        self.body = body
        self.start = start
        self.end = end
