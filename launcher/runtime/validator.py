"""Declared within granted, as the first seed asks it: `CapabilityValidator().validate(declared, granted)`.

The answer is the algebra's exact containment (`Permissions.shortfalls`); here is only the form of the question.
"""

from __future__ import annotations

from launcher.capability.grant import Grant
from launcher.capability.kinds import KINDS
from launcher.capability.limits import Limits
from launcher.capability.permissions import Permissions
from launcher.runtime.context import current
from launcher.runtime.tokens import CapabilityToken, everything

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from launcher.capability.decision import Shortfall
    from launcher.capability.scope import Scope

    Declared = Iterable[Grant | CapabilityToken | dict[str, Any]]


class ValidationResult:
    """Truthy when everything declared is granted; else `shortfalls` says what is not, each with an example."""

    __slots__ = ("shortfalls",)

    def __init__(self, shortfalls: list[Shortfall]) -> None:
        self.shortfalls = tuple(shortfalls)

    def __bool__(self) -> bool:
        return not self.shortfalls

    def __repr__(self) -> str:
        return f"ValidationResult({'; '.join([str(missing) for missing in self.shortfalls]) or 'within the grant'})"


class CapabilityValidator:
    """Compares declarations with grants. `scope` is what relative patterns mean, by default the current context's."""

    __slots__ = ("_scope",)

    def __init__(self, scope: Scope | None = None) -> None:
        self._scope = scope

    def validate(self, declared: Declared, granted: Permissions | Declared) -> ValidationResult:
        """Whether each declared capability lies within the granted ones, exactly. Raises DocumentError."""
        if not isinstance(granted, Permissions):
            grants = [as_grant(item) for item in granted]
            granted = Permissions(grants, (), Limits(), self._scope or current().scope)
        return ValidationResult(granted.shortfalls([as_grant(item) for item in declared]))


def as_grant(item: Grant | CapabilityToken | dict[str, Any]) -> Grant:
    """A grant from a grant, a token, or data with `type` and optionally `operations`, `patterns`, `constraints`."""
    if isinstance(item, Grant):
        return item
    if isinstance(item, CapabilityToken):
        patterns = everything(item.type) if item.patterns is None else item.patterns
        return Grant(item.type, item.operations or _all(item), patterns, {}, f"token:{item.id}")
    kind = str(item["type"])
    operations = tuple(item.get("operations", KINDS[kind].operations if kind in KINDS else ()))
    return Grant(kind, operations, tuple(item.get("patterns", ())), dict(item.get("constraints", {})))


def _all(token: CapabilityToken) -> tuple[str, ...]:
    return KINDS[token.type].operations if token.operations is None else ()
