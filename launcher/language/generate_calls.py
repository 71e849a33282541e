"""Calls to host code: functions, builtins, methods of the basic types, entries of objects, members of modules.

Only ML functions and library functions can be called in the host's sense at all, so a call of a variable is written as
it is. A method of a string or array is the host's own method once the type is checked, by the host itself where the
unbound method does so.
"""

from __future__ import annotations

from launcher.language import ast
from launcher.language.catalogue import BUILTINS, LIBRARY, LIST_METHODS, OWN_LIST_METHODS, STRING_METHODS
from launcher.language.generate_expressions import ExpressionGenerator, is_constant
from launcher.language.purity import IMPURE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

# Methods of the basic types that may be called on them without further checks: the host's positional arguments are
# ML's. Those of more than one type (`index`, `count`) always take the checked path.
_FAST = dict.fromkeys([*LIST_METHODS, "extend", "sort"], "list") | dict.fromkeys([*STRING_METHODS, "join"], "str")
_SHARED = frozenset(("index", "count"))
# An argument list that stands twice in a guarded call must be short, or nesting would grow the text exponentially.
_MAX_TWICE = 120

# Builtins whose host function is called as it is: the same for every ML value.
_DIRECT = frozenset(("abs", "chr", "ord", "hex", "bin", "oct"))
# Builtins with a common type for which the host's constructor is the same: (argument type test, host function).
_GUARDED = {"str": "is not bool", "int": "is float", "float": "is int"}


class CallGenerator(ExpressionGenerator):
    """The part of the generator that writes calls."""

    __slots__ = ()

    def call(self, node: ast.Call) -> str:
        callee = node.callee
        self.at = node.start
        if type(callee) is ast.Name:
            if callee.name in BUILTINS:
                return self._builtin(callee.name, node.arguments)
            function, *arguments = self.operands((callee, *node.arguments))
            return f"{function}({', '.join(arguments)})"
        if type(callee) is ast.Member:
            return self._method(callee, node.arguments)
        function, *arguments = self.operands((callee, *node.arguments))
        return f"{self.subscriptable(function)}({', '.join(arguments)})"

    def _method(self, callee: ast.Member, nodes: tuple[ast.Expression, ...]) -> str:
        name = callee.name
        if self.path == "fast" and self.purity.is_math(callee):
            return f"math_{name}({', '.join(self.operands(nodes))})"
        module = self.purity.module_of(callee.base)
        if module:
            variable = callee.base.name  # type: ignore[attr-defined]
            arguments = ", ".join(self.operands(nodes))
            if module in LIBRARY:
                key = (variable, name)
                return f"{self.members.setdefault(key, f'm{len(self.members) + 1}')}({arguments})"
            return f"method(v_{variable}, {name!r})({arguments})"
        if self.path:
            return self._string_method(callee, nodes)
        base = self.expression(callee.base)
        kind = _FAST.get(name)
        if name in _SHARED:
            (base,), texts = self._after([base], nodes)
            return f"method({base}, {name!r})({', '.join(texts)})"
        if kind is None:
            return self._property_call(self.entry(base, name, "method"), nodes)
        return self._fast_method(base, name, kind, nodes)

    def _string_method(self, callee: ast.Member, nodes: tuple[ast.Expression, ...]) -> str:
        """On the fast path the host's unbound method, which checks the type of its first argument itself."""
        base, *arguments = self.operands((callee.base, *nodes))
        if self.path == "fast":
            return f"str_{callee.name}({', '.join([base, *arguments])})"
        return f"method({base}, {callee.name!r})({', '.join(arguments)})"

    def list_call(self, node: ast.Expression) -> tuple[str, str] | None:
        """The fast and slow texts of `base.append(x)` and its kin where all parts are effect-free, else None."""
        if not isinstance(node, ast.Call) or not isinstance(node.callee, ast.Member):
            return None
        name, parts = node.callee.name, (node.callee.base, *node.arguments)
        if (
            name not in LIST_METHODS
            or self.inline
            or self.single
            or self.purity.module_of(parts[0])
            or self._impure(parts)
        ):
            return None
        fast, slow = self.both(parts)
        quick = f"list_{name}({', '.join(fast)})"
        if name in OWN_LIST_METHODS and not is_constant(fast[0]):
            quick = f"{fast[0]}.{name}({', '.join(fast[1:])})"
        return quick, f"method({slow[0]}, {name!r})({', '.join(slow[1:])})"

    def _impure(self, nodes: Sequence[ast.Expression]) -> bool:
        return any(self.pure(node) == IMPURE for node in nodes)

    def _property_call(self, function: str, nodes: tuple[ast.Expression, ...]) -> str:
        held, arguments = self._after([function], nodes)
        return f"{held[0]}({', '.join(arguments)})"

    def _after(self, texts: list[str], nodes: Sequence[ast.Expression]) -> tuple[list[str], list[str]]:
        """`texts` and the operands that are evaluated after them."""
        before = self.written
        later = self.operands(nodes)
        if self.written > before:
            self.keep_before(texts, before)
        return texts, later

    def _fast_method(self, base: str, name: str, kind: str, nodes: tuple[ast.Expression, ...]) -> str:
        """A method of lists or strings: the host's own when the base is one, else the checked path."""
        (base,), texts = self._after([base], nodes)
        arguments = ", ".join(texts)
        if len(arguments) > _MAX_TWICE or is_constant(base):
            return f"method({base}, {name!r})({arguments})"
        first, again = self.bind(base)
        fast, slow = f"{again}.{name}({arguments})", f"method({again}, {name!r})({arguments})"
        return f"({fast} if type({first}) is {kind} else {slow})"

    def _builtin(self, name: str, nodes: tuple[ast.Expression, ...]) -> str:
        if name == "call" and nodes:
            function, *arguments = self.operands(nodes)
            return f"{self.subscriptable(function)}({', '.join(arguments)})"
        texts = self.operands(nodes)
        if len(texts) == 1:
            if name == "len":
                return self._length(texts[0])
            if name in _GUARDED:
                first, again = self.bind(texts[0])
                return f"({name}({again}) if type({first}) {_GUARDED[name]} else b_{name}({again}))"
            if name in _DIRECT:
                return f"{name}({texts[0]})"
        if len(texts) > 1 and name in {"min", "max"}:
            return f"{name}({', '.join(texts)})"
        return f"b_{name}({', '.join(texts)})"

    def _length(self, text: str) -> str:
        if self.path:
            return f"len({text})" if self.path == "fast" else f"b_len({text})"
        first, again = self.bind(text)
        return f"(len({again}) if type({first}) is list else b_len({again}))"
