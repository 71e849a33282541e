"""An event as a person reads it: `[2025-10-03 10:30:02] alice DENIED file.write secret/passwords.txt`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from launcher.audit.printable import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

_NOWHERE = "----------"


def line(event: Mapping[str, object]) -> str:
    """One line without a line feed, safe for a terminal: local time, user, outcome, operation, resource.

    The resource is what the job wrote; what cannot be printed is escaped, so that no name forges a line (attack 91).
    An event without an operation (a launch, a rotation) shows its own name there.
    """
    parts = [_text(event, "user") or "-", _text(event, "outcome"), operation(event), _text(event, "resource")]
    return f"[{local_time(_text(event, 'time'))}] " + " ".join([printable(part) for part in parts if part])


def operation(event: Mapping[str, object]) -> str:
    """`file.write`: capability and operation joined, where the operation does not say both; else the event's name."""
    capability, name = _text(event, "capability"), _text(event, "operation")
    if not name:
        return _text(event, "event")
    return name if not capability or "." in name else f"{capability}.{name}"


def local_time(text: str) -> str:
    """A time of the log (RFC 3339, UTC) as local time to the second; dashes where it is none."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return f"{_NOWHERE} {_NOWHERE[:8]}"
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _text(event: Mapping[str, object], name: str) -> str:
    value = event.get(name, "")
    return value if isinstance(value, str) else str(value)
