"""What one launch adds to what is granted: where, what was declared, and what the caller lowers."""

from __future__ import annotations

from launcher.capability.limits import Limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from launcher.capability.grant import Grant

# Optional parts of a backend. What it does not have is refused or reported, never silently missing.
EGRESS = "egress"  # the egress proxy: grants of network and database
DEVICES = "devices"
SOCKETS = "sockets"
JOBS = "jobs"  # the jobs of one user are counted over all launches
KEYCHAIN = "keychain"  # secrets are handed to the job on request
ARGUMENTS = "arguments"  # argument lists are verified at each exec


class Options:
    """One launch.

    workspace        absolute path of the workspace's root
    declared         the job's needs, or None where it has no declaration
    limits           the command line's; they only lower
    environment      names that the caller wants to set with --env
    supports         of EGRESS, DEVICES, SOCKETS, KEYCHAIN, ARGUMENTS, JOBS: what the backend has
    allow_degraded   the operator accepts what this host cannot enforce; it is reported
    now              seconds since the epoch: grants that have expired do not count. None: nor do those that ever will
    """

    __slots__ = ("allow_degraded", "declared", "environment", "limits", "now", "supports", "workspace")

    def __init__(
        self,
        workspace: str,
        *,
        declared: Sequence[Grant] | None = None,
        limits: Limits | None = None,
        environment: Sequence[str] = (),
        supports: Sequence[str] = (),
        allow_degraded: bool = False,
        now: int | None = None,
    ) -> None:
        self.workspace = workspace
        self.declared = declared
        self.limits = limits or Limits()
        self.environment = tuple(environment)
        self.supports = frozenset(supports)
        self.allow_degraded = allow_degraded
        self.now = now
