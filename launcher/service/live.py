"""What runs now: the verbs `ps` and `metrics`. Everybody sees his own jobs and denials, operators everybody's."""

from __future__ import annotations

from collections import deque
from time import time
from typing import TYPE_CHECKING

from launcher.audit.event import DENIED
from launcher.audit.follow import Follower
from launcher.enforce.namespace.usage import usage
from launcher.errors import IdentityError
from launcher.service.metrics import Metrics

if TYPE_CHECKING:
    from typing import Any

    from launcher.audit.files import AuditFiles
    from launcher.service.calls import Call
    from launcher.service.jobs import Ended, RunningJob

_MOST_DENIALS = 200
_MOST_ROWS = 500  # of one answer, the newest; its message is bounded
_LONGEST = 400  # characters of a command
_DENIAL = ("time", "seq", "user", "job", "capability", "operation", "resource")


class Live:
    """Told by `Jobs` of each launch (`asked`, `started`, `ended`), it knows what runs and counts what ran."""

    def __init__(self, files: AuditFiles) -> None:
        self.metrics = Metrics()
        self.table = {"ps": self._ps, "metrics": self._metrics}
        self._jobs: dict[str, tuple[RunningJob, float]] = {}
        self._follower = Follower(files)
        self._denials: deque[dict[str, Any]] = deque(maxlen=_MOST_DENIALS)

    # -- what Jobs tells ----------------------------------------------------------------------------------------------

    def asked(self, job: RunningJob) -> None:
        """A launch was asked for."""
        self._jobs[job.id] = job, time()
        self.metrics.asked(job.id)

    def started(self, job: RunningJob) -> None:
        """Its sandbox is being built."""
        self.metrics.started(job.id)

    def ended(self, job: RunningJob, end: Ended) -> None:
        """It ended, or nothing was run."""
        if self._jobs.pop(job.id, None) is None:
            return  # a question (`check`, `explain`), not a launch
        result = end.result
        ended_by = end.error.ended_by if end.error else str(result["ended_by"]) if result else "launcher"
        self.metrics.ended(job.id, ended_by, result)

    # -- verbs --------------------------------------------------------------------------------------------------------

    def _ps(self, call: Call) -> None:
        """`{"all": true}`, for operators: everybody's. Answers `{"jobs": [...], "denials": [...]}`, newest first."""
        everybody = bool(call.message.get("all"))
        acting = call.acting
        if everybody and not acting.operator:
            raise IdentityError("the jobs of all users are shown to operators", hint="without --all you see your own")
        wanted = None if everybody else acting.user.name
        jobs = [item for item in self._jobs.values() if wanted is None or item[0].acting.user.name == wanted]
        self._look()
        denials = [item for item in self._denials if wanted is None or item["user"] == wanted]
        newest = sorted(jobs, key=lambda item: -item[1])
        call.reply(
            {
                "jobs": [_row(job, since) for job, since in newest[:_MOST_ROWS]],
                "more": max(0, len(newest) - _MOST_ROWS),
                "denials": denials[::-1][:50],
            }
        )

    def _metrics(self, call: Call) -> None:
        """Answers `{"text": ...}`, the page for Prometheus, to operators."""
        if not call.acting.operator:
            raise IdentityError("the service's metrics are for operators", hint="they tell of other users' jobs")
        call.reply({"text": self.metrics.text()})

    def _look(self) -> None:
        for item in self._follower.look():
            if item.get("outcome") == DENIED:
                self._denials.append({name: item.get(name, "") for name in _DENIAL})


def _row(job: RunningJob, since: float) -> dict[str, Any]:
    request = job.request
    words = [request.program, *request.arguments] if request.program else list(request.command)
    return {
        "job": job.id,
        "user": job.acting.user.name,
        "actor": job.acting.caller.name,
        "since": int(since * 1000),
        "command": " ".join(words)[:_LONGEST],
        **usage(job.id),
    }
