"""YAML and JSON documents as nodes that know where they stand.

PyYAML's event stream (libyaml) is composed here rather than by PyYAML, because a policy must have one reading:
duplicate keys, merge keys, tags, second documents and YAML 1.1's surprises (`no` is a country, `1:30` no number)
are refused or read as text, and aliases count as what they expand to, so that a "billion laughs" stops at a bound.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

import yaml

from launcher.capability.grant import Place
from launcher.errors import DocumentError

MAX_BYTES = 1 << 20
MAX_DEPTH = 32
MAX_NODES = 100_000  # after expanding aliases; 1 MiB of the densest YAML has about 350,000

MAP, LIST, TEXT, INTEGER, NUMBER, BOOLEAN, NULL = "mapping", "list", "text", "integer", "number", "boolean", "null"

_WORDS: dict[str, tuple[str, object]] = {
    "": (NULL, None),
    "~": (NULL, None),
    "null": (NULL, None),
    "Null": (NULL, None),
    "NULL": (NULL, None),
    "true": (BOOLEAN, True),
    "True": (BOOLEAN, True),
    "TRUE": (BOOLEAN, True),
    "false": (BOOLEAN, False),
    "False": (BOOLEAN, False),
    "FALSE": (BOOLEAN, False),
}
# The first characters that people forget to quote in patterns, and what YAML takes them for.
_QUOTE = {
    "*": "an alias",
    "&": "an anchor",
    "@": "a reserved character",
    "`": "a reserved character",
    "%": "a directive",
}


class Node:
    """One value of a document. `kind` is one of this module's kind constants.

    `value` is a dict of key text to Node (mapping), a list of Nodes, or a str, int, float, bool or None.
    `keys` holds the place of each key of a mapping. `size` counts the nodes below and including this one.
    """

    __slots__ = ("keys", "kind", "place", "size", "value")

    def __init__(self, kind: str, value: object, place: Place) -> None:
        self.kind = kind
        self.value = value
        self.place = place
        self.keys: dict[str, Place] = {}
        self.size = 1

    @property
    def members(self) -> dict[str, Node]:
        """The members of a mapping; none of anything else."""
        return self.value if isinstance(self.value, dict) else {}

    @property
    def items(self) -> list[Node]:
        """The items of a list; none of anything else."""
        return self.value if isinstance(self.value, list) else []

    def plain(self) -> object:
        """The value as dicts, lists and scalars, without places."""
        if isinstance(self.value, dict):
            return {key: item.plain() for key, item in self.value.items()}
        if isinstance(self.value, list):
            return [item.plain() for item in self.value]
        return self.value


def load(data: bytes, file: str) -> Node:
    """The document in `data`. `file` names it in errors; with a name that ends in `.json` it must be JSON too.

    Raises DocumentError with file, line and column.
    """
    text = _decode(data, file)
    node = _Composer(text, file).document()
    if file.endswith(".json"):
        _check_json(text, file)
    return node


def _decode(data: bytes, file: str) -> str:
    if len(data) > MAX_BYTES:
        raise DocumentError(f"the document has {len(data)} bytes; the most is {MAX_BYTES}", place=f"{file}:1:1")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8", "replace")
        raise DocumentError(
            f"byte 0x{data[error.start]:02x} is not UTF-8", place=_at(file, before), hint="save the file as UTF-8"
        ) from None
    return text.removeprefix("\ufeff")


def _at(file: str, before: str) -> str:
    return f"{file}:{before.count(chr(10)) + 1}:{len(before) - (before.rfind(chr(10)) + 1) + 1}"


def _check_json(text: str, file: str) -> None:
    try:
        json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise DocumentError(
            f"not JSON: {error.msg}", place=f"{file}:{error.lineno}:{error.colno}", hint="name the file *.yaml for YAML"
        ) from None
    except ValueError as error:
        raise DocumentError(f"not JSON: {error}", place=f"{file}:1:1") from None


def _refuse_constant(word: str) -> object:
    raise ValueError(f"{word} is not a JSON value")


class _Composer:
    """Turns libyaml's events into nodes; holds the open collections on an explicit stack, never on Python's."""

    def __init__(self, text: str, file: str) -> None:
        self.text = text
        self.file = file
        self.anchors: dict[str, Node | None] = {}
        self.nodes = 0
        self.depth = 0

    def document(self) -> Node:
        loader = yaml.CLoader(self.text)
        try:
            return self._whole(loader)
        except yaml.YAMLError as error:
            raise self._syntax(error) from None
        finally:
            loader.dispose()

    def _whole(self, loader: Any) -> Node:
        loader.get_event()  # stream start
        first = loader.get_event()
        if isinstance(first, yaml.StreamEndEvent):
            self.refuse("the document is empty", Place(self.file, 1, 1))
        node = self._compose(loader, loader.get_event())
        loader.get_event()  # document end
        after = loader.get_event()
        if not isinstance(after, yaml.StreamEndEvent):
            self.refuse("a second document begins here; a file holds one", self._place(after))
        return node

    def _compose(self, loader: Any, event: Any) -> Node:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        self._check(event)
        if isinstance(event, yaml.ScalarEvent):
            node = self._scalar(event)
            self._remember(event, node)
            return node
        self._open(event)
        node = self._mapping(loader, event) if isinstance(event, yaml.MappingStartEvent) else self._list(loader, event)
        self.depth -= 1
        self._remember(event, node)
        return node

    def _open(self, event: Any) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            self.refuse(f"nested deeper than {MAX_DEPTH}", self._place(event))
        if event.anchor:
            self.anchors[event.anchor] = None  # open: an alias to it from inside would be endless

    def _remember(self, event: Any, node: Node) -> None:
        if event.anchor:
            self.anchors[event.anchor] = node

    def _alias(self, event: Any) -> Node:
        if event.anchor not in self.anchors:
            self.refuse(
                f"the alias *{event.anchor} has no anchor", self._place(event),
                'a pattern that begins with * is written in quotes: "*' + event.anchor + '"',
            )  # fmt: skip
        node = self.anchors[event.anchor]
        if node is None:
            self.refuse(f"the alias *{event.anchor} stands inside of what it names", self._place(event))
        self._count(node.size, event)
        return node

    def _count(self, nodes: int, event: Any) -> None:
        self.nodes += nodes
        if self.nodes > MAX_NODES:
            self.refuse(f"the document expands to more than {MAX_NODES} values", self._place(event))

    def _check(self, event: Any) -> None:
        self._count(1, event)
        if event.tag is not None:
            self.refuse(
                f"the tag {event.tag!r} is not allowed here", self._place(event),
                "text that begins with ! is written in quotes" if event.tag.startswith("!") else "remove the tag",
            )  # fmt: skip

    def _list(self, loader: Any, start: Any) -> Node:
        items: list[Node] = []
        node = Node(LIST, items, self._place(start))
        while not isinstance(event := loader.get_event(), yaml.SequenceEndEvent):
            items.append(self._compose(loader, event))
            node.size += items[-1].size
        return node

    def _mapping(self, loader: Any, start: Any) -> Node:
        items: dict[str, Node] = {}
        node = Node(MAP, items, self._place(start))
        while not isinstance(event := loader.get_event(), yaml.MappingEndEvent):
            key = self._key(loader, event, node)
            items[key] = self._compose(loader, loader.get_event())
            node.size += items[key].size + 1
        return node

    def _key(self, loader: Any, event: Any, node: Node) -> str:
        if not isinstance(event, yaml.ScalarEvent):
            self.refuse("a key must be plain text", self._place(event))
        key = self._compose(loader, event)
        text = str(event.value)
        if text == "<<" and event.implicit[0]:
            self.refuse("merge keys (<<) are not allowed", key.place, "write the keys out, or use `extends`")
        if text in node.keys:
            self.refuse(f"the key {text!r} stands twice; first at {node.keys[text]}", key.place)
        node.keys[text] = key.place
        return text

    def _scalar(self, event: Any) -> Node:
        place = self._place(event)
        if not event.implicit[0]:  # quoted or a block: always text
            return Node(TEXT, event.value, place)
        kind, value = _resolve(event.value)
        return Node(kind, value, place)

    def _place(self, event: Any) -> Place:
        return Place(self.file, event.start_mark.line + 1, event.start_mark.column + 1)

    def _syntax(self, error: yaml.YAMLError) -> DocumentError:
        if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
            return self._unreadable(error)
        line, column = error.problem_mark.line, error.problem_mark.column
        lines = self.text.split("\n")
        found = lines[line][max(column - 1, 0) : column + 1] if line < len(lines) else ""
        hint = next(
            (f"YAML takes {c} for {what}: write the text in quotes" for c, what in _QUOTE.items() if c in found), ""
        )
        if "\t" in found:
            hint = "indent with blanks, not with tabs"
        context = f" {error.context}" if error.context else ""
        return DocumentError(
            f"not YAML: {error.problem}{context}", place=f"{self.file}:{line + 1}:{column + 1}", hint=hint
        )

    def _unreadable(self, error: yaml.YAMLError) -> DocumentError:
        offset = getattr(error, "position", 0)
        character = getattr(error, "character", None)
        what = f"the character {chr(character)!r} is not allowed" if isinstance(character, int) else "unreadable"
        return DocumentError(what, place=_at(self.file, self.text[:offset] if isinstance(offset, int) else ""))

    def refuse(self, message: str, place: Place, hint: str = "") -> NoReturn:
        raise DocumentError(message, place=str(place), hint=hint)


def _resolve(text: str) -> tuple[str, object]:
    """A plain scalar by the core schema of YAML 1.2, in decimal only.

    word = "null" | "~" | "" | "true" | "false"    integer = ["-" | "+"] digit+ without a leading 0
    number = integer "." digit+                      anything else is text
    """
    if text in _WORDS:
        return _WORDS[text]
    digits = text[1:] if text[:1] in ("-", "+") else text
    whole, dot, fraction = digits.partition(".")
    if not (whole.isascii() and whole.isdigit()) or (len(whole) > 1 and whole[0] == "0") or len(digits) > 18:
        return TEXT, text
    if not dot:
        return INTEGER, int(text)
    if fraction.isascii() and fraction.isdigit():
        return NUMBER, float(text)
    return TEXT, text
