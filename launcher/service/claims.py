"""What the runtime inside the sandbox reported: claims of the job, kept apart from facts by their layer.

The bytes are the attacker's: bounded, strictly read, every field reduced to short text.
"""

from __future__ import annotations

import json

from launcher.audit.event import ALLOWED, DENIED, event

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LONGEST_LINE = 16384
_LONGEST_TEXT = 4096


def claims(data: bytes, who: dict[str, str], *, most: int) -> tuple[list[dict[str, object]], list[dict[str, Any]]]:
    """Audit events of layer `runtime` and the denials among them; what is beyond `most` is counted in one event."""
    events: list[dict[str, object]] = []
    denials: list[dict[str, Any]] = []
    lost = 0
    for line in data.split(b"\n"):
        item = _claim(line)
        if item is None:
            continue
        if len(events) >= most:
            lost += 1
            continue
        made = _event(item, who)
        events.append(made)
        if made["outcome"] == DENIED:
            detail = item.get("detail")
            canonical = str(detail.get("canonical", ""))[:_LONGEST_TEXT] if isinstance(detail, dict) else ""
            denials.append({**made, "detail": {"canonical": canonical}})
    if lost:
        events.append({**event("audit.dropped", "runtime", detail={"events": lost}), **who})
    return events, denials


def _claim(line: bytes) -> dict[str, Any] | None:
    if not line or len(line) > _LONGEST_LINE:
        return None
    try:
        item = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return item if isinstance(item, dict) and item.get("outcome") in (ALLOWED, DENIED) else None


def _event(item: dict[str, Any], who: dict[str, str]) -> dict[str, object]:
    capability, operation, resource = (
        str(item.get(name, ""))[:_LONGEST_TEXT] for name in ("capability", "operation", "resource")
    )
    made = event(
        "capability", "runtime", str(item["outcome"]),
        capability=capability, operation=operation, resource=resource,
    )  # fmt: skip
    return {**made, **who}
