"""Colours for the terminal: a program's text with comments, strings, numbers and words marked."""

from __future__ import annotations

from launcher.language.catalogue import BUILTINS
from launcher.language.cursor import SyntaxFailure
from launcher.language.diagnostics import SourceError
from launcher.language.lexer import NAME, NUMBER, STRING
from launcher.language.parser import Parser

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from launcher.language.source import Source

# SGR parameters (ECMA-48); colours of the terminal's own palette only.
STYLES = {"comment": "2", "string": "32", "number": "36", "keyword": "1;34", "builtin": "35"}
_RESET = "\x1b[0m"

_KEYWORDS = frozenset((
    "function", "if", "elif", "else", "while", "for", "in", "return", "throw", "try", "except", "catch", "finally",
    "break", "continue", "nonlocal", "import", "as", "capability", "resource", "allow", "true", "false", "null", "fn",
))  # fmt: skip


def highlight(source: Source) -> str:
    """The text with colours; as it is where it does not parse (which words are comments is then unknown)."""
    text, out, at = source.text, [], 0
    for start, end, kind in spans(source):
        out += [_safe(text[at:start]), f"\x1b[{STYLES[kind]}m", _safe(text[start:end]), _RESET]
        at = end
    return "".join([*out, _safe(text[at:])])


def _safe(text: str) -> str:
    """No control character of the program reaches the terminal: an escape sequence in a string could draw anything."""
    return "".join([c if c.isprintable() or c in "\n\t" else f"\\u{{{ord(c):x}}}" for c in text])


def spans(source: Source) -> list[tuple[int, int, str]]:
    """(start, end, key of STYLES) of everything that has a colour, in order."""
    try:
        parser = Parser(source)
        parser.statements(top=True)
    except (SourceError, SyntaxFailure, RecursionError):
        return []
    if parser.findings.items:
        return []
    comments = [(start, end, "comment") for start, end in parser.lexer.comments]
    return sorted([*comments, *_tokens(parser)])


def _tokens(parser: Parser) -> Iterator[tuple[int, int, str]]:
    lexer = parser.lexer
    for kind, text, start, end in zip(lexer.kinds, lexer.texts, lexer.starts, lexer.ends, strict=True):
        if kind == STRING:
            yield start, end, "string"
        elif kind == NUMBER:
            yield start, end, "number"
        elif kind == NAME and text in _KEYWORDS:
            yield start, end, "keyword"
        elif kind == NAME and text in BUILTINS:
            yield start, end, "builtin"
