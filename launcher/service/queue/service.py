"""The queue as a part of the service: opened with what the one before it left, closed with its records on disk."""

from __future__ import annotations

from launcher.audit.event import event
from launcher.audit.head import boot_id
from launcher.audit.log import AuditLog
from launcher.errors import RefusedError
from launcher.policy import cache
from launcher.service.queue.beside import admit
from launcher.service.queue.clock import now_ms
from launcher.service.queue.durable import Durable
from launcher.service.queue.keeping import Keeping
from launcher.service.queue.launches import Launches
from launcher.service.queue.model import job_name
from launcher.service.queue.queue import Queue
from launcher.service.queue.recovery import Recovered, recover
from launcher.service.queue.settings import Settings
from launcher.service.queue.spool import Spool
from launcher.service.queue.store import Store
from launcher.service.queue.verbs import Verbs
from launcher.service.queue.watching import Watching

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from launcher.policy.paths import Locations
    from launcher.service.jobs import Jobs
    from launcher.service.loop import Loop
    from launcher.service.queue.endings import Ending
    from launcher.service.queue.model import Key
    from launcher.service.request import Request


class QueueService:
    """Made before the first client is served. `verbs` are its handlers, `recovered` what was found."""

    def __init__(self, locations: Locations, root: str | None, loop: Loop, jobs: Jobs) -> None:
        """Raises ConfigurationError."""
        self._locations = locations
        self.opened = now_ms()
        self._log = AuditLog(locations, cache.load(locations, strict=True).config)
        settings = self._settings()
        store = Store(f"{locations.state}/queue.db")
        self._durable = Durable(f"{store.path}-wal", loop)
        launches = Launches(locations, root, jobs, self._log, self._durable)
        launches.settings = settings
        self._launches = launches
        self.queue = Queue(store, Spool(f"{locations.state}/spool"), loop, settings, launches)
        watching = Watching()
        self.keeping = Keeping(self.queue)
        self.queue.told_start = watching.started
        self.queue.told = self._ended
        self._watching = watching
        self.verbs = Verbs(self.queue, watching, self._log, root, self._snapshot).table
        self.recovered = self._recover()
        self.keeping.begin()

    def _ended(self, key: Key, ending: Ending) -> None:
        self._watching.ended(key, ending)
        self.keeping.ended(key)

    def _snapshot(self) -> cache.Snapshot:
        return cache.load(self._locations, strict=True)

    def _settings(self) -> Settings:
        return Settings(self._snapshot().config.queue)

    def _recover(self) -> Recovered:
        found = recover(self.queue, boot_id().hex())
        lost = [
            event(
                "job.interrupted", "service", user=row["tenant"], job=row["runs"].rpartition(" ")[2],
                detail={"queued": job_name((row["submission"], row["idx"]), row["jobs"]), "attempts": row["attempts"]},
            )
            for row in found.interrupted
        ]  # fmt: skip
        if lost:
            self._log.append(lost)
        return found

    def admit(self, request: Request, tenant: str) -> Callable[[], None]:
        """Counts a launch beside the queue; what is to be called when it has ended. Raises RefusedError."""
        if self.queue.draining:
            raise RefusedError("the service is being drained", hint="launch again when it is up again")
        return admit(self.queue, request, tenant)

    def reload(self) -> None:
        """Takes the configuration as it is now. Raises ConfigurationError; the old one holds then."""
        settings = self._settings()
        self._launches.settings = settings
        self.queue.configure(settings)

    def drain(self) -> None:
        """Starts nothing more, and takes nothing more."""
        self.queue.draining = True

    def resume(self) -> None:
        """Goes on after `drain`."""
        self.queue.draining = False
        self.queue.pump()

    def close(self) -> None:
        """What is recorded is on disk when this returns."""
        self._durable.close()
        self.queue.store.close()
        self._log.close()
