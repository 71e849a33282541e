"""Statements and whole programs: source to tree, several errors per run.

    program     = {capability | import | statement}
    statement   = function | if | while | for | try | simple ";"
    function    = "function" NAME "(" [parameters] ")" block
    if          = "if" "(" expression ")" block {("elif" | "else" "if") "(" expression ")" block} ["else" block]
    while       = "while" "(" expression ")" block
    for         = "for" "(" NAME "in" expression ")" block
    try         = "try" block {("except" | "catch") ["(" NAME ")"] block} ["finally" block]
    simple      = "break" | "continue" | "return" [expression] | "throw" expression | "nonlocal" NAME {"," NAME}
                | expression [("=" | "+=" | "-=" | "*=" | "/=" | "//=" | "%=") expression]
    import      = "import" NAME {"." NAME} ["as" NAME] ";"
    capability  = "capability" NAME "{" {"resource" STRING ";" | "allow" NAME [STRING] ";"} "}"
    block       = "{" {statement} "}"

The keywords are names with a meaning in their place only. Bounds: `source.MAX_SOURCE`, `lexer.MAX_TOKENS`,
`cursor.MAX_DEPTH`, `expressions.MAX_CHAIN`.
"""

from __future__ import annotations

from launcher.language import ast
from launcher.language.cursor import SyntaxFailure, TooDeepError
from launcher.language.diagnostics import MAX_DIAGNOSTICS, SourceError
from launcher.language.expressions import Expressions
from launcher.language.lexer import END, NAME, SLASHES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from launcher.language.source import Source

_ASSIGN = frozenset({"=", "+=", "-=", "*=", "/=", "%="})
_FOREIGN = {
    "let": "variables need no declaration: write `name = value;`",
    "var": "variables need no declaration: write `name = value;`",
    "const": "variables need no declaration: write `name = value;`",
    "def": "functions are written `function name(a, b) { ... }`",
    "class": "there are no classes; use objects and closures",
    "switch": "there is no switch; use if and elif",
    "match": "there is no match; use if and elif",
    "do": "there is no do; use while",
    "from": "imports are written `import name;` or `import name as other;`",
}


def parse(source: Source) -> ast.Program:
    """The tree of a source. Raises SourceError with every syntax error that was found."""
    program, _comments = parse_with_comments(source)
    return program


def parse_with_comments(source: Source) -> tuple[ast.Program, list[tuple[int, int]]]:
    """The tree, and the spans of its comments in order."""
    parser = Parser(source)
    body: list[ast.Statement] = []
    try:
        body = parser.statements(top=True)
    except TooDeepError as error:
        parser.findings.items.append(error.diagnostic)
    except SourceError as error:
        known = parser.findings.items
        known.extend([item for item in error.diagnostics if item not in known])
    parser.findings.raise_any()
    return ast.Program(tuple(body), 0, len(source.text)), parser.lexer.comments


