"""Characters to tokens.

One compiled pattern reads blanks and a token at a time. `//` is floor division where a binary operator could stand
and a comment everywhere else, which only the parser knows: the lexer stops in front of each `//` and the parser tells
it which one it is (`as_division`, `as_comment`). Everything else is context-free; keywords are plain names that the
parser recognises by their place.
"""

from __future__ import annotations

import re

from launcher.language.diagnostics import Diagnostic, SourceError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from launcher.language.source import Source

# Token kinds beside the punctuation, whose kind is its own text.
NAME, NUMBER, STRING, END, SLASHES = "name", "number", "string", "end of file", "//"

MAX_TOKENS = 400_000
# CPython refuses to convert longer ones (CVE-2020-10735: the conversion is quadratic).
MAX_DIGITS = 4000

_TOKEN = re.compile(
    r"""[ \t\r\n\f]*(?:
      ([A-Za-z_][A-Za-z0-9_]*)
    | ((?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+)(?:[eE][+-]?[0-9]+)?)
    | ("[^"\\]*(?:\\.[^"\\]*)*" | '[^'\\]*(?:\\.[^'\\]*)*')
    | (//)
    | (/\*)
    | (=> | == | != | <= | >= | && | \|\| | [-+*/%]= | [-+*/%=<>!?:.,;()\[\]{}])
    | (\Z)
    | (.)
    )""",
    re.VERBOSE | re.DOTALL,
)
_NAME = re.compile("[A-Za-z_][A-Za-z0-9_]*")
_LINE_END = re.compile(r"[^\r\n]*")
_WORD = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789")

# What people of other languages write, and what to write here.
_FOREIGN = {
    "`": "use 'single' or \"double\" quotes; strings may span lines",
    "#": "comments begin with //",
    "&": "logical and is &&",
    "|": "logical or is ||",
    "\u201c": "use straight quotes",
    "\u201d": "use straight quotes",
    "\u2018": "use straight quotes",
    "\u2019": "use straight quotes",
}


def is_name(text: str) -> bool:
    """Whether a text is one name."""
    return _NAME.fullmatch(text) is not None


class Lexer:
    """The tokens of one source as parallel lists, read up to the next `//` at a time."""

    __slots__ = ("comments", "ends", "kinds", "position", "source", "starts", "texts")

    def __init__(self, source: Source) -> None:
        self.source = source
        self.position = 0
        self.kinds: list[str] = []
        self.texts: list[str] = []
        self.starts: list[int] = []
        self.ends: list[int] = []
        self.comments: list[tuple[int, int]] = []
        self.fill()

    def as_division(self) -> None:
        """The `//` in front of which the lexer stands is an operator: read on behind it."""
        self.position = self.ends[-1]
        self.fill()

    def as_comment(self) -> None:
        """The `//` in front of which the lexer stands is a comment: drop it and read on in the next line."""
        start = self.starts[-1]
        match = _LINE_END.match(self.source.text, start)
        self.position = match.end() if match else start
        self.comments.append((start, self.position))
        for column in (self.kinds, self.texts, self.starts, self.ends):
            column.pop()
        self.fill()

    def fill(self) -> None:
        """Read tokens until the next `//` or the end of the text."""
        text = self.source.text
        kinds, texts, starts, ends = self.kinds, self.texts, self.starts, self.ends
        match = _TOKEN.match
        position = self.position
        while True:
            found = match(text, position)
            assert found is not None  # noqa: S101  the last alternatives take any character and the end
            group = found.lastindex or 0
            start, position = found.span(group)
            word = found[group]
            if group == 1:
                kinds.append(NAME)
            elif group == 6:
                kinds.append(word)
            elif group == 2:
                self._check_number(word, start, position)
                kinds.append(NUMBER)
            elif group == 3:
                kinds.append(STRING)
            elif group == 5:
                position = self._block_comment(start)
                continue
            elif group == 8:
                self._refuse(word, start)
            else:
                kinds.append(SLASHES if group == 4 else END)
                texts.append(word)
                starts.append(start)
                ends.append(position)
                break
            texts.append(word)
            starts.append(start)
            ends.append(position)
        if len(kinds) > MAX_TOKENS:
            self._fail(f"the program has more than {MAX_TOKENS} tokens", starts[-1], hint="split it into modules")

    def _block_comment(self, start: int) -> int:
        end = self.source.text.find("*/", start + 2)
        if end < 0:
            self._fail("this comment is never closed", start, hint="close it with */")
        self.comments.append((start, end + 2))
        return end + 2

    def _check_number(self, word: str, start: int, end: int) -> None:
        text = self.source.text
        if len(word) > MAX_DIGITS:
            self._fail(f"a number has more than {MAX_DIGITS} digits", start)
        if end < len(text) and text[end] in _WORD:
            hint = "there are no hexadecimal, octal or binary numbers, and no _ in numbers"
            self._fail(f"a name cannot follow the number {word} directly", start, hint=hint)

    def _refuse(self, word: str, start: int) -> None:
        if word in "\"'":
            self._fail("this string is never closed", start, hint=f"close it with {word}")
        if word.isalpha():
            hint = "names are made of the letters a-z and A-Z, digits and _"
            self._fail(f"the letter {word!r} cannot stand in a name", start, hint=hint)
        self._fail(f"unexpected character {word!r}", start, hint=_FOREIGN.get(word, ""))

    def _fail(self, message: str, start: int, *, hint: str = "") -> None:
        raise SourceError(self.source, [Diagnostic(message, start, start + 1, hint=hint)])
