r"""String literals: escapes to characters, and back.

Translated are `\n \t \r \\ \" \' \uXXXX \u{...}`. Any other backslash stays as it stands, with the character after
it, so that regular expressions are written as they are (`'\d+'`, `'\bword'`, `'\1'`).
"""

from __future__ import annotations

import re

_ESCAPE = re.compile(r"\\(?:u\{([^}]*)\}|u([0-9A-Fa-f]{4})(?:\\u([0-9A-Fa-f]{4}))?|([ntr\\\"']))")
_SIMPLE = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"', "'": "'"}
_HEX = re.compile(r"[0-9A-Fa-f]{1,6}")
# What `quote` must escape to be read back as itself. A backslash always is: the next character might complete it.
_SPECIAL = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "\\": "\\\\"}


class BadEscapeError(ValueError):
    """An escape that names no character; `offset` is its place inside the literal."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.offset = offset


def unquote(literal: str) -> str:
    """The value of a literal with its quotes. Raises BadEscapeError."""
    body = literal[1:-1]
    if "\\" not in body:
        return body
    return _ESCAPE.sub(_character, body)


def _character(match: re.Match[str]) -> str:
    braced, four, low, simple = match.groups()
    if simple is not None:
        return _SIMPLE[simple]
    if braced is not None:
        if not _HEX.fullmatch(braced):
            raise BadEscapeError(f"\\u{{{braced}}} is no character: one to six hexadecimal digits", match.start() + 1)
        return _from_code(int(braced, 16), match)
    if low is not None:
        return _pair(int(four, 16), int(low, 16), match)
    return _from_code(int(four, 16), match)


def _from_code(code: int, match: re.Match[str]) -> str:
    if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
        raise BadEscapeError(f"{match[0]} is no character", match.start() + 1)
    return chr(code)


def _pair(high: int, low: int, match: re.Match[str]) -> str:
    if 0xD800 <= high <= 0xDBFF and 0xDC00 <= low <= 0xDFFF:
        return chr(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))
    return _from_code(high, match) + _from_code(low, match)


def quote(value: str) -> str:
    """A literal that `unquote` reads back as `value`; double quotes unless only they occur in it."""
    mark = "'" if '"' in value and "'" not in value else '"'
    out = [_quoted(character, mark) for character in value]
    return mark + "".join(out) + mark


def _quoted(character: str, mark: str) -> str:
    if character == mark:
        return "\\" + mark
    if character in _SPECIAL:
        return _SPECIAL[character]
    if character.isprintable():
        return character
    return f"\\u{{{ord(character):x}}}"
