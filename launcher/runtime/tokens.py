"""Capability tokens: what one part of a program may use of what the whole job was granted.

A token narrows, it never grants: every use is checked against the job's permissions too (`context.py`), and behind
that by the kernel. A token is unforgeable inside the process: it is known by identity, not by its text, and its
fields are bound by a keyed checksum. What changes (uses, revocation) stands in a record beside it that the holder
cannot reach, so a kept copy of an old state means nothing. Each use is checked and charged along the whole chain of
delegation: to revoke or to use up a token is to revoke or use up everything that was made from it.
"""

from __future__ import annotations

import os
import time
from _blake2 import blake2b
from _thread import RLock
from _weakref import ref

from launcher.canonical import canonical_json
from launcher.capability.kinds import KINDS
from launcher.runtime.constraints import TokenError, met, parsed, refusal
from launcher.runtime.verdicts import DECIDING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import timedelta
    from typing import Any, NoReturn

    from launcher.capability.permissions import Permissions
    from launcher.capability.scope import Scope

# Made when the process starts and never written anywhere: a checksum cannot be computed outside it.
_SECRET = os.urandom(32)
LOCK = RLock()
RECORDS: dict[str, Record] = {}

# How many times a token may be handed on when nothing is said, and the word for no end.
DEFAULT_DELEGATIONS = 3
UNLIMITED = "unlimited"


class CapabilityToken:
    """One token. Immutable; `operations` and `patterns` are None where it narrows nothing, empty where nothing is left.

    Make it with `create_capability_token` or `delegate`. Copies and hand-made tokens are refused at use.
    """

    __slots__ = (
        "__weakref__", "checksum", "constraints", "depth", "holder", "id", "issued_at", "operations", "parent_id",
        "patterns", "type",
    )  # fmt: skip

    id: str
    type: str
    operations: tuple[str, ...] | None
    patterns: tuple[Any, ...] | None
    constraints: dict[str, Any]
    holder: str
    parent_id: str
    depth: int
    issued_at: float
    checksum: str

    def __init__(self, **fields: Any) -> None:
        for name, value in fields.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "checksum", _checksum(self))

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a capability token cannot be changed: {name}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a capability token cannot be changed: {name}")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a capability token cannot be copied or written out")

    def __repr__(self) -> str:
        return f"<CapabilityToken {self.type} {self.id[:12]}>"


class Record:
    """What the process knows of a token: its permissions made ready, its parent, and what happened to it."""

    __slots__ = (
        "constraints", "cpu", "denied", "last_used", "operations", "parent", "permissions", "revoked", "token", "type",
        "uses", "window",
    )  # fmt: skip

    def __init__(self, token: CapabilityToken, parent: Record | None, permissions: Permissions | None) -> None:
        self.token = ref(token, _forget(token.id))
        # Kept here too: a child is bound by its parent's limits although the parent's token may have been dropped.
        self.type = token.type
        self.operations = token.operations
        self.constraints = token.constraints
        self.parent = parent
        self.permissions = permissions
        self.uses = 0
        self.denied = 0
        self.last_used = 0.0
        self.revoked = ""
        self.cpu = time.process_time()
        self.window: list[float] = []

    def chain(self) -> Iterable[Record]:
        """The record itself and those it was delegated from."""
        record: Record | None = self
        while record is not None:
            yield record
            record = record.parent


def _forget(token_id: str) -> Any:
    def dropped(_: object) -> None:
        RECORDS.pop(token_id, None)

    return dropped


def _checksum(token: CapabilityToken) -> str:
    fields = [
        token.id, token.type, token.operations, token.patterns, token.holder, token.parent_id, token.depth,
        repr(token.issued_at), repr(sorted(token.constraints.items())),
    ]  # fmt: skip
    return blake2b(canonical_json(fields), key=_SECRET, digest_size=32).hexdigest()


