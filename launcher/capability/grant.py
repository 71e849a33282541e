"""Where a rule stands, and what it grants: values without behaviour."""

from __future__ import annotations

from launcher.capability.kinds import KINDS
from launcher.errors import DocumentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    type_pattern = str | tuple[str, ...]


class Place:
    """`file:line:column` of a rule; line and column count from 1, and are 0 where there is none."""

    __slots__ = ("column", "file", "line")

    def __init__(self, file: str = "", line: int = 0, column: int = 0) -> None:
        self.file = file
        self.line = line
        self.column = column

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file

    def __repr__(self) -> str:
        return f"Place({self.file!r}, {self.line}, {self.column})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Place) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def to_data(self) -> list[Any]:
        """`[file, line, column]`."""
        return [self.file, self.line, self.column]

    @classmethod
    def from_data(cls, data: list[Any]) -> Place:
        """The inverse of `to_data`."""
        return cls(str(data[0]), int(data[1]), int(data[2]))


NOWHERE = Place()


class Grant:
    """One rule: a type, operations, patterns as written, constraints, and where it came from.

    A pattern is text, or for commands a tuple that is an exact token list. `()` means all of it with the boolean types
    (`sh js py`), nothing in a grant of another type, everything in a deny, and "some of it" in a need
    (`network: true`). Constraints are JSON values. Raises DocumentError for an unknown type or operation.
    """

    __slots__ = ("constraints", "operations", "patterns", "place", "policy", "type")

    def __init__(
        self,
        type: str,  # noqa: A002  the vocabulary's word
        operations: tuple[str, ...],
        patterns: tuple[type_pattern, ...],
        constraints: dict[str, Any] | None = None,
        policy: str = "",
        place: Place = NOWHERE,
    ) -> None:
        _check_words(type, operations, place)
        self.type = type
        self.operations = tuple(operations)
        self.patterns = tuple(patterns)
        self.constraints: dict[str, Any] = constraints or {}
        self.policy = policy
        self.place = place

    def __repr__(self) -> str:
        return f"Grant({self.type!r}, {self.operations!r}, {self.patterns!r}, {self.constraints!r}, {self.policy!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Grant) and self.to_data() == other.to_data()

    def __hash__(self) -> int:
        return hash((self.type, self.operations, self.patterns, self.policy, self.place))

    def __str__(self) -> str:
        """`file.read,write data/*.csv`, for people."""
        shown = " ".join([pattern_text(pattern) for pattern in self.patterns])
        return f"{self.type}.{','.join(self.operations)} {shown}".rstrip()

    def to_data(self) -> dict[str, Any]:
        """Plain JSON values; a tuple pattern becomes a list."""
        return {
            "type": self.type,
            "operations": list(self.operations),
            "patterns": [text if isinstance(text, str) else list(text) for text in self.patterns],
            "constraints": self.constraints,
            "policy": self.policy,
            "place": self.place.to_data(),
        }

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> Grant:
        """The inverse of `to_data`."""
        patterns = tuple([text if isinstance(text, str) else tuple(text) for text in data["patterns"]])
        place = Place.from_data(data["place"])
        return cls(data["type"], tuple(data["operations"]), patterns, data["constraints"], data["policy"], place)


def pattern_text(pattern: type_pattern) -> str:
    """A pattern as people write it."""
    return pattern if isinstance(pattern, str) else "[" + ", ".join(pattern) + "]"


def _check_words(kind: str, operations: tuple[str, ...], place: Place) -> None:
    if kind not in KINDS:
        raise DocumentError(f"unknown capability type {kind!r}", hint=did_you_mean(kind, KINDS), place=str(place))
    known = KINDS[kind].operations
    for operation in operations:
        if operation not in known:
            message = f"unknown operation {kind}.{operation}"
            raise DocumentError(message, hint=did_you_mean(operation, known), place=str(place))


def did_you_mean(word: str, words: Any) -> str:
    """The hint for a wrong word: the nearest valid one, or the list of them."""
    from launcher.capability.suggest import suggest

    nearest = suggest(word, words)
    return f"did you mean {nearest!r}?" if nearest else "one of: " + " ".join(sorted(words))
