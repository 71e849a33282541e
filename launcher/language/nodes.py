"""The syntax tree: one class a form, with its span. Nodes are never changed after the parser made them.

Written by hand rather than as dataclasses: every start of an ML job imports this module, and `dataclasses` alone
costs more than compiling a small program. `start` and `end` are offsets into the source; equality (`same`) ignores
them.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar


class Node:
    """Base of all nodes. `fields` names the parts in the order of the constructor."""

    __slots__ = ("end", "start")

    fields: ClassVar[tuple[str, ...]] = ()
    start: int
    end: int

    def __repr__(self) -> str:
        parts = ", ".join(repr(getattr(self, name)) for name in self.fields)
        return f"{type(self).__name__}({parts})"


class Expression(Node):
    """A form that has a value."""

    __slots__ = ()


class Statement(Node):
    """A form that does something."""

    __slots__ = ()


def same(one: Any, other: Any) -> bool:
    """Whether two trees are equal but for their spans. Depth is bounded by the parser."""
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, Node):
        return type(one) is type(other) and all(same(getattr(one, f), getattr(other, f)) for f in one.fields)
    return type(one) is type(other) and bool(one == other)
