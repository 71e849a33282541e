"""The checks that need names: unknown names, `nonlocal`, `break` outside loops, reaching for the host language.

A name may be read only if something above that point in the text binds it: an assignment (in whatever function), a
parameter of an enclosing function, a `for`, `except` or destructured name, a function, an import that exists, a
builtin. Calling a name is not reading it: functions may call what is defined further down. Member names and keys are
never checked.
"""

from __future__ import annotations

from launcher.capability.suggest import suggest
from launcher.language import analysis, ast
from launcher.language.catalogue import BUILTIN_MODULE, BUILTINS, CONSTANTS, LIBRARY
from launcher.language.diagnostics import MAX_DIAGNOSTICS, Findings
from launcher.language.scopes import Scope

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from launcher.language.source import Source

    ModuleTest = Callable[[str], bool]


class Names:
    """What the check finds out: the scope of each function node, and the modules that the program imports."""

    __slots__ = ("modules", "scopes")

    def __init__(self) -> None:
        self.scopes: dict[ast.Node, Scope] = {}
        self.modules: list[str] = []


def check(program: ast.Program, source: Source, is_module: ModuleTest, known: Iterable[str] = ()) -> Names:
    """Check a program. Raises SourceError with every finding.

    `is_module` says whether a user module of that dotted name exists; `known` are names that earlier inputs of a
    session have defined.
    """
    walk = _Walk(program, source, is_module, known)
    walk.run()
    walk.findings.raise_any()
    return walk.names


