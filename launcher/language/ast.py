"""The syntax tree: one class a form, with its span. Nodes are never changed after the parser made them.

Written by hand rather than as dataclasses: every start of an ML job imports this module, and `dataclasses` alone
costs more than compiling a small program. `start` and `end` are offsets into the source; equality (`same`) ignores
them.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar


class Node:
    """Base of all nodes. `fields` names the parts in the order of the constructor."""

    __slots__ = ("end", "start")

    fields: ClassVar[tuple[str, ...]] = ()
    start: int
    end: int

    def __repr__(self) -> str:
        parts = ", ".join(repr(getattr(self, name)) for name in self.fields)
        return f"{type(self).__name__}({parts})"


class Expression(Node):
    """A form that has a value."""

    __slots__ = ()


class Statement(Node):
    """A form that does something."""

    __slots__ = ()


def same(one: Any, other: Any) -> bool:
    """Whether two trees are equal but for their spans. Depth is bounded by the parser."""
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, Node):
        return type(one) is type(other) and all(same(getattr(one, f), getattr(other, f)) for f in one.fields)
    return type(one) is type(other) and bool(one == other)


class Number(Expression):
    """A literal; `value` as the program sees it."""

    __slots__ = ("value",)
    fields = ("value",)

    def __init__(self, value: float, start: int = 0, end: int = 0) -> None:
        self.value = value
        self.start = start
        self.end = end


class String(Expression):
    """A literal; `value` with escapes translated."""

    __slots__ = ("value",)
    fields = ("value",)

    def __init__(self, value: str, start: int = 0, end: int = 0) -> None:
        self.value = value
        self.start = start
        self.end = end


class Boolean(Expression):
    """`true` or `false`."""

    __slots__ = ("value",)
    fields = ("value",)

    def __init__(self, value: bool, start: int = 0, end: int = 0) -> None:
        self.value = value
        self.start = start
        self.end = end


class Name(Expression):
    """A variable, builtin, `null` or `undefined`."""

    __slots__ = ("name",)
    fields = ("name",)

    def __init__(self, name: str, start: int = 0, end: int = 0) -> None:
        self.name = name
        self.start = start
        self.end = end


class Array(Expression):
    """`[a, b]`."""

    __slots__ = ("items",)
    fields = ("items",)

    def __init__(self, items: tuple[Expression, ...], start: int = 0, end: int = 0) -> None:
        self.items = items
        self.start = start
        self.end = end


class ObjectLiteral(Expression):
    """`{k: e}`; the keys are strings, in order, and may repeat."""

    __slots__ = ("keys", "values")
    fields = ("keys", "values")

    def __init__(self, keys: tuple[str, ...], values: tuple[Expression, ...], start: int = 0, end: int = 0) -> None:
        self.keys = keys
        self.values = values
        self.start = start
        self.end = end


class Unary(Expression):
    """`!a` or `-a`."""

    __slots__ = ("operand", "operator")
    fields = ("operator", "operand")

    def __init__(self, operator: str, operand: Expression, start: int = 0, end: int = 0) -> None:
        self.operator = operator
        self.operand = operand
        self.start = start
        self.end = end


class Binary(Expression):
    """`a + b` and all its kin, `&&` and `||` too."""

    __slots__ = ("left", "operator", "right")
    fields = ("operator", "left", "right")

    def __init__(self, operator: str, left: Expression, right: Expression, start: int = 0, end: int = 0) -> None:
        self.operator = operator
        self.left = left
        self.right = right
        self.start = start
        self.end = end


class Conditional(Expression):
    """`test ? yes : no`."""

    __slots__ = ("no", "test", "yes")
    fields = ("test", "yes", "no")

    def __init__(self, test: Expression, yes: Expression, no: Expression, start: int = 0, end: int = 0) -> None:
        self.test = test
        self.yes = yes
        self.no = no
        self.start = start
        self.end = end


class Call(Expression):
    """`callee(arguments)`."""

    __slots__ = ("arguments", "callee")
    fields = ("callee", "arguments")

    def __init__(self, callee: Expression, arguments: tuple[Expression, ...], start: int = 0, end: int = 0) -> None:
        self.callee = callee
        self.arguments = arguments
        self.start = start
        self.end = end


class Index(Expression):
    """`base[index]`."""

    __slots__ = ("base", "index")
    fields = ("base", "index")

    def __init__(self, base: Expression, index: Expression, start: int = 0, end: int = 0) -> None:
        self.base = base
        self.index = index
        self.start = start
        self.end = end


class Slice(Expression):
    """`base[low:high:step]`, each part optional."""

    __slots__ = ("base", "high", "low", "step")
    fields = ("base", "low", "high", "step")

    def __init__(
        self,
        base: Expression,
        low: Expression | None,
        high: Expression | None,
        step: Expression | None,
        start: int = 0,
        end: int = 0,
    ) -> None:
        self.base = base
        self.low = low
        self.high = high
        self.step = step
        self.start = start
        self.end = end


class Member(Expression):
    """`base.name`."""

    __slots__ = ("base", "name")
    fields = ("base", "name")

    def __init__(self, base: Expression, name: str, start: int = 0, end: int = 0) -> None:
        self.base = base
        self.name = name
        self.start = start
        self.end = end


class Arrow(Expression):
    """`fn(x) => body`; the body is an expression or a block."""

    __slots__ = ("body", "parameters")
    fields = ("parameters", "body")

    def __init__(
        self, parameters: tuple[Parameter, ...], body: Expression | Block, start: int = 0, end: int = 0
    ) -> None:
        self.parameters = parameters
        self.body = body
        self.start = start
        self.end = end


class Parameter(Node):
    """A parameter; `annotation` is kept for the formatter and means nothing."""

    __slots__ = ("annotation", "name")
    fields = ("name", "annotation")

    def __init__(self, name: str, annotation: str, start: int = 0, end: int = 0) -> None:
        self.name = name
        self.annotation = annotation
        self.start = start
        self.end = end


class Block(Node):
    """`{ statements }`."""

    __slots__ = ("body",)
    fields = ("body",)

    def __init__(self, body: tuple[Statement, ...], start: int = 0, end: int = 0) -> None:
        self.body = body
        self.start = start
        self.end = end


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
