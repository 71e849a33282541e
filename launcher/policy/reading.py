"""Values out of document nodes: each function returns what was asked for or raises DocumentError with the place.

A wrong word names the nearest right one, and every message says what was expected.
"""

from __future__ import annotations

from typing import NoReturn

from launcher.capability.grant import Place, did_you_mean
from launcher.errors import DocumentError
from launcher.policy.document import BOOLEAN, INTEGER, LIST, MAP, NULL, NUMBER, TEXT, Node

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

_ARTICLES = {
    MAP: "a mapping",
    LIST: "a list",
    TEXT: "text",
    INTEGER: "a whole number",
    NUMBER: "a number",
    BOOLEAN: "true or false",
    NULL: "nothing",
}
MAX_TEXT = 4096  # PATH_MAX; nothing in a policy needs longer text


def refuse(place: Place, message: str, hint: str = "") -> NoReturn:
    """Raises DocumentError at `place`."""
    raise DocumentError(message, place=str(place), hint=hint)


def unknown(place: Place, what: str, word: str, words: Iterable[str]) -> NoReturn:
    """Raises DocumentError for a word that is none of `words`, naming the nearest."""
    refuse(place, f"unknown {what} {word!r}", did_you_mean(word, words))


def _expect(node: Node, kind: str, what: str) -> None:
    if node.kind != kind:
        hint = "write it in quotes" if kind == TEXT and node.kind in (INTEGER, NUMBER, BOOLEAN, NULL) else ""
        refuse(node.place, f"{what} must be {_ARTICLES[kind]}, not {_ARTICLES[node.kind]}", hint)


def mapping(node: Node, what: str, keys: Collection[str] | None = None) -> dict[str, Node]:
    """The members of a mapping; with `keys`, any other key is an error at the key's own place."""
    _expect(node, MAP, what)
    if keys is not None:
        for key in node.members:
            if key not in keys:
                unknown(node.keys[key], f"key of {what}", key, keys)
    return node.members


def items(node: Node, what: str) -> list[Node]:
    """The items of a list."""
    _expect(node, LIST, what)
    return node.items


def text(node: Node, what: str) -> str:
    """One text that is not empty and holds no NUL."""
    _expect(node, TEXT, what)
    value = str(node.value)
    if not value:
        refuse(node.place, f"{what} must not be empty")
    if "\0" in value:
        refuse(node.place, f"{what} holds a NUL character")
    if len(value) > MAX_TEXT:
        refuse(node.place, f"{what} is longer than {MAX_TEXT} characters")
    return value


def line(node: Node, what: str) -> str:
    """One line of text for people: no control characters (they would reach an operator's terminal)."""
    value = text(node, what)
    if any(ord(c) < 32 or 127 <= ord(c) < 160 for c in value):
        refuse(node.place, f"{what} holds a control character")
    return value


def texts(node: Node, what: str) -> tuple[str, ...]:
    """A list of texts."""
    return tuple(text(item, f"an item of {what}") for item in items(node, what))


def word(node: Node, what: str, words: Collection[str]) -> str:
    """One of a fixed set of words."""
    value = text(node, what)
    if value not in words:
        unknown(node.place, what, value, words)
    return value


def words(node: Node, what: str, known: Collection[str]) -> tuple[str, ...]:
    """A list of words of a fixed set, each once."""
    found = [word(item, what, known) for item in items(node, what)]
    return tuple(dict.fromkeys(found))


def boolean(node: Node, what: str) -> bool:
    """true or false."""
    _expect(node, BOOLEAN, what)
    return bool(node.value)


def integer(node: Node, what: str, least: int, most: int) -> int:
    """A whole number within bounds."""
    _expect(node, INTEGER, what)
    number = node.value if isinstance(node.value, int) else least - 1
    if not least <= number <= most:
        refuse(node.place, f"{what} must be between {least} and {most}, not {number}")
    return number


def is_true(node: Node) -> bool:
    """Whether the node is the word true."""
    return node.kind == BOOLEAN and node.value is True
