"""What an operator configures for the queue, with the defaults. Pure."""

from __future__ import annotations

import os

from launcher.service.queue.scheduling import Share

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from launcher.service.queue.amounts import Amounts, Capacity

_MIB = 1 << 20
JOBS_PER_PROCESSOR = 2  # a job waits for disk or network about half of its time
MOST_OF_A_TENANT = 900  # the process that supervises a tenant's jobs takes 1000, those of `launch` included
_DEFAULTS: dict[str, int | None] = {
    "max_jobs": None,  # JOBS_PER_PROCESSOR for each processor
    "cpus": None,
    "max_memory": None,
    "max_disk": None,
    "max_queued": 200_000,
    "max_spool": 16 << 30,
    "keep": 7 * 86_400,
    "retry_delay": 1,
    "identity_age": 7 * 86_400,
}
_TENANT: dict[str, int | None] = {
    "weight": 1,
    "max_jobs": None,
    "cpus": None,
    "max_memory": None,
    "max_disk": None,
    "max_queued": 100_000,
    "max_spool": 1 << 30,
}
# What a job that names no limit is counted with, and held to, where there is a total that it counts against.
_JOB: dict[str, int] = {"cpus": 1000, "max_memory": 1024 * _MIB, "max_disk": 1024 * _MIB, "max_output": 16 * _MIB}
_LONGEST_DELAY = 300  # seconds between two attempts of one job


class Settings:
    """The `queue` section: attributes are its keys, in base units; None is no limit."""

    __slots__ = ("_data", "_job", "_tenant", "identity_age", "keep", "max_queued", "max_spool", "retry_delay")

    def __init__(self, data: Mapping[str, Any], processors: int | None = None) -> None:
        values = {**_DEFAULTS, **{name: data[name] for name in _DEFAULTS if name in data}}
        values["max_jobs"] = values["max_jobs"] or JOBS_PER_PROCESSOR * (processors or os.cpu_count() or 1)
        self._data = {**data, **values}
        self._tenant = {**_TENANT, **data.get("tenant", {})}
        self._job: dict[str, int] = {**_JOB, **data.get("job", {})}
        self.max_queued: int = values["max_queued"] or 0
        self.max_spool: int = values["max_spool"] or 0
        self.keep: int = values["keep"] or 0
        self.retry_delay: int = values["retry_delay"] or 0
        self.identity_age: int = values["identity_age"] or 0

    @property
    def capacity(self) -> Capacity:
        """What all jobs together may hold."""
        return _capacity(self._data)

    def share(self, tenant: str) -> Share:
        """What `tenant` may hold, and its weight."""
        values = self.tenant(tenant)
        values["max_jobs"] = min(values["max_jobs"] or MOST_OF_A_TENANT, MOST_OF_A_TENANT)
        return Share(_capacity(values), float(values["weight"] or 1))

    def tenant(self, name: str) -> dict[str, int | None]:
        """The limits of one tenant, by key."""
        own: dict[str, int | None] = self._data.get("tenants", {}).get(name, {})
        return {**self._tenant, **own}

    def demand(self, tenant: str, limits: Mapping[str, int]) -> Amounts:
        """What a job with these limits (base units, by name) is counted with: zero of what nobody counts."""
        both = zip(self.capacity, self.share(tenant).capacity, strict=True)
        jobs, cpus, memory, disk = (one if one is not None else other for one, other in both)
        return self.demand_within((jobs, cpus, memory, disk), limits)

    def demand_within(self, capacity: Capacity, limits: Mapping[str, int]) -> Amounts:
        """The same, where only `capacity` counts."""
        return (
            1,
            0 if capacity[1] is None else limits.get("cpus", self._job["cpus"]),
            0 if capacity[2] is None else limits.get("max_memory", self._job["max_memory"]),
            0 if capacity[3] is None else limits.get("max_disk", self._job["max_disk"]),
        )

    def held_to(self, demand: Amounts, limits: Mapping[str, int]) -> dict[str, int]:
        """The limits that a job with `demand` is launched with: what it was counted with, and bounded output."""
        counted = {"cpus": demand[1], "max_memory": demand[2], "max_disk": demand[3]}
        most = self._job["max_output"]
        output = min(limits.get("max_output", most), most)
        return {**limits, **{name: value for name, value in counted.items() if value}, "max_output": output}

    def delay(self, attempts: int) -> int:
        """Seconds before the next attempt of a job that was run `attempts` times: doubled each time."""
        return min(_LONGEST_DELAY, self.retry_delay << min(attempts - 1, 16)) if self.retry_delay else 0


def _capacity(values: Mapping[str, int | None]) -> Capacity:
    return (values["max_jobs"], values["cpus"], values["max_memory"], values["max_disk"])
