"""Counted constraints of grants: uses, rates, requests, bytes, sizes. The state is per job and lives in this process.

The trusted side counts too where it sees the operation (the egress proxy, the commit); this is the first line, which
can name the grant in the error a program gets.
"""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from launcher.capability.grant import Grant

# Which constraint counts what. `rate` counts within a window, the others for the life of the job.
COUNTED = {"max_uses": "uses", "max_requests": "requests", "max_bytes": "bytes"}


class _Count:
    """What was spent of one grant."""

    __slots__ = ("bytes", "requests", "uses", "window")

    def __init__(self) -> None:
        self.uses = 0
        self.requests = 0
        self.bytes = 0
        self.window: list[float] = []


class Quotas:
    """What the job has spent of each of its grants."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[int, tuple[Grant, _Count]] = {}

    def count(self, grant: Grant) -> _Count:
        """The counter of a grant, by identity: one grant may come up under several operations."""
        entry = self._counts.get(id(grant))
        if entry is None or entry[0] is not grant:
            entry = self._counts[id(grant)] = (grant, _Count())
        return entry[1]

    def refusal(self, grants: Sequence[Grant], size: int | None) -> str:
        """Why none of the grants has anything left ("" when one has), as a part of a sentence."""
        reasons = [self._spent(grant, size) for grant in grants]
        return "" if not all(reasons) or not reasons else reasons[0]

    def charge(self, grants: Sequence[Grant], size: int | None, *, request: bool) -> None:
        """Charges one use to the first of the grants that has something left."""
        for grant in grants:
            if not self._spent(grant, size):
                if grant.constraints:
                    spent = self.count(grant)
                    spent.uses += 1
                    spent.requests += request
                    if "rate" in grant.constraints:
                        spent.window.append(time.monotonic())
                return

    def charge_bytes(self, grants: Sequence[Grant], amount: int) -> None:
        """Charges what came in or went out on behalf of the first grant that counts bytes."""
        for grant in grants:
            if "max_bytes" in grant.constraints:
                self.count(grant).bytes += amount
                return

    def _spent(self, grant: Grant, size: int | None) -> str:
        limits = grant.constraints
        if not limits:
            return ""
        most = limits.get("max_file_size")
        if most is not None and size is not None and size > most:
            return f"{size} bytes are more than max_file_size {most}"
        spent = self.count(grant)
        for name, counter in COUNTED.items():
            if limits.get(name) is not None and getattr(spent, counter) >= limits[name]:
                return f"{name} {limits[name]} is used up"
        return self._too_fast(spent, limits)

    @staticmethod
    def _too_fast(spent: _Count, limits: dict[str, Any]) -> str:
        if limits.get("rate") is None:
            return ""
        from launcher.runtime.constraints import rate

        most, seconds = rate(limits["rate"])
        now = time.monotonic()
        spent.window = [moment for moment in spent.window if moment > now - seconds]
        return f"the rate {limits['rate']} is used up" if len(spent.window) >= most else ""


def least(grants: Sequence[Grant], name: str) -> int | None:
    """The bound that the grants together give for `name`: the loosest of them, None when one has no bound."""
    bounds = [grant.constraints.get(name) for grant in grants]
    known = [bound for bound in bounds if bound is not None]
    return max(known) if known and len(known) == len(bounds) else None
