"""Whether TLS is opened anywhere for a job, told before the proxy is asked: the trust store depends on it. [L] Pure."""

from __future__ import annotations

from launcher.capability.hosts import HostPattern

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from launcher.capability.grant import Grant

INSIDE = ("methods", "inject")  # constraints about what only shows inside TLS


def is_wanted(grants: Iterable[Grant], denies: Iterable[Grant]) -> bool:
    """The same answer as `Rules(grants, denies).intercepts`: some https grant is opened, or a deny is about a part."""
    https = [grant for grant in grants if grant.type == "network" and "https" in grant.operations and grant.patterns]
    if any(opens(grant) for grant in https):
        return True
    return bool(https) and any(_is_partial(deny) for deny in denies if deny.type == "network")


def opens(grant: Grant) -> bool:
    """Whether an https grant turns interception on for its hosts, all or some."""
    if grant.constraints.get("tls") == "intercept" or any(grant.constraints.get(name) for name in INSIDE):
        return True
    return any(HostPattern(str(text)).path for text in grant.patterns)


def _is_partial(deny: Grant) -> bool:
    """It takes away some requests to a host: a path or methods."""
    if "https" not in deny.operations:
        return False
    return bool(deny.constraints.get("methods")) or any(HostPattern(str(text)).path for text in deny.patterns)
