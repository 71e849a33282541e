"""What the service counts, in the text that Prometheus reads.

Labels hold words of ours (how a launch ended, a capability, an operation), never a name that a tenant chose: every new
label value is a new time series for ever.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from launcher.capability.kinds import KINDS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_RUN_SECONDS = (0.01, 0.1, 1, 10, 60, 600, 3600, 36000)
_OTHER = "other"


class Metrics:
    """Told of each launch: `asked`, `started`, then `ended`. `text` is the whole page."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._asked: dict[str, float] = {}
        self._started: dict[str, float] = {}
        self._launches = Counter(
            "mlsandbox_launches", "Launches that ended, by how", ("ended_by",), registry=registry,
        )  # fmt: skip
        self._denials = Counter(
            "mlsandbox_denials", "What jobs were refused", ("capability", "operation"), registry=registry,
        )  # fmt: skip
        self._waiting = Histogram(
            "mlsandbox_start_seconds", "From the request to the building of the sandbox", registry=registry,
            buckets=_SECONDS,
        )  # fmt: skip
        self._deciding = Histogram(
            "mlsandbox_validation_seconds", "Deciding whether a launch is granted", registry=registry, buckets=_SECONDS,
        )  # fmt: skip
        self._running = Histogram(
            "mlsandbox_run_seconds", "From the building of the sandbox to the end of the job", registry=registry,
            buckets=_RUN_SECONDS,
        )  # fmt: skip
        self._memory = Histogram(
            "mlsandbox_peak_memory_bytes", "Peak memory of jobs that ended", registry=registry,
            buckets=[1 << power for power in range(20, 37, 2)],
        )  # fmt: skip
        Gauge("mlsandbox_jobs", "Jobs that have not ended", registry=registry).set_function(lambda: len(self._asked))
        self.queue: Callable[[], Mapping[str, int]] = dict  # how many jobs of the queue are in each state
        self._queue = Gauge("mlsandbox_queue_jobs", "Jobs of the queue, by state", ("state",), registry=registry)

    def asked(self, job: str) -> None:
        """A launch was asked for."""
        self._asked[job] = monotonic()

    def started(self, job: str) -> None:
        """Its sandbox is being built."""
        if job in self._asked and job not in self._started:
            self._started[job] = now = monotonic()
            self._waiting.observe(now - self._asked[job])

    def ended(self, job: str, ended_by: str, result: Mapping[str, object] | None) -> None:
        """It ended, or nothing was run: `result` as of `Result.to_data`."""
        self._asked.pop(job, None)
        started = self._started.pop(job, None)
        if started is not None:
            self._running.observe(monotonic() - started)
        self._launches.labels(ended_by).inc()
        if result is not None:
            self._count(result)

    def _count(self, result: Mapping[str, object]) -> None:
        usage = result["usage"]
        denials = result["denials"]
        if isinstance(usage, dict):
            if usage.get("peak_memory"):
                self._memory.observe(usage["peak_memory"])
            if usage.get("deciding_us"):
                self._deciding.observe(usage["deciding_us"] / 1e6)
        for denial in denials if isinstance(denials, (list, tuple)) else ():
            self._denials.labels(*_known(str(denial["capability"]), str(denial["operation"]))).inc()

    def text(self) -> str:
        """The page, in the text exposition format 0.0.4."""
        self._queue.clear()
        for state, count in self.queue().items():
            self._queue.labels(state).set(count)
        return generate_latest(self._registry).decode("utf-8")


def _known(capability: str, operation: str) -> tuple[str, str]:
    """The words of a denial, which may be a job's claim, as labels."""
    kind = KINDS.get(capability)
    if kind is None:
        return _OTHER, _OTHER
    return capability, operation if operation in kind.operations else _OTHER