def create_capability_token(
    capability_type: str,
    resource_patterns: Iterable[str] | None = None,
    allowed_operations: Iterable[str] | None = None,
    expires_in: timedelta | float | None = None,
    max_usage_count: int | None = None,
    *,
    holder: str = "program",
    scope: Scope | None = None,
    **constraints: Any,
) -> CapabilityToken:
    """A token for what the caller's context allows of `capability_type`, narrowed as said.

    `resource_patterns` are patterns of that type (relative paths as in `scope`, by default the current context's),
    `allowed_operations` its operations; left out, that side is not narrowed; empty, nothing is allowed.
    `expires_in` is a timedelta or seconds, `max_usage_count` a number of uses. Further constraints by name:
    `not_before` (seconds since the epoch), `denied_patterns`, `allowed_extensions`, `max_file_size`, `max_memory`,
    `max_cpu_time`, `hosts` (patterns, for network), `ports`, `methods`, `tables`, `max_rows`, `rate`,
    `max_delegations` (a number or "unlimited").
    Raises TokenError for an unknown type, operation or constraint, or a value of the wrong form.
    """
    if capability_type not in KINDS:
        raise refusal("unknown_type", f"no capability type {capability_type!r}", capability_type, KINDS)
    now = time.time()
    if capability_type == "network" and resource_patterns is None:
        resource_patterns = constraints.pop("hosts", None)
    limits = parsed(constraints)
    if expires_in is not None:
        limits["expires_at"] = now + seconds_of(expires_in)
    if max_usage_count is not None:
        limits |= parsed({"max_uses": max_usage_count})
    fields = {
        "type": capability_type,
        "operations": operations_of(capability_type, allowed_operations),
        "patterns": None if resource_patterns is None else words_of("paths", resource_patterns),
        "constraints": limits,
        "holder": holder,
    }
    return issue(fields, None, scope, now)


def issue(fields: dict[str, Any], parent: Record | None, scope: Scope | None, now: float) -> CapabilityToken:
    origin = parent.token() if parent else None
    token = CapabilityToken(
        id="cap_" + os.urandom(16).hex(),
        parent_id=origin.id if origin else "",
        depth=origin.depth + 1 if origin else 0,
        issued_at=now,
        **fields,
    )
    record = Record(token, parent, _permissions(token, scope))
    with LOCK:
        RECORDS[token.id] = record
    return token


def _permissions(token: CapabilityToken, scope: Scope | None) -> Permissions | None:
    """The token's patterns under the one algebra that also judges policies; None when it names none."""
    from launcher.capability.grant import Grant
    from launcher.capability.limits import Limits
    from launcher.capability.permissions import Permissions
    from launcher.runtime.context import current

    if token.patterns is None and "denied_patterns" not in token.constraints:
        return None
    words = KINDS[token.type].operations
    patterns = everything(token.type) if token.patterns is None else token.patterns
    allowed = [Grant(token.type, words, patterns, _network_constraints(token), f"token:{token.id}")] if patterns else []
    denied = token.constraints.get("denied_patterns", ())
    denies = [Grant(token.type, words, tuple(denied), None, f"token:{token.id}")] if denied else []
    return Permissions(allowed, denies, Limits(), scope or current().scope)


def everything(kind: str) -> tuple[str, ...]:
    """Patterns that cover each resource of a type: what "not narrowed" means when there are denied patterns."""
    return {"path": ("/", "/**"), "host": ("*",), "url": (), "command": ("*",), "program": ()}.get(
        KINDS[kind].pattern, ("**",)
    )


def _network_constraints(token: CapabilityToken) -> dict[str, Any]:
    return {key: list(token.constraints[key]) for key in ("ports", "methods") if key in token.constraints}


def operations_of(kind: str, wanted: Iterable[str] | None) -> tuple[str, ...] | None:
    if wanted is None:
        return None
    words = words_of("operations", wanted)
    for word in words:
        if word not in KINDS[kind].operations:
            raise refusal("unknown_operation", f"no operation {kind}.{word}", word, KINDS[kind].operations)
    return tuple(sorted(set(words)))


