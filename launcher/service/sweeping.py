"""What the service before this one left is collected when this one starts: control groups, interrupted commits.

By a process of its own, since a commit is finished in the tenant's directories, and the tenant's file system may let
that wait for ever. Twice: what a service leaves that was killed just now takes up to a second to end.
"""

from __future__ import annotations

import os

from launcher.audit.log import AuditLog
from launcher.enforce.namespace.init import close_all_but
from launcher.errors import SandboxError
from launcher.policy import cache
from launcher.service.leftovers import sweep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from launcher.policy.paths import Locations
    from launcher.service.loop import Loop

AGAIN = 3.0  # seconds


class Sweeping:
    """Runs `sweep` now and once more. `report` is told what went wrong."""

    def __init__(self, locations: Locations, loop: Loop, report: Callable[[str], None]) -> None:
        self._locations = locations
        self._loop = loop
        self._report = report
        self._start()
        loop.at(AGAIN, self._start)

    def _start(self) -> None:
        pid = os.fork()
        if pid == 0:
            _sweep(self._locations)
        watched = os.pidfd_open(pid)
        self._loop.watch(watched, lambda _events: self._ended(pid, watched))

    def _ended(self, pid: int, watched: int) -> None:
        self._loop.forget(watched)
        os.close(watched)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if status:
            self._report("what the last service left could not be collected; `mlsandbox doctor --clean` says why")


def _sweep(locations: Locations) -> NoReturn:
    status = 1
    try:
        close_all_but(0, 1, 2)
        log = AuditLog(locations, cache.load(locations, strict=True).config)
        found = sweep(locations, log)
        log.close()
        status = int(any(item.stuck for item in found))
    except SandboxError:
        pass
    finally:
        os._exit(status)
