"""The expressions of the syntax tree, and the parts that belong to them."""

from __future__ import annotations

from launcher.language.nodes import Expression, Node, Statement


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
