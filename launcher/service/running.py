"""The service itself: its verbs put together, until it is told to stop."""

from __future__ import annotations

import _signal
import os

from launcher.audit.files import audit_files
from launcher.errors import ConfigurationError, SandboxError
from launcher.identity.acting import resolve
from launcher.identity.registry import default_providers
from launcher.policy import cache
from launcher.policy.paths import Locations
from launcher.service.draining import Draining
from launcher.service.host_ids import identity_of
from launcher.service.jobs import Jobs
from launcher.service.launches import Launches
from launcher.service.live import Live
from launcher.service.loop import Loop
from launcher.service.notify import READY, STOPPING, Notifier
from launcher.service.queue.service import QueueService
from launcher.service.server import Server, listen
from launcher.service.sweeping import Sweeping
from launcher.service.whoami import about
from launcher.service.zygote import Zygote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from launcher.enforce.namespace.spec import Identity
    from launcher.identity.acting import Acting
    from launcher.identity.user import User

_STOPS = (_signal.SIGTERM, _signal.SIGINT)


class Service:
    """What `mlsandbox service run` runs. `verbs` may be added to before `run`."""

    def __init__(self, root: str | None, report: Callable[[str], None]) -> None:
        """`report` is told what an operator should read. Raises ConfigurationError."""
        if os.geteuid() != 0:
            raise ConfigurationError("the service is root's", hint="without it, `mlsandbox launch` runs as you")
        self._systemd = Notifier()
        zygote = Zygote()  # first: nothing is read before it is there
        self.locations = Locations.find(root)
        root = self.locations.root or None  # also where MLSANDBOX_ROOT says so: the zygote has no environment
        self.loop = Loop()
        self.jobs = Jobs(self.loop, zygote, root, self._identity)
        self._report = report
        self.loop.failed = self._failed
        Sweeping(self.locations, self.loop, report)
        self.live = self.jobs.watcher = Live(
            audit_files(self.locations, cache.load(self.locations, strict=True).config)
        )
        self.batch = QueueService(self.locations, root, self.loop, self.jobs)
        self.live.metrics.queue = self.batch.queue.store.counts
        launches = Launches(self.jobs, root, self.batch.admit)
        verbs = {**self.batch.verbs, **dict.fromkeys(("check", "explain", "plan"), launches.ask)}
        verbs |= {"whoami": lambda call: call.reply(about(call.acting, cache.load(self.locations, strict=True)))}
        verbs |= {**self.live.table, "launch": launches.launch, "ping": lambda call: call.reply({"pid": os.getpid()})}
        self.server = Server(self.loop, listen(self.locations), verbs, self._resolve)
        self.server.verbs["drain"] = Draining(self.loop, self.server, self.batch, self.jobs).drain

    def run(self) -> None:
        """Until SIGTERM or SIGINT. SIGHUP: see `_signalled`."""
        woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        _signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        for number in _STOPS:
            _signal.signal(number, lambda *_: None)
        _signal.signal(_signal.SIGHUP, lambda *_: None)
        self.loop.watch(woken, lambda _events: self._signalled(os.read(woken, 512)))
        self._report(f"listening at {self.locations.runtime}")
        self._systemd.tell(READY)
        self.loop.run()
        self._systemd.tell(STOPPING)
        self.server.close()
        self.batch.close()
        self.jobs.close()

    def _signalled(self, numbers: bytes) -> None:
        """SIGHUP takes the configuration anew (policies and grants are looked at for each launch anyway)."""
        if any(number in _STOPS for number in numbers):
            self.loop.stop()
            return
        try:
            self.batch.reload()
            self._report("the configuration is taken anew")
        except SandboxError as error:
            self._report(f"the old configuration holds: {error}")

    def _failed(self, error: BaseException) -> None:
        import traceback

        self._report("internal error\n" + "".join(traceback.format_exception(error)))

    def _resolve(self, caller: User, wanted: str | None, token: str | None, stored: str | None) -> Acting:
        """Who a call is for: as in a launch without the service, a stored token counts where tokens are verified.

        Raises IdentityError.
        """
        config = cache.load(self.locations, strict=True).config
        token = token or (stored if config.jwt else None)
        if token:
            caller = default_providers(config).authenticate("jwt", token=token)
        return resolve(caller, wanted, config, process_uid=os.geteuid())

    def _identity(self, user: User) -> Identity:
        config = cache.load(self.locations, strict=True).config
        return identity_of(user, self.locations, config.id_range)
