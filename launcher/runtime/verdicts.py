"""Verdicts of one scope: which of its tokens cover a request, and what a program is told when nothing does."""

from __future__ import annotations

from launcher.capability.kinds import HOST, KINDS
from launcher.runtime.errors import CapabilityError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from launcher.capability.decision import Decision
    from launcher.runtime.tokens import CapabilityToken


# What `Permissions.decide` takes beside the resource.
DECIDING = ("port", "method", "path", "connect", "file", "programs")


def violation(token: CapabilityToken, operation: str, resource: Any, context: dict[str, Any]) -> str:
    """Why the token does not cover the request, "" when it does."""
    from launcher.runtime import tokens as token_store
    from launcher.runtime.constraints import TokenError

    try:
        token_store.check(token, operation, resource, **context)
    except TokenError as error:
        return error.message
    return ""


def spend(tokens: Iterable[CapabilityToken], operation: str, resource: Any, context: dict[str, Any]) -> str:
    """Charges one use to each token; why one of them refused, "" when none did."""
    from launcher.runtime import tokens as token_store
    from launcher.runtime.constraints import TokenError

    try:
        for token in tokens:
            token_store.use(token, operation, resource, **context)
    except TokenError as error:
        return error.message
    return ""


def covering(
    tokens: Iterable[CapabilityToken], kind: str, operation: str, resource: Any, context: dict[str, Any]
) -> list[CapabilityToken]:
    """The tokens that cover the request."""
    mine = [token for token in tokens if token.type == kind]
    return [token for token in mine if not violation(token, operation, resource, context)]


def uncovered(
    tokens: Iterable[CapabilityToken], kind: str, operation: str, resource: Any, context: dict[str, Any]
) -> str:
    """Why no token of the scope covers the request, "" when one does."""
    reasons = [violation(token, operation, resource, context) for token in tokens if token.type == kind]
    if not reasons:
        return f"this scope holds no {kind} token"
    return "" if "" in reasons else reasons[0]


def shown(resource: Any) -> str:
    """A resource for people: an argument list as words."""
    return resource if isinstance(resource, str) else " ".join([str(word) for word in resource])


def literal(kind: str, resource: Any) -> Any:
    """The pattern that matches exactly this resource."""
    if KINDS[kind].pattern == HOST or not isinstance(resource, str):
        return resource
    return "".join(["\\" + letter if letter in "*?[]\\!" else letter for letter in resource])


def detail_of(resource: Any, written: str) -> dict[str, object]:
    """The canonical resource for a report, where the program wrote it otherwise."""
    canonical = shown(resource)
    return {} if canonical == written else {"canonical": canonical}


def denial(kind: str, operation: str, written: str, decision: Decision) -> CapabilityError:
    """The error a program gets: what was refused, why, and what to ask for."""
    hint = f"ask the administrator for {kind}.{operation}:{written}"
    if decision.deciders:
        places = ", ".join([str(rule.place) or rule.policy for rule in decision.deciders[:3]])
        hint = f"the rule is at {places}"
    message = f"{kind}.{operation} is not granted for '{written}': {decision.reason}"
    return CapabilityError(message, kind, operation, written, hint)
