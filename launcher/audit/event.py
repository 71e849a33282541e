"""Audit events: what one line of the log holds, bounded and in one byte form.

Every line has all of `FIELDS`, so a reader needs no defaults. `prev` chains a line to the one before it.
"""

from __future__ import annotations

import time

from launcher.audit.redact import redacted_event
from launcher.canonical import canonical_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

ALLOWED = "ALLOWED"
DENIED = "DENIED"
LAYERS = ("policy", "runtime", "kernel", "egress", "commit", "service")
TEXT_FIELDS = (
    "time", "job", "trace", "actor", "user", "event", "layer", "capability", "operation", "resource", "outcome",
)  # fmt: skip
FIELDS = (*TEXT_FIELDS, "seq", "deciders", "detail", "prev")
GENESIS = "sha256:" + "0" * 64  # `prev` of the first event of a log

MAX_TEXT = 8192  # characters; PATH_MAX is 4096 bytes, addresses are longer in practice
MAX_ITEMS = 256
MAX_DEPTH = 8
MAX_LINE = 65536  # bytes: one reader buffer, and a job cannot blow the log up with one argument list


def event(  # noqa: PLR0913  one keyword per field of the log
    name: str,
    layer: str,
    outcome: str = "",
    *,
    user: str = "",
    actor: str = "",
    job: str = "",
    trace: str = "",
    capability: str = "",
    operation: str = "",
    resource: str = "",
    deciders: Iterable[object] = (),
    detail: dict[str, object] | None = None,
) -> dict[str, object]:
    """One event, stamped with the time now. `AuditLog.append` adds `seq` and `prev`.

    `outcome` is ALLOWED, DENIED or empty for what is only recorded; `resource` is what the job asked for, as it wrote
    it; `actor` is who called, `user` for whom. `deciders` are grants, or their data. Raises ValueError for other
    layers and outcomes.
    """
    if layer not in LAYERS or outcome not in (ALLOWED, DENIED, ""):
        raise ValueError(f"no audit layer {layer!r} or outcome {outcome!r}")
    return {
        "time": timestamp(time.time_ns()),
        "event": name,
        "layer": layer,
        "outcome": outcome,
        "user": user,
        "actor": actor or user,
        "job": job,
        "trace": trace or job,
        "capability": capability,
        "operation": operation,
        "resource": resource,
        "deciders": [_decider(item) for item in deciders],
        "detail": detail or {},
    }


def timestamp(nanoseconds: int) -> str:
    """Nanoseconds since the epoch as RFC 3339 in UTC with microseconds: fixed width, so texts sort as times do."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest // 1000:06d}Z"


def sealed(item: dict[str, object], seq: int, prev: str) -> bytes:
    """The line of an event without its line feed: bounded, without secrets, canonical.

    Raises ValueError for a field that the log does not have.
    """
    unknown = [key for key in item if key not in FIELDS]
    if unknown:
        raise ValueError(f"no audit field {unknown[0]!r}")
    whole: dict[str, object] = dict.fromkeys(TEXT_FIELDS, "")
    whole.update({"deciders": [], "detail": {}})
    whole.update(redacted_event({key: bounded(item[key]) for key in item}))
    whole.update({"seq": seq, "prev": prev})
    return _fitting(whole)


def _fitting(whole: dict[str, object]) -> bytes:
    """What can be left out first goes first, until the line fits."""
    line = canonical_json(whole)
    for field, smaller in (("detail", {"dropped": len(line)}), ("deciders", []), ("resource", None)):
        if len(line) <= MAX_LINE:
            break
        whole[field] = str(whole[field])[: MAX_LINE // 16] if smaller is None else smaller
        line = canonical_json(whole)
    return line


def bounded(value: object, depth: int = 0) -> object:
    """`value` as a JSON value of bounded size: bytes and other types become text, what is too long says so."""
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, str):
        return value if len(value) <= MAX_TEXT else f"{value[:MAX_TEXT]}...(+{len(value) - MAX_TEXT})"
    if isinstance(value, bytes):
        return bounded(value[: 4 * MAX_TEXT].decode("utf-8", "surrogateescape"))
    if depth >= MAX_DEPTH or not isinstance(value, (dict, list, tuple)):
        return bounded(str(value))
    if isinstance(value, dict):
        return {str(key)[:MAX_TEXT]: bounded(value[key], depth + 1) for key in list(value)[:MAX_ITEMS]}
    items = [bounded(item, depth + 1) for item in value[:MAX_ITEMS]]
    return items if len(value) <= MAX_ITEMS else [*items, f"...(+{len(value) - MAX_ITEMS})"]


def _decider(item: object) -> object:
    """A grant by where it stands; anything else is data already."""
    place = getattr(item, "place", None)
    if place is None:
        return item
    return {"policy": str(getattr(item, "policy", "")), "place": str(place)}
