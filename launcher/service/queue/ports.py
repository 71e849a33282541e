"""What the queue asks of the rest of the service."""

from __future__ import annotations

from typing import Protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from sqlite3 import Row
    from typing import Any

    from launcher.identity.acting import Acting
    from launcher.service.jobs import Ended
    from launcher.service.request import Request


class Start:
    """A launch that is about to be made: `run` is its id in the audit log."""

    __slots__ = ("acting", "request", "run")

    def __init__(self, run: str, request: Request, acting: Acting) -> None:
        self.run = run
        self.request = request
        self.acting = acting


class Running(Protocol):
    """`launcher.service.jobs.RunningJob`."""

    def kill(self) -> None:
        """Ends the job; `on_end` is called when that is done."""


class OnDisk(Protocol):
    """`launcher.service.queue.durable.Durable`."""

    failure: str

    def after(self, callback: Callable[[], None]) -> None:
        """Calls back, from the loop, when what was written before is on disk, or cannot be (`failure`)."""


class Starter(Protocol):
    """Makes launches."""

    @property
    def durable(self) -> OnDisk: ...

    def prepare(self, row: Row, secret: Mapping[str, Any]) -> Start:
        """Who a job is for, as of now, and what is launched. Raises SandboxError, recorded."""

    def start(self, start: Start, streams: tuple[int, int], on_end: Callable[[Ended], None]) -> Running:
        """Starts it with copies of `streams`; `on_end` is called from the loop, once."""

    def close(self, fd: int) -> None:
        """Closes a stream that was started with."""
