"""Who asks for a launch, for whom, and what is configured for them. Decides and starts nothing.

Apart from `deciding`, whose imports a launch with a remembered decision does without.
"""

from __future__ import annotations

import os

from launcher.errors import ConfigurationError
from launcher.identity.acting import resolve
from launcher.identity.registry import default_providers
from launcher.kernel import features as host
from launcher.policy import cache
from launcher.policy.paths import Locations
from launcher.service.host_ids import identity_of
from launcher.service.request import find_workspace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from launcher.audit.log import AuditLog
    from launcher.enforce.namespace.spec import Identity
    from launcher.identity.acting import Acting
    from launcher.kernel.features import Features
    from launcher.policy.cache import Snapshot
    from launcher.service.request import Request
    from launcher.service.sandboxes import Sandboxes


class Served:
    """What a launch of the service is given, and one of a plain process finds or makes for itself: who asks, the id of
    the job, the audit log that is open, and the fork server.
    """

    __slots__ = ("acting", "job", "kept", "log", "sandboxes")

    def __init__(self, acting: Acting, job: str, log: AuditLog, sandboxes: Sandboxes, kept: Kept) -> None:
        self.acting = acting
        self.job = job
        self.log = log
        self.sandboxes = sandboxes
        self.kept = kept


class Kept:
    """What one process of the service keeps between launches: the snapshot that it read, which is held against its
    sources each time, and the answers to questions that were asked before (`remembered`).
    """

    __slots__ = ("answers", "snapshot")

    def __init__(self) -> None:
        self.snapshot: Snapshot | None = None
        self.answers: dict[str, dict[str, Any]] = {}

    def load(self, locations: Locations) -> Snapshot:
        """The configuration as it is now. Raises ConfigurationError."""
        self.snapshot = cache.load_again(locations, self.snapshot, strict=True)
        return self.snapshot


class Asked:
    """Who asks, for whom, and what is configured for them. `snapshot` is strict when it is for somebody else.

    In the service, `served` says who asks, as the kernel does; otherwise this process is who asks.
    """

    __slots__ = ("acting", "features", "identity", "locations", "request", "served", "snapshot", "tenant", "workspace")

    def __init__(self, request: Request, served: Served | None = None) -> None:
        self.request = request
        self.served = served
        self.locations = Locations.find(request.root)
        _check_root(self.locations.root)
        snapshot = served.kept.load(self.locations) if served else cache.load(self.locations)
        self.acting: Acting = served.acting if served else identify(request, snapshot, self.locations)
        if self.acting.for_somebody_else and not served:
            snapshot = cache.load(self.locations, strict=True)
        self.snapshot: Snapshot = request.candidate(snapshot) if request.candidate else snapshot
        self.identity: Identity = identity_of(self.acting.user, self.locations, snapshot.config.id_range)
        # root's own jobs are root's to read for; what is a tenant's is looked at with the tenant's ids
        self.tenant: Identity | None = self.identity if os.geteuid() == 0 and self.acting.user.uid != 0 else None
        owners = {0, os.geteuid(), self.identity.uid, self.acting.user.uid or 0}
        with_ids = self.tenant if served else None
        self.workspace = as_tenant(with_ids, lambda: find_workspace(request, frozenset(owners)))
        self.features: Features = host.fast(self.locations.cache)


def as_tenant(identity: Identity | None, action: Callable[[], Any]) -> Any:
    """What `action` returns, done with the ids of a tenant; with this process's own where that is None."""
    if identity is None:
        return action()
    from launcher.enforce.namespace.fork import Effective

    effective = Effective(identity)
    try:
        return action()
    finally:
        effective.restore()


def _check_root(root: str) -> None:
    """A mistyped --root is an error, not an installation without policies that leaves a log behind."""
    if root and not os.path.isdir(root):
        raise ConfigurationError(f"there is no directory {root}", hint=f"mlsandbox init --root {root} makes one")


def identify(request: Request, snapshot: Snapshot, locations: Locations) -> Acting:
    """Who asks: by the token that was given, else by the one that `login` stored, else by the operating system."""
    providers = default_providers(snapshot.config)
    token = request.token or (_stored_token(locations) if snapshot.config.jwt else "")
    caller = providers.authenticate("jwt", token=token) if token else providers.authenticate("os")
    return resolve(caller, request.user, snapshot.config)


def _stored_token(locations: Locations) -> str:
    from launcher.identity import token_file

    return token_file.load(locations.token)
