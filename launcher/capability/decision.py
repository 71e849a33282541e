"""The answers of the algebra: a decision with its deciders, and what is declared but not granted."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from launcher.capability.grant import Grant


class Decision:
    """Allowed or not, the rules that decided (none when nothing matched), and one sentence for people."""

    __slots__ = ("allowed", "deciders", "reason")

    def __init__(self, allowed: bool, deciders: tuple[Grant, ...], reason: str) -> None:
        self.allowed = allowed
        self.deciders = deciders
        self.reason = reason

    def __bool__(self) -> bool:
        return self.allowed

    def __repr__(self) -> str:
        return f"Decision({self.allowed}, {self.deciders!r}, {self.reason!r})"


class Shortfall:
    """One pattern of a need that is not granted: `example` is something it covers that the grants do not."""

    __slots__ = ("example", "need", "operation", "pattern", "reason")

    def __init__(self, need: Grant, operation: str, pattern: str, example: str, reason: str) -> None:
        self.need = need
        self.operation = operation
        self.pattern = pattern
        self.example = example
        self.reason = reason

    def __repr__(self) -> str:
        return f"Shortfall({self.operation!r}, {self.pattern!r}, {self.example!r}, {self.reason!r})"

    def __str__(self) -> str:
        return f"{self.need.type}.{self.operation} {self.pattern}: {self.reason}"
