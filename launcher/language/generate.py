"""Statements to host code: the text of a whole program.

The program becomes the body of one function, so that its variables are locals of that function and cells of those
inside it: as quick as the host's own. Host names never come from the program: identifiers are ASCII words with a
prefix, everything else is `repr` of a string or number.
"""

from __future__ import annotations

from launcher.language import ast
from launcher.language.generate_calls import CallGenerator
from launcher.language.generate_expressions import Text
from launcher.language.purity import GUARDED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from launcher.language.names import Names
    from launcher.language.scopes import Scope

# `elif` becomes `else: if` up to this indentation; the host takes 100 levels.
_DEEPEST_ELSE = 40


class Generator(CallGenerator):
    """The statements."""

    __slots__ = ("_imports", "_result", "session", "text")

    def __init__(self, names: Names, scope: Scope, text: str) -> None:
        super().__init__(names, scope)
        self.text = text
        self.session = False
        self._imports: list[tuple[int, str]] = []
        self._result = False

    def session_text(self, node: ast.Program) -> str:
        """The text of one input of a session."""
        *body, last = node.body or (ast.ExpressionStatement(ast.Name("null")),)
        if isinstance(last, ast.ExpressionStatement):
            echo = ast.ExpressionStatement(last.value, last.start, last.end)
            self.body(body)
            self.statement, self.at = len(self.lines), last.start
            self._value("echo({})", echo.value, echo)
        else:
            self.body(node.body)
        return "\n".join(self.lines)

    def program(self, node: ast.Program, *, module: bool) -> str:
        """The text of a whole program: a definition of `main`."""
        self._result = "result" in self.scope.locals and not module
        self.line("def main():")
        self.indent = 1
        if module:
            exported = ", ".join([f"{name!r}: lambda: v_{name}" for name in sorted(self.scope.locals)])
            self.line(f"export({{{exported}}})")
        self.body(node.body)
        self.at = node.end
        self.finish()
        self._bind_members()
        return "\n".join(self.lines)

    def finish(self) -> None:
        """The end of the program: the value of `result` if it has one."""
        if self._result:
            self.line("try: return v_result")
            self.line("except NameError: return NOTHING")
        else:
            self.line("return NOTHING")

    def _bind_members(self) -> None:
        """Behind each import, bind the members that are called to temporaries of the main function."""
        for index, variable in self._imports:
            binds = [
                f"{name} = function_of(v_{variable}, {member!r})"
                for (owner, member), name in self.members.items()
                if owner == variable
            ]
            if binds:
                self.lines[index] += "; " + "; ".join(binds)

    def body(self, statements: Iterable[ast.Statement]) -> None:
        """Statements at the current indentation; at least one line."""
        before, temporaries = len(self.lines), self.temporaries
        if not self.single and not self.session:
            statements = tuple(statements)
            self.repeated.find(statements)
        for statement in statements:
            self.temporaries = temporaries
            self.statement = len(self.lines)
            self.at = statement.start
            _STATEMENTS[type(statement)](self, statement)
        if len(self.lines) == before:
            self.line("pass")

    def block(self, block: ast.Block) -> None:
        self.indent += 1
        self.body(block.body)
        self.indent -= 1

    def last(self, text: str, node: ast.Node) -> None:
        """The line that ends a statement."""
        self.at = node.start
        self.line(text)

    # Simple statements.

    def expression_statement(self, node: ast.ExpressionStatement) -> None:
        self._value("{}", node.value, node)

    def _value(self, pattern: str, value: ast.Expression, node: ast.Node) -> None:
        """The last line of a statement with one value in it, or the two lines of both paths."""
        if self.pure(value) == GUARDED:
            self.guarded(pattern, [value])
            return
        both = self.list_call(value)
        if both is None:
            self.last(pattern.format(self.expression(value)), node)
        else:
            self.line(f"try: {pattern.format(both[0])}")
            self.line(f"except MISS: {pattern.format(both[1])}")

    def assign(self, node: ast.Assign) -> None:
        target = node.target
        if node.operator:
            self._compound(node)
        elif isinstance(target, ast.Name):
            self._value(f"v_{target.name} = {{}}", node.value, node)
        elif isinstance(target, ast.Index):
            self._set_index(target, node)
        elif isinstance(target, ast.Member):
            self._set_member(target, node.value, node)
        else:
            self._set_slice(target, node)  # type: ignore[arg-type]

    def _set_index(self, target: ast.Index, node: ast.Assign) -> None:
        parts = (node.value, target.base, target.index)
        if self.pure_all(parts) == GUARDED:
            fast, slow = self.both(parts)
            self.line(f"try: {self.subscriptable(fast[1])}[{fast[2]}] = {fast[0]}")
            self.line(f"except MISS: {self.subscriptable(slow[1])}[{slow[2]}] = {slow[0]}")
            return
        value, base, index = self.operands(parts)
        self.last(f"{self.subscriptable(base)}[{index}] = {value}", node)

    def _set_member(self, target: ast.Member, value: ast.Expression, node: ast.Node) -> None:
        parts: tuple[ast.Expression, ...] = (value, target.base)
        if self.single or not self.pure_all(parts):
            parts = tuple([Text(self.keep(text)) for text in self.operands(parts)])
        self.at = node.start
        if self.single:
            self.line(f"set_entry({self.expression(parts[1])}, {target.name!r}, {self.expression(parts[0])})")
            return
        fast, slow = self.both(parts)
        self.line(f"try: {self.subscriptable(fast[1])}[{target.name!r}] = {fast[0]}")
        self.line(f"except MISS: set_entry({slow[1]}, {target.name!r}, {slow[0]})")

    def _set_slice(self, target: ast.Slice, node: ast.Assign) -> None:
        parts = [part for part in (target.low, target.high, target.step) if part is not None]
        texts = iter(self.operands((node.value, target.base, *parts)))
        value, base = next(texts), next(texts)
        bounds = [next(texts) if part is not None else "" for part in (target.low, target.high, target.step)]
        # Since CPython 3.12 a slice can be the key of a dictionary, where no ML program may put one.
        self.last(f"array({base})[{':'.join(bounds)}] = {value}", node)

    def _compound(self, node: ast.Assign) -> None:
        """`target op= value` is `target = target op value`, with the parts of the target evaluated once."""
        target = node.target
        if isinstance(target, (ast.Index, ast.Member, ast.Slice)):
            target = self._once(target)
        value = ast.Binary(node.operator, target, node.value, node.start, node.end)
        self.assign(ast.Assign(target, "", value, node.start, node.end))

    def _once(self, target: ast.Index | ast.Member | ast.Slice) -> ast.Expression:
        if isinstance(target, ast.Member):
            return ast.Member(Text(self.keep(self.expression(target.base))), target.name, target.start, target.end)
        if isinstance(target, ast.Index):
            base, index = [Text(self.keep(text)) for text in self.operands((target.base, target.index))]
            return ast.Index(base, index, target.start, target.end)
        parts = (target.low, target.high, target.step)
        given = [part for part in parts if part is not None]
        texts = iter([Text(self.keep(text)) for text in self.operands((target.base, *given))])
        base = next(texts)
        low, high, step = [None if part is None else next(texts) for part in parts]
        return ast.Slice(base, low, high, step, target.start, target.end)

    def destructure(self, node: ast.Destructure) -> None:
        value = self.expression(node.value)
        if node.form == "[":
            self.last(f"{''.join([f'v_{name.name}, ' for name in node.names])}= {value}", node)
            return
        kept = self.subscriptable(self.keep(value))
        for name in node.names:
            self.line(f"v_{name.name} = {kept}[{name.name!r}]")

    def jump(self, node: ast.Break | ast.Continue) -> None:
        self.line("break" if isinstance(node, ast.Break) else "continue")

    def return_(self, node: ast.Return) -> None:
        if self.scope.outer is not None or self.session:
            self._value("return {}", node.value or ast.Name("null"), node)
            return
        if node.value is not None:
            self._value("{}", node.value, node)
        self.finish()

    def throw(self, node: ast.Throw) -> None:
        literal = isinstance(node.value, ast.ObjectLiteral) and "severity" not in node.value.keys
        value = self.expression(node.value)
        self.last(f"raise UserError({value})" if literal else f"raise thrown({value})", node)

    def nonlocal_(self, node: ast.Nonlocal) -> None:
        """Declared at the head of the function, where the host wants it."""

    def import_(self, node: ast.Import) -> None:
        path = ".".join(node.path)
        variable = node.alias or node.path[0]
        if path not in self.names.modules:
            # Bound nowhere: calling the name must find an unbound variable, not a host name.
            self.line(f"v_{variable} = None; del v_{variable}")
            return
        whole = "True" if node.alias else "False"
        self._imports.append((len(self.lines), variable))
        self.line(f"v_{variable} = load({path!r}, {whole})")

    def capability(self, node: ast.Capability) -> None:
        """A declaration: `launcher.language.declare` reads it, nothing happens here."""

    # Compound statements.

    def if_(self, node: ast.If) -> None:
        word, indent, statement = "if", self.indent, self.statement
        for branch in node.branches:
            self.at = branch.start
            if word == "elif" and self.indent < _DEEPEST_ELSE and self.pure(branch.test) == GUARDED:
                # A test on two paths needs lines of its own.
                self.line("else:")
                self.indent += 1
                statement, word = len(self.lines), "if"
            self.statement = statement
            test = self.test(branch.test) if word == "if" else self.sometimes(branch.test)
            self.line(f"{word} {test}:")
            self.block(branch.body)
            word = "elif"
        if node.otherwise is not None:
            self.line("else:")
            self.block(node.otherwise)
        self.indent = indent

    def while_(self, node: ast.While) -> None:
        written = self.written
        test = self.test(node.test)
        count = self.written - written
        if not count:
            self.last(f"while {test}:", node)
        else:
            # The test needs statements, so they become the head of the body; `continue` leads there too.
            lines, marks = self.lines[-count:], self.marks[-count:]
            del self.lines[-count:], self.marks[-count:]
            self.last("while True:", node)
            self.lines += [" " + line for line in lines]
            self.marks += marks
            self.line(f" if not {test}: break")
        self.block(node.body)

    def for_(self, node: ast.For) -> None:
        iterable = node.iterable
        name = f"v_{node.name.name}"
        if isinstance(iterable, ast.Call) and isinstance(iterable.callee, ast.Name) and iterable.callee.name == "range":
            values = f"range({', '.join(self.operands(iterable.arguments))})"
        else:
            values = self.expression(iterable)
        self.last(f"for {name} in {values}:", node)
        self.block(node.body)

    def try_(self, node: ast.Try) -> None:
        if not node.handlers and (node.final is None or not node.final.body):
            self.body(node.body.body)
            return
        self.line("try:")
        self.block(node.body)
        caught = "Exception"
        for handler in node.handlers:
            self._handler(handler, caught)
            caught = "()"  # the first handler catches everything: the others bind their names and never run
        if node.final is not None and node.final.body:
            self.line("finally:")
            self.block(node.final)

    def _handler(self, handler: ast.Handler, caught: str) -> None:
        self.at = handler.start
        if handler.name is None:
            self.line(f"except {caught}:")
            self.block(handler.body)
            return
        name = f"v_{handler.name.name}"
        self.line(f"except {caught} as {name}:")  # the host unbinds it at the end of the block, as ML does
        self.indent += 1
        if self._is_read(handler, handler.name.name):
            self.line(f"{name} = caught({name})")
        self.body(handler.body.body)
        self.indent -= 1

    def _is_read(self, handler: ast.Handler, name: str) -> bool:
        """Whether anything may read the caught value: the block itself, or a function that has the variable."""
        mine = name in self.scope.locals and name not in self.scope.captured and not self.session
        return not mine or name in self.text[handler.body.start : handler.body.end]

    # Functions.

    def function(self, node: ast.Function) -> None:
        name = f"v_{node.name}"
        self.line(f"def {name}({_parameters(node.parameters)}):")
        self._inside(node, lambda: self.body(node.body.body))

    def _inside(self, node: ast.Node, write: Callable[[], Any]) -> Any:
        """Write the inside of a function, with its own scope and temporaries."""
        kept = self.scope, self.temporaries, self.statement, self.inline, self.at
        self.scope = self.purity.scope = self.names.scopes[node]
        self.temporaries, self.inline = 0, False
        self.indent += 1
        for name in sorted(self.scope.outward):
            self.line(f"{self._outward_word(name)} v_{name}")
        written = write()
        self.indent -= 1
        self.scope, self.temporaries, self.statement, self.inline, self.at = kept
        self.purity.scope = self.scope
        return written

    def _outward_word(self, name: str) -> str:
        """The top level of a session is the host's global scope."""
        owner = self.scope.outer.owner(name) if self.scope.outer else None
        return "global" if self.session and owner is not None and owner.outer is None else "nonlocal"

    def arrow(self, node: ast.Arrow) -> str:
        lines, marks, written = self.lines, self.marks, self.written
        self.lines, self.marks = [], []
        name = self.temporary()
        parameters = _parameters(node.parameters)
        self.at = node.start
        self.line(f"def {name}({parameters}):")
        text = self._inside(node, lambda: self._arrow_body(node.body))
        inner_lines, inner_marks = self.lines, self.marks
        self.lines, self.marks, self.written = lines, marks, written
        if len(inner_lines) == 2 and text:
            return f"(lambda {parameters}: {text})"
        # A definition may be moved in front of the statement: making a function has no effect of its own.
        self.lines[self.statement : self.statement] = inner_lines
        self.marks[self.statement : self.statement] = inner_marks
        return name

    def _arrow_body(self, body: ast.Expression | ast.Block) -> str:
        """Writes the body; returns its text when it is one expression."""
        if isinstance(body, ast.Block):
            self.statement = len(self.lines)
            self.body(body.body)
            return ""
        self.statement = len(self.lines)
        if self.pure(body) == GUARDED:
            self.guarded("return {}", [body])
            return ""
        text = self.expression(body)
        self.line(f"return {text}")
        return text


def _parameters(parameters: Iterable[ast.Parameter]) -> str:
    return ", ".join([f"v_{parameter.name}" for parameter in parameters])


_STATEMENTS: dict[type[ast.Statement], Callable[[Generator, Any], None]] = {
    ast.ExpressionStatement: Generator.expression_statement,
    ast.Assign: Generator.assign,
    ast.Destructure: Generator.destructure,
    ast.Function: Generator.function,
    ast.If: Generator.if_,
    ast.While: Generator.while_,
    ast.For: Generator.for_,
    ast.Break: Generator.jump,
    ast.Continue: Generator.jump,
    ast.Return: Generator.return_,
    ast.Throw: Generator.throw,
    ast.Try: Generator.try_,
    ast.Nonlocal: Generator.nonlocal_,
    ast.Import: Generator.import_,
    ast.Capability: Generator.capability,
}
