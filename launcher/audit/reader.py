"""Reading the log: a stream of events with filters, in constant memory.

There is no index: ten million events are about 4 GB and take as long as reading and matching that does
(docs/reference/audit.md has the figure). Lines that cannot match are told apart by their bytes, before JSON.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from launcher.audit.files import failed
from launcher.audit.segments import close, lines, opened
from launcher.canonical import canonical_json
from launcher.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from launcher.audit.files import AuditFiles

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_AGO = re.compile(r"(\d{1,6})([smhdw])")


@dataclass(frozen=True, slots=True)
class Filters:
    """What an event must be; an empty field takes any. `since` and `until` are texts as `moment` makes them."""

    user: str = ""
    since: str = ""
    until: str = ""
    outcome: str = ""
    job: str = ""
    capability: str = ""

    def needles(self) -> list[bytes]:
        """Bytes that every matching line has: canonical JSON writes a member in exactly one way."""
        exact = (("capability", self.capability), ("job", self.job), ("outcome", self.outcome), ("user", self.user))
        return [canonical_json({name: value})[1:-1] for name, value in exact if value]

    def match(self, event: dict[str, Any]) -> bool:
        exact = (("capability", self.capability), ("job", self.job), ("outcome", self.outcome), ("user", self.user))
        if any(value and event.get(name) != value for name, value in exact):
            return False
        time = str(event.get("time", ""))
        return time >= self.since and (not self.until or time < self.until)


def read(
    files: AuditFiles, filters: Filters | None = None, *, damaged: Callable[[str], None] | None = None
) -> Iterator[dict[str, Any]]:
    """The events of all segments that match, oldest first. A half-written last line is passed over.

    `damaged` is told the place of each line that is no event. Raises AuditError where a file cannot be read.
    """
    wanted = filters or Filters()
    needles = wanted.needles()
    segments = opened(files.log)
    try:
        for segment in segments:
            for line in lines(segment):
                if line.torn or not all(needle in line.data for needle in needles):
                    continue
                event = _parsed(line.data)
                if event is None:
                    if damaged is not None:
                        damaged(line.place)
                elif wanted.match(event):
                    yield event
    except OSError as error:
        raise failed("read", files.log, error) from error
    finally:
        close(segments)


def moment(text: str, now: datetime | None = None) -> str:
    """A time as people write it, as the log has it (RFC 3339, UTC, microseconds).

    `2025-10-01`, `2025-10-01T10:30`, `2025-10-01 10:30:00+02:00` (local where no zone is written), or how long ago:
    `90s`, `30m`, `1h`, `2d`, `1w`. Raises UsageError.
    """
    return _moment(text, now or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _moment(text: str, now: datetime) -> datetime:
    ago = _AGO.fullmatch(text.strip())
    try:
        if ago:
            return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        found = datetime.fromisoformat(text.strip())
        return found if found.tzinfo else found.astimezone()
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"not a time: {text!r}", hint="write 2025-10-01, 2025-10-01T10:30, or how long ago: 30m, 1h, 2d, 1w"
        ) from error


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        data = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None