class _Walk:
    """One pass over the program in the order of its text."""

    def __init__(self, program: ast.Program, source: Source, is_module: ModuleTest, known: Iterable[str]) -> None:
        self.program = program
        self.is_module = is_module
        self.findings = Findings(source)
        self.names = Names()
        self.scope = Scope(None)
        self.scope.locals.update(known)
        self.bound = {*known, *BUILTINS, *CONSTANTS, BUILTIN_MODULE}
        self.loops = 0
        self.missing: set[str] = set()
        # Names that the assignments around this point are about to bind.
        self.assigning: list[str] = []

    def run(self) -> None:
        self.scope.collect(self.program.body)
        self.names.scopes[self.program] = self.scope
        self.statements(self.program.body)

    def refuse(self, message: str, node: ast.Node, hint: str = "", code: str = "name") -> None:
        self.findings.add(message, node.start, node.end, hint=hint, code=code)
        if len(self.findings.items) >= MAX_DIAGNOSTICS:
            self.findings.raise_any()

    # Statements.

    def statements(self, body: Iterable[ast.Statement]) -> None:
        for statement in body:
            _STATEMENTS[type(statement)](self, statement)

    def expression_statement(self, node: ast.ExpressionStatement) -> None:
        self.read(node.value)

    def assign(self, node: ast.Assign) -> None:
        target = node.target
        if type(target) is ast.Name:
            if node.operator:
                self.name(target)
            self.assigning.append(target.name)
            self.read(node.value)
            self.assigning.pop()
            self.bind(target)
        else:
            self.read(node.value)
            self.read(target)

    def bind(self, node: ast.Name) -> None:
        analysis.bound(self, node)
        self.bound.add(node.name)

    def destructure(self, node: ast.Destructure) -> None:
        self.read(node.value)
        for name in node.names:
            self.bind(name)

    def function(self, node: ast.Function) -> None:
        self.bind(ast.Name(node.name, node.start, node.end))
        self.inner(node, node.parameters, node.body.body)

    def inner(self, node: ast.Node, parameters: tuple[ast.Parameter, ...], body: Any) -> None:
        """A function: its own scope, its parameters known inside it only."""
        scope, loops = self.scope, self.loops
        self.scope = Scope(scope, parameters)
        self.names.scopes[node] = self.scope
        self.loops = 0
        for parameter in parameters:
            analysis.bound(self, parameter)
        # `o = {f: fn() => o.x};`: by the time the arrow runs, the assignment around it has happened.
        assigning, self.assigning = self.assigning, []
        added = set(assigning) - self.bound
        self.bound |= added
        if isinstance(body, tuple):
            self.scope.collect(body)
            self.statements(body)
        else:
            self.read(body)
        self.scope, self.loops = scope, loops
        self.bound -= added
        self.assigning = assigning

    def if_(self, node: ast.If) -> None:
        for branch in node.branches:
            self.read(branch.test)
            self.statements(branch.body.body)
        if node.otherwise is not None:
            self.statements(node.otherwise.body)

    def while_(self, node: ast.While) -> None:
        self.read(node.test)
        self.loop(node.body)

    def for_(self, node: ast.For) -> None:
        self.read(node.iterable)
        self.bind(node.name)
        self.loop(node.body)

    def loop(self, body: ast.Block) -> None:
        self.loops += 1
        self.statements(body.body)
        self.loops -= 1

    def jump(self, node: ast.Break | ast.Continue) -> None:
        if not self.loops:
            word = "break" if type(node) is ast.Break else "continue"
            self.refuse(f"{word} outside a loop", node, f"{word} belongs inside while or for", "syntax")

    def value(self, node: ast.Return | ast.Throw) -> None:
        if node.value is not None:
            self.read(node.value)

    def try_(self, node: ast.Try) -> None:
        self.statements(node.body.body)
        for handler in node.handlers:
            if handler.name is None and handler is not node.handlers[-1]:
                self.refuse("an except without a name catches everything and must be the last one", handler)
            if handler.name is not None:
                self.bind(handler.name)
            self.statements(handler.body.body)
        if node.final is not None:
            self.statements(node.final.body)

    def nonlocal_(self, node: ast.Nonlocal) -> None:
        for name in node.names:
            owner = self.scope.outer.owner(name.name) if self.scope.outer else None
            if name.name in self.scope.parameters:
                self.refuse(f"{name.name} is a parameter of this function, so it cannot be nonlocal", name)
            elif owner is None:
                self.refuse(f"no function around this one has a variable {name.name}", name, self.hint(name.name))
            else:
                owner.shared.add(name.name)
                owner.captured.add(name.name)

    def import_(self, node: ast.Import) -> None:
        path = ".".join(node.path)
        name = node.alias or node.path[0]
        if self.is_module(path) or path in LIBRARY or path == BUILTIN_MODULE:
            self.names.modules.append(path)
            self.bind(ast.Name(name, node.start, node.end))
        else:
            analysis.imported(self, node)
            self.missing.add(name)

    def capability(self, node: ast.Capability) -> None:
        del node  # launcher.language.declare reads them

    # Expressions.

    def read(self, node: ast.Expression) -> None:
        _EXPRESSIONS[type(node)](self, node)

    def name(self, node: ast.Name) -> None:
        self.mention(node.name)
        if node.name not in self.bound and not self.is_parameter(node.name):
            self.unknown(node)

    def mention(self, name: str) -> None:
        """Tell the scope that owns a name that an inner function has it."""
        if name not in self.scope.locals:
            owner = self.scope.owner(name)
            if owner is not None:
                owner.captured.add(name)

    def is_parameter(self, name: str) -> bool:
        """Whether a function around this point has such a parameter."""
        scope: Scope | None = self.scope
        while scope is not None:
            if name in scope.parameters:
                return True
            scope = scope.outer
        return False

    def unknown(self, node: ast.Name) -> None:
        if analysis.reflects(self, node):
            return
        hint = f"no module {node.name} exists, so its import binds nothing" if node.name in self.missing else ""
        self.refuse(f"unknown name {node.name}", node, hint or self.hint(node.name))

    def hint(self, name: str) -> str:
        """What may have been meant."""
        if self.scope.owner(name):
            return f"{name} gets its value further down; move that above this line"
        near = suggest(name, self.bound - CONSTANTS)
        return f"did you mean {near}?" if near else ""

    def constant(self, node: ast.Expression) -> None:
        pass

    def array(self, node: ast.Array) -> None:
        for item in node.items:
            self.read(item)

    def object(self, node: ast.ObjectLiteral) -> None:
        for value in node.values:
            self.read(value)

    def unary(self, node: ast.Unary) -> None:
        self.read(node.operand)

    def binary(self, node: ast.Binary) -> None:
        """Down the left spine without recursion: chains may be thousands of operators long."""
        rights = []
        left: ast.Expression = node
        while isinstance(left, ast.Binary):
            rights.append(left.right)
            left = left.left
        self.read(left)
        for right in reversed(rights):
            self.read(right)

    def conditional(self, node: ast.Conditional) -> None:
        self.read(node.test)
        self.read(node.yes)
        self.read(node.no)

    def call(self, node: ast.Call) -> None:
        if type(node.callee) is ast.Name:
            analysis.called(self, node.callee)
            self.mention(node.callee.name)
        else:
            self.read(node.callee)
        for argument in node.arguments:
            self.read(argument)

    def index(self, node: ast.Index) -> None:
        self.read(node.base)
        self.read(node.index)

    def slice(self, node: ast.Slice) -> None:
        for part in (node.base, node.low, node.high, node.step):
            if part is not None:
                self.read(part)

    def member(self, node: ast.Member) -> None:
        analysis.member(self, node)
        self.read(node.base)

    def arrow(self, node: ast.Arrow) -> None:
        body = node.body
        self.inner(node, node.parameters, body.body if isinstance(body, ast.Block) else body)


_STATEMENTS: dict[type[ast.Statement], Callable[[_Walk, Any], None]] = {
    ast.ExpressionStatement: _Walk.expression_statement,
    ast.Assign: _Walk.assign,
    ast.Destructure: _Walk.destructure,
    ast.Function: _Walk.function,
    ast.If: _Walk.if_,
    ast.While: _Walk.while_,
    ast.For: _Walk.for_,
    ast.Break: _Walk.jump,
    ast.Continue: _Walk.jump,
    ast.Return: _Walk.value,
    ast.Throw: _Walk.value,
    ast.Try: _Walk.try_,
    ast.Nonlocal: _Walk.nonlocal_,
    ast.Import: _Walk.import_,
    ast.Capability: _Walk.capability,
}
_EXPRESSIONS: dict[type[ast.Expression], Callable[[_Walk, Any], None]] = {
    ast.Number: _Walk.constant,
    ast.String: _Walk.constant,
    ast.Boolean: _Walk.constant,
    ast.Name: _Walk.name,
    ast.Array: _Walk.array,
    ast.ObjectLiteral: _Walk.object,
    ast.Unary: _Walk.unary,
    ast.Binary: _Walk.binary,
    ast.Conditional: _Walk.conditional,
    ast.Call: _Walk.call,
    ast.Index: _Walk.index,
    ast.Slice: _Walk.slice,
    ast.Member: _Walk.member,
    ast.Arrow: _Walk.arrow,
}
