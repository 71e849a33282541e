"""What a running job may reach, decided anew when policies, grants or configuration have changed under it.

Files are looked at by stat once a second and not by inotify: a user has 128 inotify instances by default
(fs.inotify.max_user_instances), so the 129th job would never hear of a revocation; network file systems tell nothing.
The job keeps its declaration of the launch: what is in its workspace by now may be its own work.
"""

from __future__ import annotations

import copy
import time

from launcher.compile.base import BaseProfile
from launcher.compile.compiler import compile_profile
from launcher.errors import IdentityError, RefusedError
from launcher.identity.acting import resolve
from launcher.policy import cache
from launcher.service import deciding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from launcher.service.asking import Asked
    from launcher.service.deciding import Decided
    from launcher.service.remembered import Remembered

_NOTHING: dict[str, Any] = {"loopback": False, "egress": [], "denied": []}


class Renewed:
    """The profile's `network` as it would be now; `reason` where the job would not be launched at all any more."""

    __slots__ = ("network", "profile", "reason")

    def __init__(self, network: dict[str, Any], profile: str = "", reason: str = "") -> None:
        self.network = network
        self.profile = profile
        self.reason = reason


class Renewal:
    """The sources of one launch's decision, and the decision made again."""

    def __init__(self, decided: Decided | Remembered, read_ns: int) -> None:
        """`read_ns` is when the sources of the decision were read (nanoseconds since the epoch)."""
        self._asked = decided.asked
        self._declared = getattr(decided, "declared", None)  # what was remembered had no declaration
        self._stamps = decided.asked.snapshot.stamps
        self._looked = read_ns

    def due(self) -> bool:
        """Whether some source has changed since it was last read."""
        return not cache.is_current(self._stamps, self._looked)

    def renew(self) -> Renewed:
        """Decides again. Raises ConfigurationError where a document cannot be read; the next change is then due."""
        # Before reading: what changes meanwhile is then seen as changed.
        self._stamps, self._looked = cache.stamps(list(self._stamps)), time.time_ns()
        strict = True if self._asked.acting.for_somebody_else or self._asked.served else None
        snapshot = cache.load(self._asked.locations, strict=strict)
        self._stamps = snapshot.stamps
        asked = copy.copy(self._asked)
        asked.snapshot = snapshot
        try:
            return self._decide(asked)
        except (RefusedError, IdentityError) as refusal:
            return Renewed(_NOTHING, reason=str(refusal))

    def _decide(self, asked: Asked) -> Renewed:
        resolve(asked.acting.caller, asked.acting.user.name, asked.snapshot.config)  # disabled meanwhile?
        merged = deciding.merge_for(asked)
        base = BaseProfile(deciding.base_data(asked.snapshot, merged.base))
        options = deciding.options_for(asked, self._declared)
        profile = compile_profile(merged, asked.acting.user, base, asked.features, options)
        return Renewed(profile.data["network"], profile.digest)
