"""How long what has ended is kept: jobs for `keep`, output no longer than a tenant's `max_spool` has room for it."""

from __future__ import annotations

from launcher.service.queue.clock import now_ms

TYPE_CHECKING = False
if TYPE_CHECKING:
    from launcher.service.queue.model import Key
    from launcher.service.queue.queue import Queue

_EVERY = 10.0  # seconds
_BETWEEN = 0.005  # seconds, where there is more to remove
_AT_ONCE = 20  # rows that are removed in a turn of the loop


class Keeping:
    """Removes what is too old or too much, a few rows at a time."""

    __slots__ = ("_queue", "_spooled")

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._spooled: dict[str, int] = {}

    def begin(self) -> None:
        """Counts what there is, and looks again every few seconds."""
        self._spooled = self._queue.store.spooled_by_tenant()
        self._look()

    def ended(self, key: Key) -> None:
        """A job has ended: its output counts."""
        row = self._queue.store.job(key)
        if row is None or not row["spooled"]:
            return
        tenant = row["tenant"]
        self._spooled[tenant] = self._spooled.get(tenant, 0) + row["spooled"]
        self._make_room(tenant)

    def _look(self) -> None:
        more = self._expire()
        self._queue.loop.at(_BETWEEN if more else _EVERY, self._look)

    def _expire(self) -> bool:
        """Whether there may be more."""
        queue = self._queue
        found = queue.store.expired(now_ms() - queue.settings.keep * 1000, _AT_ONCE)
        for row in found:
            queue.spool.remove((row["submission"], row["idx"]), row["attempts"])
            self._spooled[row["tenant"]] = max(0, self._spooled.get(row["tenant"], 0) - row["spooled"])
        queue.store.drop([(row["submission"], row["idx"]) for row in found])
        return bool(found)

    def _make_room(self, tenant: str) -> None:
        """The oldest output goes first; the jobs themselves stay listed."""
        queue = self._queue
        own = queue.settings.tenant(tenant)["max_spool"]
        while self._over(tenant, own) or sum(self._spooled.values()) > queue.settings.max_spool:
            oldest = queue.store.oldest_output(tenant, 1)
            if not oldest:
                return
            row = oldest[0]
            queue.spool.remove((row["submission"], row["idx"]), row["attempts"])
            queue.store.set((row["submission"], row["idx"]), spooled=0)
            self._spooled[tenant] -= row["spooled"]

    def _over(self, tenant: str, most: int | None) -> bool:
        return most is not None and self._spooled.get(tenant, 0) > most
