"""Expressions: a Pratt parser over a table of binding powers.

expression  = binary ["?" expression ":" expression]
binary      = unary {operator unary}                      by the table BINDING, all left-associative
unary       = ("!" | "-") unary | "+" NUMBER | postfix
postfix     = primary {"(" [arguments] ")" | "[" index "]" | "." NAME}
primary     = NUMBER | STRING | NAME | "(" expression ")" | array | object | arrow
array       = "[" [expression {"," expression} [","]] "]"
object      = "{" [entry {"," entry} [","]] "}"           entry = (NAME | STRING) ":" expression
arrow       = "fn" "(" [parameters] ")" "=>" (expression | block)
index       = expression | [expression] ":" [expression] [":" [expression]]
"""

from __future__ import annotations

from launcher.language import ast
from launcher.language.cursor import Cursor
from launcher.language.lexer import END, NAME, NUMBER, SLASHES, STRING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

BINDING = {
    "||": 2,
    "&&": 3,
    "==": 4,
    "!=": 4,
    "<": 5,
    ">": 5,
    "<=": 5,
    ">=": 5,
    "+": 6,
    "-": 6,
    "*": 7,
    "/": 7,
    "//": 7,
    "%": 7,
}

# Links of one chain, `a + b + ...` or `a.b.c...`. People stop at a dozen, generators at some hundred.
MAX_CHAIN = 2000
MAX_LINKS = 200

_POSTFIX = frozenset("([.")
_OPERATOR_HINTS = {"=": "= assigns; to compare, write =="}


