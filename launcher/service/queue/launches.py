"""Queued jobs as launches of the service: who, what, and the record of what is refused before there is a launch."""

from __future__ import annotations

import os

from launcher.audit.event import DENIED, event
from launcher.errors import AuditError, IdentityError, SandboxError
from launcher.policy import cache
from launcher.service.launching import new_id
from launcher.service.queue.model import job_name
from launcher.service.queue.ports import Start
from launcher.service.queue.starting import acting_for, request_for

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from sqlite3 import Row
    from typing import Any

    from launcher.audit.log import AuditLog
    from launcher.policy.paths import Locations
    from launcher.service.jobs import Ended, Jobs, RunningJob
    from launcher.service.queue.durable import Durable
    from launcher.service.queue.settings import Settings


class Launches:
    """The queue's `Starter`."""

    def __init__(self, locations: Locations, root: str | None, jobs: Jobs, log: AuditLog, durable: Durable) -> None:
        self.durable = durable
        self.settings: Settings
        self._locations = locations
        self._root = root
        self._jobs = jobs
        self._log = log
        self._null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def prepare(self, row: Row, secret: Mapping[str, Any]) -> Start:
        """Who a job is for, as of now, and what is launched. Raises SandboxError, which is recorded."""
        try:
            config = cache.load(self._locations, strict=True).config
            acting = acting_for(row, config, self.settings)
            return Start(new_id(), request_for(row, secret, self._root, self.settings), acting)
        except IdentityError as error:
            self._record(row, error)
            raise

    def start(self, start: Start, streams: tuple[int, int], on_end: Callable[[Ended], None]) -> RunningJob:
        return self._jobs.start(start.request, start.acting, (self._null, *streams), on_end, job=start.run)

    def close(self, fd: int) -> None:
        os.close(fd)

    def _record(self, row: Row, error: SandboxError) -> None:
        name = job_name((row["submission"], row["idx"]), row["jobs"])
        refused = event(
            "launch", "policy", DENIED,
            user=row["tenant"], trace=f"queue:{name}", detail={"reason": str(error)[:4000], "queued": name},
        )  # fmt: skip
        try:
            self._log.append([refused])
        except AuditError as failure:
            error.hint = f"{error.hint}\nthis refusal is not in the audit log: {failure.message}".lstrip()
