"""The verb `drain`: nothing more is started, and what runs is waited for; before a restart or an upgrade.

Who connects meanwhile waits in the listening socket's backlog. Where systemd holds the socket, the next service takes
them from there, so that nobody is refused; queued jobs are on disk.
"""

from __future__ import annotations

from launcher.errors import IdentityError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from launcher.service.calls import Call
    from launcher.service.jobs import Jobs
    from launcher.service.loop import Loop
    from launcher.service.queue.service import QueueService
    from launcher.service.server import Server

_LOOK = 0.2  # seconds between two looks at what still runs


class Draining:
    """Handles `drain`. Who asked and leaves before it is done takes it back."""

    def __init__(self, loop: Loop, server: Server, batch: QueueService, jobs: Jobs) -> None:
        self._loop = loop
        self._server = server
        self._batch = batch
        self._jobs = jobs
        self._asked = 0

    def drain(self, call: Call) -> None:
        """For operators. Answers, as parts, with `{"running": number}` whenever that changes; `{}` when nothing runs.

        The service stays drained afterwards: it is to be stopped.
        """
        if not call.acting.operator:
            raise IdentityError("only an operator may drain the service", hint="ask one of them")
        self._asked += 1
        self._server.hold()
        self._batch.drain()
        call.on_gone = self._take_back
        self._look(call, -1)

    def _look(self, call: Call, before: int) -> None:
        if call.answered:
            return
        running = len(self._jobs.running)
        if not running:
            call.reply({})
            return
        if running != before:
            call.stream({"running": running})
        self._loop.at(_LOOK, lambda: self._look(call, running))

    def _take_back(self) -> None:
        self._asked -= 1
        if not self._asked:
            self._batch.resume()
            self._server.go_on()
