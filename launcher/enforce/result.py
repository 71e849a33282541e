"""How a job ended, and what it used."""

from __future__ import annotations

from launcher.errors import EXIT_LAUNCHER, EXIT_MEMORY, EXIT_WALL_LIMIT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


class Usage:
    """Times in microseconds, sizes in bytes; None where the host does not account for it."""

    __slots__ = ("deciding_us", "output_bytes", "output_dropped", "peak_memory", "system_us", "user_us", "wall_us")

    def __init__(self) -> None:
        self.deciding_us = 0  # from the request to the planned sandbox
        self.wall_us = 0
        self.user_us = 0
        self.system_us = 0
        self.peak_memory: int | None = None
        self.output_bytes = 0
        self.output_dropped = 0

    def to_data(self) -> dict[str, object]:
        return {name: getattr(self, name) for name in self.__slots__}


class Result:
    """One run. `ended_by` is the stable word of design section 11: job, wall, memory, policy, launcher.

    `limit` ended the job; `limits_hit` are all that it ran into, as far as somebody outside the job counts them.
    `observed` are path refusals that --trace-denials saw, which are claims; `observing` what that cost.
    `audit` says why not all of the run is in the audit log; "" where all of it is.
    """

    __slots__ = (
        "audit",
        "committed",
        "denials",
        "egress",
        "ended_by",
        "exit_code",
        "job",
        "limit",
        "limits_hit",
        "observed",
        "observing",
        "profile",
        "refused",
        "refused_execs",
        "review",
        "signal",
        "unenforced",
        "usage",
    )

    def __init__(self, job: str, profile: str) -> None:
        self.job = job
        self.profile = profile
        self.exit_code = EXIT_LAUNCHER
        self.signal: int | None = None
        self.audit = ""
        self.ended_by = "launcher"
        self.limit: str | None = None
        self.limits_hit: list[str] = []
        self.usage = Usage()
        self.denials: Sequence[dict[str, object]] = ()
        self.committed: Sequence[dict[str, object]] = ()
        self.refused: Sequence[dict[str, object]] = ()
        # file, command, reason and places (of the rules) of each image that was stopped before it ran
        self.refused_execs: list[dict[str, object]] = []
        self.review = ""  # "accepted" or "declined" where a person was asked
        self.observed: list[dict[str, object]] = []
        self.observing: dict[str, int] = {}
        self.egress: dict[str, object] = {}
        self.unenforced: Sequence[dict[str, object]] = ()

    def ended(self, status: int) -> None:
        """Takes the wait status of the job's main process: its own exit code, or 128 and the signal."""
        self.ended_by = "job"
        if status & 0x7F:
            self.signal = status & 0x7F
            self.exit_code = 128 + self.signal
        else:
            self.exit_code = status >> 8

    def limited(self, limit: str) -> None:
        """The job was ended by `limit`, a name of the profile's limits."""
        self.limit = limit
        self.hit(limit)
        self.ended_by = {"max_memory": "memory", "max_wall_time": "wall"}.get(limit, "job")
        if self.ended_by == "memory":
            self.exit_code = EXIT_MEMORY
        elif self.ended_by == "wall":
            self.exit_code = EXIT_WALL_LIMIT

    def hit(self, limit: str) -> None:
        """The job ran into `limit`, a name of the profile's limits, whether or not that ended it."""
        if limit not in self.limits_hit:
            self.limits_hit.append(limit)

    def to_data(self) -> dict[str, object]:
        data: dict[str, object] = {name: getattr(self, name) for name in self.__slots__}
        data["usage"] = self.usage.to_data()
        return data

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> Result:
        """The inverse of `to_data`, of a launcher that may be older than this one and know fewer fields."""
        made = cls(data["job"], data["profile"])
        for name in cls.__slots__:
            if name != "usage":
                setattr(made, name, data.get(name, getattr(made, name)))
        for name, value in data["usage"].items():
            setattr(made.usage, name, value)
        return made
