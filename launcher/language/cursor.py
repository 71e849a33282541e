"""The parser's place in the token stream, and its ways to complain."""

from __future__ import annotations

from launcher.language.diagnostics import Diagnostic, Findings
from launcher.language.lexer import END, NAME, NUMBER, SLASHES, STRING, Lexer
from launcher.language.strings import BadEscapeError, unquote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from launcher.language.source import Source

# Parentheses, blocks and functions inside each other. CPython's own compiler stops at 100 levels of indentation, and
# a hundred levels cost the parser fewer than 500 Python frames, half of the default limit.
MAX_DEPTH = 90


class SyntaxFailure(Exception):  # noqa: N818  control flow inside the parser, never seen outside
    """One syntax error; the parser records it and goes on with the next statement."""

    def __init__(self, diagnostic: Diagnostic) -> None:
        super().__init__(diagnostic.message)
        self.diagnostic = diagnostic


class TooDeepError(SyntaxFailure):
    """Nesting beyond the bound; parsing stops."""


class Cursor:
    """Tokens one after the other: `kind` is the current one's, `index` its place in the lexer's lists."""

    __slots__ = ("_ends", "_kinds", "_starts", "_texts", "depth", "findings", "index", "kind", "lexer")

    def __init__(self, source: Source) -> None:
        self.findings = Findings(source)
        self.lexer = Lexer(source)
        self._kinds = self.lexer.kinds
        self._texts = self.lexer.texts
        self._starts = self.lexer.starts
        self._ends = self.lexer.ends
        self.index = 0
        self.depth = 0
        self.kind = self._kinds[0]

    # The current token.

    @property
    def text(self) -> str:
        return self._texts[self.index]

    @property
    def start(self) -> int:
        return self._starts[self.index]

    @property
    def last_end(self) -> int:
        """Where the token before the current one ended."""
        return self._ends[self.index - 1] if self.index else 0

    # Moves.

    def advance(self) -> None:
        self.index += 1
        self.kind = self._kinds[self.index]

    def operand(self) -> str:
        """The kind of the current token where no binary operator can stand: there `//` begins a comment."""
        while self.kind == SLASHES:
            self.lexer.as_comment()
            self.kind = self._kinds[self.index]
        return self.kind

    def divide(self) -> None:
        """Take the current `//` as an operator and move behind it."""
        self.lexer.as_division()
        self.advance()

    def ahead(self, count: int) -> str:
        """The kind of a token further on, "" where the lexer has not read so far."""
        at = self.index + count
        return self._kinds[at] if at < len(self._kinds) else ""

    def word(self) -> str:
        """The text of the current token if it is a name, else ""."""
        return self._texts[self.index] if self.operand() == NAME else ""

    def accept(self, kind: str) -> bool:
        """Move over a punctuation token if it is the current one."""
        if self.operand() != kind:
            return False
        self.advance()
        return True

    def expect(self, kind: str, where: str, hint: str = "") -> None:
        """Move over a punctuation token. Raises SyntaxFailure when another stands there."""
        if self.operand() != kind:
            self.fail(f"expected {kind} {where}, found {self.found()}", hint=hint)
        self.advance()

    def name(self, what: str, hint: str = "") -> str:
        """Move over a name and return it. Raises SyntaxFailure when another token stands there."""
        if self.operand() != NAME:
            self.fail(f"expected {what}, found {self.found()}", hint=hint)
        text = self._texts[self.index]
        self.advance()
        return text

    def string(self, what: str) -> str:
        """Move over a string and return its value."""
        if self.operand() != STRING:
            self.fail(f"expected {what}, found {self.found()}")
        value = self.string_value()
        self.advance()
        return value

    def string_value(self) -> str:
        """The value of the current token, a string."""
        try:
            return unquote(self._texts[self.index])
        except BadEscapeError as error:
            start = self.start + error.offset
            return self.refuse(str(error), start, start + 2, "a character is \\u{1F600}")

    # Complaints.

    def found(self) -> str:
        """The current token in words."""
        text = self._texts[self.index]
        if self.kind == END:
            return "the end of the program"
        if self.kind == STRING:
            return "a string" if len(text) > 24 else f"the string {text}"
        return {NAME: "the name ", NUMBER: "the number "}.get(self.kind, "") + text[:40]

    def fail(self, message: str, *, hint: str = "") -> NoReturn:
        """Refuse the current token."""
        self.refuse(message, self.start, self._ends[self.index], hint)

    def refuse(self, message: str, start: int, end: int, hint: str = "") -> NoReturn:
        """Refuse a span."""
        raise SyntaxFailure(Diagnostic(message, start, end, hint=hint))

    def deeper(self) -> None:
        """One level further in; the caller takes `depth` back."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            message = f"more than {MAX_DEPTH} levels of parentheses and blocks inside each other"
            raise TooDeepError(
                Diagnostic(message, self.start, self.start + 1, hint="move an inner part into a function or a variable")
            )
