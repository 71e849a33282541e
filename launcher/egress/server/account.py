"""What a job and a grant have used: exact byte budgets, request counts, token buckets."""

from __future__ import annotations

NO_LIMIT = 1 << 62


class Budget:
    """A number of bytes that may still move, shared by all connections that it covers."""

    __slots__ = ("left",)

    def __init__(self, limit: int = NO_LIMIT) -> None:
        self.left = limit


class Bucket:
    """A token bucket: `rate` a second, at most `burst` at once. Time is passed in."""

    __slots__ = ("burst", "rate", "stamp", "tokens")

    def __init__(self, rate: float, burst: float) -> None:
        self.rate = rate
        self.burst = burst
        self.tokens = burst
        self.stamp: float | None = None

    def take(self, now: float) -> bool:
        """Whether there is a token, which is then gone."""
        since = 0.0 if self.stamp is None else max(0.0, now - self.stamp)
        self.stamp = now
        self.tokens = min(self.burst, self.tokens + since * self.rate)
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class Account:
    """The counters of one connection and the budgets that it draws on; `upload` is for what the job sends alone.

    `may_send` and `may_receive` are how many bytes may move now; 0 means a budget is used up. Whoever moves bytes asks
    first and moves no more than that, so the sum over all connections is exact.
    """

    __slots__ = ("budgets", "down", "up", "upload")

    def __init__(self, *budgets: Budget, upload: Budget | None = None) -> None:
        self.budgets = budgets
        self.upload = upload or Budget()
        self.up = 0
        self.down = 0

    # Called for every piece of every connection: comparisons are a fifth of what min() and a method cost.

    def may_send(self, wanted: int) -> int:
        left = self.upload.left
        return self.may_receive(wanted if wanted < left else left)  # noqa: FURB136  see above

    def may_receive(self, wanted: int) -> int:
        for budget in self.budgets:
            if budget.left < wanted:  # noqa: PLR1730  see above
                wanted = budget.left
        return wanted if wanted > 0 else 0  # noqa: FURB136  see above

    def sent(self, count: int) -> None:
        self.up += count
        self.upload.left -= count
        self._spend(count)

    def received(self, count: int) -> None:
        self.down += count
        self._spend(count)

    def _spend(self, count: int) -> None:
        for budget in self.budgets:
            budget.left -= count