class Parser(Expressions):
    """The part of the parser that reads statements."""

    __slots__ = ()

    def statements(self, *, top: bool) -> list[ast.Statement]:
        """Statements up to the `}` that closes their block, or the end of the program."""
        body: list[ast.Statement] = []
        while self.operand() != END:
            if self.kind == "}" and not top:
                break
            if self.kind == "}" and self.findings.items:
                self._skip()  # left over from a block whose beginning was in error
                continue
            depth = self.depth
            try:
                body.append(self.statement(top=top))
            except TooDeepError:
                raise
            except SyntaxFailure as error:
                self.depth = depth
                self._recover(error, top=top)
        return body

    def _recover(self, error: SyntaxFailure, *, top: bool) -> None:
        """Record an error and move to where the next statement may begin."""
        self.findings.items.append(error.diagnostic)
        if len(self.findings.items) >= MAX_DIAGNOSTICS:
            self.findings.raise_any()
        nesting = 0
        while self.kind != END:
            if self.kind == "{":
                nesting += 1
            elif self.kind == "}":
                nesting -= 1
                if nesting < 0:
                    if top:
                        self._skip()
                    return
                if not nesting:
                    self._skip()
                    return
            elif self.kind == ";" and not nesting:
                self._skip()
                return
            self._skip()

    def _skip(self) -> None:
        """One token on, `//` being a comment: after an error nobody knows, and comments are more frequent."""
        if self.kind != END:
            if self.kind == SLASHES:
                self.operand()
            else:
                self.advance()
                self.operand()

    def statement(self, *, top: bool) -> ast.Statement:
        """`statement` of the module's grammar."""
        start = self.start
        if self.kind == NAME:
            word = self._texts[self.index]
            reader = _STATEMENTS.get(word)
            if reader is not None:
                self.advance()
                return reader(self, start)
            if word in {"import", "capability"}:
                return self._declaration(word, start, top=top)
        elif self.kind == "{":
            return self._braced(start)
        elif self.kind == ";":
            self.fail("an empty statement", hint="there is no ; after the } of a block")
        return self._simple(start)

    def _declaration(self, word: str, start: int, *, top: bool) -> ast.Statement:
        if not top:
            self.fail(f"{word} is allowed only at the top level", hint=f"move the {word} out of the block")
        self.advance()
        return self._import(start) if word == "import" else self._capability(start)

    def end(self) -> int:
        """The `;` that ends a simple statement; returns its end."""
        if self.operand() != ";":
            self._missing_semicolon()
        self.advance()
        return self._ends[self.index - 1]

    def _missing_semicolon(self) -> None:
        before = self.last_end
        previous = self._texts[self.index - 1]
        hint = _FOREIGN.get(previous, "") if self._kinds[self.index - 1] == NAME else ""
        line, _ = self.lexer.source.position(before)
        if not hint and self.lexer.source.position(self.start)[0] > line:
            self.refuse("a ; is missing at the end of the statement", before, before + 1)
        if self.kind == "=":
            hint = "assignments do not chain, and only a variable, a[i], a[i:j] or o.name can be assigned to"
        self.fail(f"expected ; after the statement, found {self.found()}", hint=hint)

    def _simple(self, start: int) -> ast.Statement:
        value = self.expression()
        if self.kind in _ASSIGN:
            return self._assignment(value, self.kind, start)
        if self.kind == SLASHES:  # the expression stopped in front of it: it is `//=`
            self.divide()
            return self._assignment(value, "//=", start)
        return ast.ExpressionStatement(value, start, self.end())

    def _assignment(self, target: ast.Expression, operator: str, start: int) -> ast.Statement:
        self.advance()
        operator = operator[:-1]
        if isinstance(target, ast.Array) and not operator:
            return self._destructure("[", target.items, start)
        if not isinstance(target, (ast.Name, ast.Index, ast.Slice, ast.Member)):
            hint = "a variable, a[i], a[i:j], o.name, [a, b] or {x, y} can stand left of ="
            self.refuse("this cannot be assigned to", target.start, target.end, hint)
        if isinstance(target, ast.Name) and target.name == "fn":
            self.refuse("fn is a reserved word", target.start, target.end)
        value = self.expression()
        return ast.Assign(target, operator, value, start, self.end())

    def _destructure(self, form: str, items: tuple[ast.Expression, ...], start: int) -> ast.Statement:
        names = tuple(item for item in items if isinstance(item, ast.Name))
        if not names or len(names) != len(items):
            self.refuse("only plain names can stand in a destructuring assignment", start, self.last_end)
        value = self.expression()
        return ast.Destructure(form, names, value, start, self.end())

    def _braced(self, start: int) -> ast.Statement:
        """A statement that begins with `{`: `{x, y} = e;`, or an object as an expression."""
        self.advance()
        shorthand = self.operand() == NAME and self.ahead(1) in {",", "}"}
        if not shorthand:
            self.index -= 1
            self.kind = "{"
            if self.ahead(1) == NAME and self.ahead(2) != ":":
                self.fail("a block cannot stand alone", hint="blocks belong to if, while, for, try and functions")
            return self._simple(start)
        names = []
        while self.operand() != "}":
            at = self.start
            names.append(ast.Name(self.name("a name"), at, self.last_end))
            if not self.accept(","):
                break
        self.expect("}", "to close the names")
        self.expect("=", "after {x, y}", "a block cannot stand alone; an object needs keys with values")
        return self._destructure("{", tuple(names), start)

    def block(self, what: str) -> ast.Block:
        """`block` of the module's grammar."""
        start = self.start if self.operand() else 0
        self.expect("{", f"to open the block of {what}", "braces are required")
        self.deeper()
        body = self.statements(top=False)
        self.depth -= 1
        if self.kind == END:
            self.findings.add(f"this block of {what} is never closed", start, start + 1, hint="close it with }")
            self.findings.raise_any()
        self.advance()
        return ast.Block(tuple(body), start, self.last_end)

    # One reader a keyword; the keyword itself is read.

    def _function(self, start: int) -> ast.Statement:
        name = self.name("the name of the function", "a function without a name is `fn(x) => ...`")
        self.expect("(", "after the name of the function")
        parameters = self.parameters()
        body = self.block("the function")
        return ast.Function(name, parameters, body, start, body.end)

    def _condition(self, word: str) -> ast.Expression:
        self.expect("(", f"after {word}", f"write {word} (condition) {{ ... }}")
        test = self.expression()
        hint = "= assigns; to compare, write ==" if self.kind == "=" else ""
        self.expect(")", f"after the condition of {word}", hint)
        return test

    def _if(self, start: int) -> ast.Statement:
        branches = [self._branch("if", start)]
        otherwise = None
        while True:
            at, word = self.start if self.operand() else 0, self.word()
            if word == "elif" and self.ahead(1) == "(":
                self.advance()
                branches.append(self._branch("elif", at))
            elif word == "else":
                self.advance()
                if self.word() == "if":
                    self.advance()
                    branches.append(self._branch("else if", at))
                    continue
                otherwise = self.block("else")
                break
            else:
                break
        return ast.If(tuple(branches), otherwise, start, self.last_end)

    def _branch(self, word: str, start: int) -> ast.Branch:
        test = self._condition(word)
        body = self.block(word)
        return ast.Branch(test, body, start, body.end)

    def _while(self, start: int) -> ast.Statement:
        test = self._condition("while")
        body = self.block("while")
        return ast.While(test, body, start, body.end)

    def _for(self, start: int) -> ast.Statement:
        self.expect("(", "after for", "the only form is for (x in values) { ... }")
        self.operand()
        at = self.start
        name = ast.Name(self.name("the variable of the loop"), at, self.last_end)
        if self.word() != "in":
            self.fail(f"expected in, found {self.found()}", hint="the only form is for (x in values) { ... }")
        self.advance()
        iterable = self.expression()
        self.expect(")", "after the values of for")
        body = self.block("for")
        return ast.For(name, iterable, body, start, body.end)

    def _try(self, start: int) -> ast.Statement:
        body = self.block("try")
        handlers = []
        while self.word() in {"except", "catch"} and self.ahead(1) in {"(", "{", SLASHES}:
            handlers.append(self._handler())
        final = None
        if self.word() == "finally" and self.ahead(1) in {"{", SLASHES}:
            self.advance()
            final = self.block("finally")
        return ast.Try(body, tuple(handlers), final, start, self.last_end)

    def _handler(self) -> ast.Handler:
        start, word = self.start, self.text
        self.advance()
        name = None
        if self.accept("("):
            self.operand()
            at = self.start
            name = ast.Name(self.name(f"the variable of {word}"), at, self.last_end)
            self.expect(")", f"after the variable of {word}")
        body = self.block(word)
        return ast.Handler(name, body, start, body.end)

    def _break(self, start: int) -> ast.Statement:
        return ast.Break(start, self.end())

    def _continue(self, start: int) -> ast.Statement:
        return ast.Continue(start, self.end())

    def _return(self, start: int) -> ast.Statement:
        value = None if self.operand() == ";" else self.expression()
        return ast.Return(value, start, self.end())

    def _throw(self, start: int) -> ast.Statement:
        value = self.expression()
        return ast.Throw(value, start, self.end())

    def _nonlocal(self, start: int) -> ast.Statement:
        names = []
        while True:
            self.operand()
            at = self.start
            names.append(ast.Name(self.name("the name of a variable"), at, self.last_end))
            if not self.accept(","):
                break
        return ast.Nonlocal(tuple(names), start, self.end())

    def _import(self, start: int) -> ast.Statement:
        path = [self.name("the name of a module", "imports are written `import name;`")]
        while self.accept("."):
            path.append(self.name("the name of a module after ."))
        alias = ""
        if self.word() == "as":
            self.advance()
            alias = self.name("a name after as")
        return ast.Import(tuple(path), alias, start, self.end())

    def _capability(self, start: int) -> ast.Statement:
        name = self.name("the name of the capability")
        self.expect("{", "to open the capability")
        items: list[ast.Resource | ast.Allow] = []
        while self.operand() != "}":
            items.append(self._capability_item())
        self.advance()
        return ast.Capability(name, tuple(items), start, self.last_end)

    def _capability_item(self) -> ast.Resource | ast.Allow:
        start, word = self.start, self.word()
        if word not in {"resource", "allow"}:
            hint = 'a capability block holds `resource "pattern";` and `allow operation;`'
            self.fail(f"expected resource or allow, found {self.found()}", hint=hint)
        self.advance()
        if word == "resource":
            pattern = self.string("a pattern in quotes after resource")
            return ast.Resource(pattern, start, self.end())
        operation = self.name("an operation after allow")
        target = None if self.operand() == ";" else self.string("a target in quotes, or ;")
        return ast.Allow(operation, target, start, self.end())


_STATEMENTS: dict[str, Callable[[Parser, int], ast.Statement]] = {
    "function": Parser._function,  # noqa: SLF001
    "if": Parser._if,  # noqa: SLF001
    "while": Parser._while,  # noqa: SLF001
    "for": Parser._for,  # noqa: SLF001
    "try": Parser._try,  # noqa: SLF001
    "break": Parser._break,  # noqa: SLF001
    "continue": Parser._continue,  # noqa: SLF001
    "return": Parser._return,  # noqa: SLF001
    "throw": Parser._throw,  # noqa: SLF001
    "nonlocal": Parser._nonlocal,  # noqa: SLF001
}
