"""Who waits for jobs, and who follows their output. What is told comes from the queue, once for each job."""

from __future__ import annotations

from launcher.service.queue.dependencies import ALL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from launcher.service.queue.endings import Ending
    from launcher.service.queue.model import Key

    Change = Callable[[Key, str], None]  # which job; STARTED or ENDED

STARTED, ENDED = "started", "ended"


class Watch:
    """One thing that is watched for; `cancel` may be called at any time."""

    __slots__ = ("_all", "callback", "index", "submission")

    def __init__(self, everything: Watching, key: Key, callback: Change) -> None:
        self._all = everything
        self.submission, self.index = key
        self.callback = callback

    def cancel(self) -> None:
        self._all.forget(self)


class Watching:
    """The watches, by what they watch: an end costs those whom it concerns, not all who wait for its submission."""

    __slots__ = ("_watches",)

    def __init__(self) -> None:
        self._watches: dict[Key, set[Watch]] = {}

    def watch(self, key: Key, callback: Change) -> Watch:
        """`callback` is called for each change of a job that `key` selects."""
        made = Watch(self, key, callback)
        self._watches.setdefault(key, set()).add(made)
        return made

    def forget(self, watch: Watch) -> None:
        key = (watch.submission, watch.index)
        watches = self._watches.get(key)
        if watches is not None:
            watches.discard(watch)
            if not watches:
                del self._watches[key]

    def started(self, key: Key, _attempt: int) -> None:
        self._tell(key, STARTED)

    def ended(self, key: Key, _ending: Ending) -> None:
        self._tell(key, ENDED)

    def _tell(self, key: Key, what: str) -> None:
        for index in (ALL, key[1]):
            for watch in list(self._watches.get((key[0], index), ())):
                watch.callback(key, what)