class Expressions(Cursor):
    """The part of the parser that reads expressions."""

    __slots__ = ()

    def expression(self) -> ast.Expression:
        """`expression` of the module's grammar."""
        self.deeper()
        test = self._binary(2)
        if self.kind == "?":
            self.advance()
            yes = self.expression()
            self.expect(":", "between the two arms of ?:")
            no = self.expression()
            test = ast.Conditional(test, yes, no, test.start, no.end)
        self.depth -= 1
        return test

    def _binary(self, floor: int) -> ast.Expression:
        left = self._unary()
        links = 0
        while True:
            operator = self.kind
            power = BINDING.get(operator)
            if power is None or power < floor:
                return left
            if operator == SLASHES:
                if self._compound_division():
                    return left
                self.divide()
            else:
                self.advance()
            right = self._binary(power + 1)
            left = ast.Binary(operator, left, right, left.start, right.end)
            links += 1
            if links > MAX_CHAIN:
                self.refuse(f"more than {MAX_CHAIN} operators in one expression", right.start, right.end)

    def _compound_division(self) -> bool:
        """Whether the `//` here is the first part of `//=`, which ends the expression."""
        text, end = self.lexer.source.text, self._ends[self.index]
        return text[end : end + 1] == "=" and text[end + 1 : end + 2] != "="

    def _unary(self) -> ast.Expression:
        kind = self.operand()
        if kind not in {"!", "-", "+"}:
            return self._postfix()
        start = self._starts[self.index]
        self.deeper()
        self.advance()
        if kind == "+":
            operand = self._signed_number(start)
        else:
            inner = self._unary()
            operand = ast.Unary(kind, inner, start, inner.end)
        self.depth -= 1
        return operand

    def _signed_number(self, start: int) -> ast.Expression:
        if self.kind != NUMBER or self._starts[self.index] != start + 1:
            self.refuse("there is no unary +", start, start + 1, "leave the + out")
        return self._postfix()

    def _postfix(self) -> ast.Expression:
        form = self._primary()
        links = 0
        while (kind := self.kind) in _POSTFIX:
            links += 1
            if links > MAX_LINKS:
                self.fail(f"more than {MAX_LINKS} calls, indices and members in one chain")
            self.advance()
            if kind == ".":
                form = self._member(form)
            elif kind == "(":
                arguments = self._items(")", "in the arguments of a call")
                form = ast.Call(form, arguments, form.start, self.last_end)
            else:
                form = self._index(form)
        return form

    def _member(self, base: ast.Expression) -> ast.Expression:
        name = self.name("a name after .")
        return ast.Member(base, name, base.start, self.last_end)

    def _index(self, base: ast.Expression) -> ast.Expression:
        parts: list[ast.Expression | None] = []
        while True:
            parts.append(None if self.operand() in {":", "]"} else self.expression())
            if len(parts) > 2 or not self.accept(":"):
                break
        if len(parts) == 1 and parts[0] is None:
            self.fail("an index is missing between [ and ]")
        self.expect("]", "after the index")
        if len(parts) == 1 and parts[0] is not None:
            return ast.Index(base, parts[0], base.start, self.last_end)
        low, high, step = (*parts, None, None)[:3]
        return ast.Slice(base, low, high, step, base.start, self.last_end)

    def _items(self, closer: str, where: str) -> tuple[ast.Expression, ...]:
        """`[expression {"," expression} [","]] closer`."""
        items = []
        while self.operand() != closer:
            items.append(self.expression())
            if not self.accept(","):
                break
        hint = "there are no named arguments; give the values in order" if self.kind == "=" else ""
        self.expect(closer, where, hint)
        return tuple(items)

    def _primary(self) -> ast.Expression:
        start = self._starts[self.index]
        kind = self.kind
        if kind == NAME:
            return self._word(start)
        reader = _PRIMARY.get(kind)
        if reader is None:
            what = "the expression stops here" if kind in {END, ";", ")", "]", "}"} else f"found {self.found()}"
            self.fail(f"expected a value, but {what}" if kind != END else "the program stops inside an expression")
        return reader(self, start)

    def _word(self, start: int) -> ast.Expression:
        text = self._texts[self.index]
        if text == "fn":
            return self._arrow(start)
        self.index += 1
        self.kind = self._kinds[self.index]
        if text == "true" or text == "false":  # noqa: PLR1714  a set would be hashed for every name
            return ast.Boolean(text == "true", start, start + len(text))
        return ast.Name(text, start, start + len(text))

    def _number(self, start: int) -> ast.Expression:
        text = self._texts[self.index]
        self.advance()
        value = int(text) if text.isdigit() else float(text)
        return ast.Number(value, start, start + len(text))

    def _string(self, start: int) -> ast.Expression:
        value = self.string_value()
        self.advance()
        return ast.String(value, start, self.last_end)

    def _group(self, start: int) -> ast.Expression:
        del start
        self.advance()
        inner = self.expression()
        self.expect(")", "to close the parenthesis", _OPERATOR_HINTS.get(self.kind, ""))
        return inner

    def _array(self, start: int) -> ast.Expression:
        self.advance()
        items = self._items("]", "to close the array")
        return ast.Array(items, start, self.last_end)

    def _object(self, start: int) -> ast.Expression:
        self.advance()
        keys, values = [], []
        while self.operand() != "}":
            keys.append(self._key())
            self.expect(":", "after the key of an object")
            values.append(self.expression())
            if not self.accept(","):
                break
        self.expect("}", "to close the object")
        return ast.ObjectLiteral(tuple(keys), tuple(values), start, self.last_end)

    def _key(self) -> str:
        if self.kind == STRING:
            return self.string("a key")
        return self.name("a key, which is a name or a string,")

    def _arrow(self, start: int) -> ast.Expression:
        self.advance()
        self.expect("(", "after fn")
        parameters = self.parameters()
        self.expect("=>", "after the parameters of fn")
        body: ast.Expression | ast.Block
        body = self.block("fn") if self._opens_block() else self.expression()
        return ast.Arrow(parameters, body, start, self.last_end)

    def _opens_block(self) -> bool:
        """Whether the `{` after `=>` opens a block: `{}` and `{key: ...}` are objects."""
        if self.operand() != "{":
            return False
        self.advance()
        first = self.operand()
        is_object = first == "}" or (first in {NAME, STRING} and self.ahead(1) == ":")
        self.index -= 1
        self.kind = "{"
        return not is_object

    def parameters(self) -> tuple[ast.Parameter, ...]:
        """`[NAME [":" NAME] {"," NAME [":" NAME]} [","]] ")"`."""
        parameters: list[ast.Parameter] = []
        while self.operand() != ")":
            start = self.start
            name = self.name("the name of a parameter")
            if name == "fn" or any(known.name == name for known in parameters):
                self.refuse(
                    f"the parameter {name} is there twice" if name != "fn" else "fn is a reserved word",
                    start,
                    start + len(name),
                )
            annotation = self.name("a type after :") if self.accept(":") else ""
            parameters.append(ast.Parameter(name, annotation, start, self.last_end))
            if not self.accept(","):
                break
        self.expect(")", "after the parameters", "there are no default values" if self.kind == "=" else "")
        return tuple(parameters)

    def block(self, what: str) -> ast.Block:
        """`"{" {statement} "}"`; the statements are the other half of the parser."""
        raise NotImplementedError(what)


_PRIMARY: dict[str, Callable[[Expressions, int], ast.Expression]] = {
    NUMBER: Expressions._number,  # noqa: SLF001
    STRING: Expressions._string,  # noqa: SLF001
    "(": Expressions._group,  # noqa: SLF001
    "[": Expressions._array,  # noqa: SLF001
    "{": Expressions._object,  # noqa: SLF001
}
