"""A flood of denials must not fill the disk or hide the rest: a token bucket per job, and a count of what it dropped.

10^6 denials from one job (attack 84) become a burst, then a steady trickle, then one line that says how many more
there were. Only denials are dropped: what was allowed and what the launcher did is always written.
Pure: the clock is an argument.
"""

from __future__ import annotations

from launcher.audit.event import DENIED, event

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

SUPPRESSED = "audit.suppressed"
BURST = 200  # denials written at once; a person reads fewer
RATE = 20  # denials a second after that: 72,000 an hour, about 30 MB
SUMMARY_NS = 1_000_000_000  # at most one summary a second while the flood lasts
MAX_KINDS = 32  # kinds of denial counted apart in one summary
_SECOND = 1_000_000_000


class DenialLimit:
    """The bucket of one job. `rate` is events a second, `burst` the most at once."""

    __slots__ = ("_burst", "_kinds", "_last", "_rate", "_reported", "_sample", "_tokens", "dropped")

    def __init__(self, rate: int = RATE, burst: int = BURST) -> None:
        self._rate = rate
        self._burst = burst * _SECOND  # in billionths of a token, so that integers suffice
        self._tokens = self._burst
        self._last = 0
        self._reported = 0
        self._kinds: dict[str, int] = {}
        self._sample: dict[str, object] = {}
        self.dropped = 0

    def passed(self, events: Iterable[dict[str, object]], now: int) -> list[dict[str, object]]:
        """What of `events` is to be written at `now` (monotonic nanoseconds), and a summary where one is due."""
        result = [item for item in events if item.get("outcome") != DENIED or self._take(item, now)]
        if self._kinds and now - self._reported >= SUMMARY_NS:
            result += self.flushed(now)
        return result

    def flushed(self, now: int) -> list[dict[str, object]]:
        """The summary of what was dropped since the last one; empty where nothing was. Call it when the job ends."""
        if not self._kinds:
            return []
        detail: dict[str, object] = {"dropped": sum(self._kinds.values()), "kinds": dict(self._kinds)}
        fields = {name: str(self._sample.get(name, "")) for name in ("user", "actor", "job", "trace")}
        self._kinds = {}
        self._reported = now
        return [event(SUPPRESSED, "service", DENIED, detail=detail, **fields)]

    def _take(self, item: dict[str, object], now: int) -> bool:
        self._tokens = min(self._burst, self._tokens + (now - self._last) * self._rate) if self._last else self._burst
        self._last = now
        if self._tokens >= _SECOND:
            self._tokens -= _SECOND
            return True
        self._drop(item, now)
        return False

    def _drop(self, item: dict[str, object], now: int) -> None:
        if not self._kinds:
            self._sample = item
            self._reported = now
        kind = f"{item.get('capability', '')}.{item.get('operation', '')}"[:64]
        if kind not in self._kinds and len(self._kinds) >= MAX_KINDS:
            kind = "other"
        self._kinds[kind] = self._kinds.get(kind, 0) + 1
        self.dropped += 1
