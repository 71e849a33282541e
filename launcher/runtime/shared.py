"""What all scopes of one job have in common: permissions, counts, reports, and whoever may be asked for more."""

from __future__ import annotations

from _thread import RLock

from launcher.runtime.quota import Quotas

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from launcher.capability.permissions import Permissions
    from launcher.runtime.job import Job
    from launcher.runtime.report import Reporter
    from launcher.runtime.tokens import CapabilityToken

    # (type, operation, resource, reason) -> None for no, or the constraints under which it is allowed.
    Elevate = Callable[[str, str, str, str], Mapping[str, Any] | None]


class Shared:
    """One for each root scope. Its lock makes a check and its charge one step."""

    __slots__ = ("elevate", "elevated", "job", "lock", "permissions", "quotas", "reporter", "used")

    def __init__(self, permissions: Permissions, job: Job, reporter: Reporter, elevate: Elevate | None) -> None:
        self.permissions = permissions
        self.job = job
        self.reporter = reporter
        self.elevate = elevate
        self.elevated: list[CapabilityToken] = []
        self.quotas = Quotas()
        self.used: dict[str, int] = {}
        self.lock = RLock()

    def count(self, kind: str, operation: str, *, allowed: bool) -> None:
        """Counts an allowed use under the type and under the operation."""
        if allowed:
            for name in (kind, f"{kind}.{operation}"):
                self.used[name] = self.used.get(name, 0) + 1
