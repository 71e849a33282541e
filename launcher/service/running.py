"""The service itself: its verbs put together, until it is told to stop."""

from __future__ import annotations

import _signal
import os

from launcher.identity.acting import resolve
from launcher.identity.registry import default_providers
from launcher.policy import cache
from launcher.policy.paths import Locations
from launcher.service import received
from launcher.service.jobs import Jobs
from launcher.service.loop import Loop
from launcher.service.queue.service import QueueService
from launcher.service.server import Server, listen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from launcher.identity.acting import Acting
    from launcher.identity.user import User
    from launcher.service.calls import Call
    from launcher.service.jobs import Ended

_STOPS = (_signal.SIGTERM, _signal.SIGINT)


class Service:
    """What `mlsandbox service run` runs. `verbs` may be added to before `run`."""

    def __init__(self, root: str | None, report: Callable[[str], None]) -> None:
        """`report` is told what an operator should read. Raises ConfigurationError."""
        self.root = root
        self.locations = Locations.find(root)
        self.loop = Loop()
        self.jobs = Jobs(self.loop)
        self._report = report
        self.loop.failed = self._failed
        self.batch = QueueService(self.locations, root, self.loop, self.jobs)
        verbs = {**self.batch.verbs, "launch": self._launch, "ping": lambda call: call.reply({"pid": os.getpid()})}
        self.server = Server(self.loop, listen(self.locations), verbs, self._resolve)

    def run(self) -> None:
        """Until SIGTERM or SIGINT."""
        woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        _signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        for number in _STOPS:
            _signal.signal(number, lambda *_: None)
        self.loop.watch(woken, lambda _events: self.loop.stop())
        self._report(f"listening at {self.locations.runtime}")
        self.loop.run()
        self.server.close()
        self.batch.close()

    def _failed(self, error: BaseException) -> None:
        import traceback

        self._report("internal error\n" + "".join(traceback.format_exception(error)))

    def _resolve(self, caller: User, wanted: str | None, token: str | None) -> Acting:
        """Who a call is for. Raises IdentityError."""
        config = cache.load(self.locations, strict=True).config
        if token:
            caller = default_providers(config).authenticate("jwt", token=token)
        return resolve(caller, wanted, config, process_uid=os.geteuid())

    def _launch(self, call: Call) -> None:
        request = received.from_data(call.message, self.root)
        stdin, stdout, stderr = call.fds[:3]

        def ended(end: Ended) -> None:
            if end.error:
                call.fail(end.error)
            else:
                call.reply({"result": end.result})

        job = self.jobs.start(request, call.acting, (stdin, stdout, stderr), ended)
        call.on_gone = job.kill
