"""Handing capability tokens on, and taking them back with all that was made from them."""

from __future__ import annotations

import time

from launcher.capability.kinds import KINDS
from launcher.runtime.constraints import TokenError, meet, parsed
from launcher.runtime.tokens import (
    DEFAULT_DELEGATIONS,
    LOCK,
    RECORDS,
    UNLIMITED,
    issue,
    operations_of,
    record_of,
    seconds_of,
    words_of,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import timedelta
    from typing import Any

    from launcher.runtime.tokens import CapabilityToken, Record


def revoke(token: CapabilityToken, reason: str = "revoked by hand") -> int:
    """Ends `token` and everything delegated from it, at once. The number of tokens that this ended."""
    with LOCK:
        record = record_of(token)
        ended = sum(
            1
            for other in RECORDS.values()
            if record in other.chain() and not any(link.revoked for link in other.chain())
        )
        record.revoked = record.revoked or reason
        return ended


def revoke_all(holder: str, reason: str = "revoked by hand") -> int:
    """Ends all tokens of `holder` with everything delegated from them. The number of tokens that this ended."""
    with LOCK:
        held = [record.token() for record in list(RECORDS.values())]
        return sum(revoke(token, reason) for token in held if token is not None and token.holder == holder)


def delegate(
    token: CapabilityToken,
    to: str,
    *,
    holder: str = "",
    resource_patterns: Iterable[str] | None = None,
    allowed_operations: Iterable[str] | None = None,
    expires_in: timedelta | float | None = None,
    max_usage_count: int | None = None,
    **constraints: Any,
) -> CapabilityToken:
    """A token for `to` that allows at most what `token` allows; what is left out is inherited.

    Of `resource_patterns` those are kept that lie within the parent's, exactly. `holder` is who hands it on. Raises
    TokenError: `delegation_not_allowed`, `principal_mismatch`, `constraint_conflict` when nothing would be left.
    """
    with LOCK:
        record = record_of(token)
        if holder and holder != token.holder:
            raise TokenError("principal_mismatch", f"the token is held by {token.holder}, not by {holder}")
        left = token.constraints.get("max_delegations", DEFAULT_DELEGATIONS)
        if any(link.revoked for link in record.chain()) or (left != UNLIMITED and left <= 0):
            raise TokenError("delegation_not_allowed", "the token may not be handed on")
        wanted = parsed(constraints)
        if expires_in is not None:
            wanted["expires_at"] = time.time() + seconds_of(expires_in)
        if max_usage_count is not None:
            wanted |= parsed({"max_uses": max_usage_count})
        limits = meet(token.constraints, wanted)
        if left != UNLIMITED:
            # One level fewer is left to hand on, whatever the child asks for.
            limits["max_delegations"] = min(limits.get("max_delegations", left), left - 1)
        fields = {
            "type": token.type,
            "operations": _narrowed(token.operations, operations_of(token.type, allowed_operations)),
            "patterns": _contained(record, token, resource_patterns),
            "constraints": limits,
            "holder": to,
        }
        scope = record.permissions.scope if record.permissions else None
        return issue(fields, record, scope, time.time())


def _narrowed(held: tuple[str, ...] | None, wanted: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if held is None or wanted is None:
        return held if wanted is None else wanted
    common = tuple(word for word in wanted if word in held)
    if not common:
        raise TokenError(
            "constraint_conflict", f"none of {' '.join(wanted) or 'no operation'} is among {' '.join(held)}"
        )
    return common


def _contained(record: Record, token: CapabilityToken, wanted: Iterable[str] | None) -> tuple[Any, ...] | None:
    """Those of the wanted patterns of which everything is covered by the parent: language inclusion, no guess."""
    from launcher.capability.grant import Grant
    from launcher.capability.permissions import Permissions

    if wanted is None:
        return token.patterns
    patterns = words_of("paths", wanted)
    if token.patterns is None or record.permissions is None:
        return patterns
    # Without the parent's denied patterns, which bind the child whatever it names.
    held = Permissions(record.permissions.grants, (), record.permissions.limits, record.permissions.scope)
    words = KINDS[token.type].operations[:1]
    kept = [text for text in patterns if not held.shortfalls([Grant(token.type, words, (text,))])]
    if not kept:
        raise TokenError("constraint_conflict", f"nothing of {list(patterns)} lies within the token's")
    return tuple(kept)