def words_of(what: str, values: Iterable[str]) -> tuple[str, ...]:
    words = () if isinstance(values, str) else tuple(values)
    if isinstance(values, str) or not all(isinstance(word, str) for word in words):
        raise TokenError(f"invalid_{what}_constraint", f"{what} must be a list of strings")
    return words


def seconds_of(span: timedelta | float) -> float:
    seconds = span if isinstance(span, (int, float)) else span.total_seconds()
    if isinstance(span, bool) or seconds != seconds:  # noqa: PLR0124  NaN compares as neither early nor late
        raise TokenError("invalid_expires_in_constraint", "expires_in must be a timedelta or seconds")
    return float(seconds)


# --- use ------------------------------------------------------------------------------------------------


def record_of(token: object) -> Record:
    """The record of a token that this process made. Raises TokenError for anything else."""
    if not isinstance(token, CapabilityToken):
        raise TokenError("capability_not_found", "not a capability token")
    record = RECORDS.get(getattr(token, "id", ""))
    if record is None or record.token() is not token:
        raise TokenError("capability_not_found", "a capability token that was not made here")
    if token.checksum != _checksum(token):
        raise TokenError("capability_signature_mismatch", "a capability token that was changed")
    return record


def check(token: CapabilityToken, operation: str, resource: Any, *, holder: str = "", **context: Any) -> None:
    """Whether `token` covers `operation` on `resource` (canonical) now. Raises TokenError, whose `code` says why not.

    `context` is as for `Permissions.decide`, and `size` in bytes of what would be written. Nothing is charged.
    """
    record = record_of(token)
    if holder and holder != token.holder:
        raise TokenError("principal_mismatch", f"the token is held by {token.holder}, not by {holder}")
    for link in record.chain():
        _check_link(link, operation, resource, context)


def _check_link(link: Record, operation: str, resource: Any, context: dict[str, Any]) -> None:
    if link.revoked:
        raise TokenError("capability_revoked", f"revoked: {link.revoked}")
    if link.operations is not None and operation not in link.operations:
        raise TokenError("operation_not_permitted", f"the token does not cover {link.type}.{operation}")
    if link.permissions is not None:
        known = {key: context[key] for key in DECIDING if key in context}
        if not link.permissions.decide(link.type, operation, resource, **known).allowed:
            raise TokenError("resource_not_permitted", f"the token does not cover {resource}")
    met(link.constraints, resource, context, link.cpu)


def use(token: CapabilityToken, operation: str, resource: Any, *, holder: str = "", **context: Any) -> None:
    """As `check`, and charges one use to the token and to all that it was delegated from, or to none of them."""
    with LOCK:
        record = record_of(token)
        try:
            check(token, operation, resource, holder=holder, **context)
            _check_counts(record)
        except TokenError:
            record.denied += 1
            raise
        now = time.time()
        for link in record.chain():
            link.uses += 1
            link.last_used = now
            if "rate" in link.constraints:
                link.window.append(now)


def _check_counts(record: Record) -> None:
    now = time.time()
    for link in record.chain():
        most = link.constraints.get("max_uses")
        if most is not None and link.uses >= most:
            raise TokenError("max_uses_exceeded", f"the token was for {most} uses")
        count, seconds = link.constraints.get("rate", (0, 0))
        link.window = [moment for moment in link.window if moment > now - seconds] if count else []
        if count and len(link.window) >= count:
            raise TokenError("rate_limit_exceeded", f"the token is for {count} uses in {seconds:g} seconds")


def usage(token: CapabilityToken) -> dict[str, Any]:
    """`uses`, `denied`, `last_used` (seconds since the epoch, 0 for never), `revoked` (the reason, or "")."""
    record = record_of(token)
    return {
        "uses": record.uses,
        "denied": record.denied,
        "last_used": record.last_used,
        "revoked": next((link.revoked for link in record.chain() if link.revoked), ""),
    }
