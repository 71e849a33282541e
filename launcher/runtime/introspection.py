"""What a program may ask about its own permissions: `hasCapability`, `getCapabilities`, `getCapabilityInfo`."""

from __future__ import annotations

import time

from launcher.capability.kinds import KINDS
from launcher.capability.permissions import not_empty

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from launcher.capability.grant import Grant
    from launcher.runtime.context import Context

# Names of the first implementation that guard nothing outside the process: always granted here.
HARMLESS = frozenset((
    "args.read", "collections.read", "collections.transform", "console.error", "console.write", "crypto.hash",
    "crypto.random", "datetime.create", "datetime.now", "env.write", "functional.compose", "functional.transform",
    "json.parse", "json.serialize", "log.write", "math.compute", "random.generate", "random.sample", "regex.compile",
    "regex.match",
))  # fmt: skip


def held(context: Context, name: str) -> bool:
    """Whether `type`, `type.operation` or a harmless name is held in this scope, on some resource."""
    if name in HARMLESS:
        return True
    kind, _, operation = name.partition(".")
    if kind not in KINDS or (operation and operation not in KINDS[kind].operations):
        return False
    return any(_held_operation(context, kind, word) for word in ([operation] if operation else KINDS[kind].operations))


def _held_operation(context: Context, kind: str, operation: str) -> bool:
    now = time.time()
    if not any(_current(grant, now) for grant in _grants(context, kind, operation)):
        return False
    for scope in context.chain():
        if scope.ceiling is not None and not scope.ceiling.holds(kind, operation):
            return False
        if scope.tokens is not None and not any(_covers(token, kind, operation) for token in scope.tokens):
            return False
    return True


def _covers(token: Any, kind: str, operation: str) -> bool:
    from launcher.runtime.constraints import TokenError
    from launcher.runtime.tokens import usage

    if token.type != kind or (token.operations is not None and operation not in token.operations):
        return False
    try:
        revoked = usage(token)["revoked"]
    except TokenError:
        return False
    expires = token.constraints.get("expires_at")
    return not revoked and (expires is None or time.time() < expires)


def _current(grant: Grant, now: float) -> bool:
    expires = grant.constraints.get("expires_at")
    return expires is None or now < expires


def _grants(context: Context, kind: str, operation: str = "") -> list[Grant]:
    return [
        grant
        for grant in context.permissions.grants
        if grant.type == kind and not_empty(grant) and (not operation or operation in grant.operations)
    ]


def capability_names(context: Context) -> list[str]:
    """All names that `held` says yes to, in the form `type.operation`, sorted."""
    words = [(kind, operation) for kind in KINDS for operation in KINDS[kind].operations]
    return sorted(HARMLESS.union(f"{kind}.{word}" for kind, word in words if _held_operation(context, kind, word)))


def capability_info(context: Context, name: str) -> dict[str, Any] | None:
    """type, available, usage_count, patterns, operations, max_usage, expires_at; None for a name that is not held."""
    if not held(context, name):
        return None
    kind, _, operation = name.partition(".")
    grants = _grants(context, kind, operation) if kind in KINDS else []
    return {
        "type": name,
        "available": True,
        "usage_count": context.uses(name),
        "patterns": sorted({_shown(pattern) for grant in grants for pattern in grant.patterns}),
        "operations": sorted({word for grant in grants for word in grant.operations}),
        "max_usage": _bound(grants, "max_uses"),
        "expires_at": _bound(grants, "expires_at"),
    }


def _bound(grants: list[Grant], name: str) -> Any:
    """The loosest bound, None when a grant has none."""
    values = [grant.constraints.get(name) for grant in grants]
    known = [value for value in values if value is not None]
    return max(known) if known and len(known) == len(values) else None


def _shown(pattern: Any) -> str:
    return pattern if isinstance(pattern, str) else " ".join(pattern)
