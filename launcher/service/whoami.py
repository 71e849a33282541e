"""What somebody is to the launcher, as data: for `whoami`, in the service and in the caller's own process."""

from __future__ import annotations

from launcher.policy.show import user_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from launcher.identity.acting import Acting
    from launcher.policy.cache import Snapshot


def about(acting: Acting, snapshot: Snapshot) -> dict[str, Any]:
    """`user` (as data), `operator`, `authenticated_by`, the handles of the `policies`, and `lines` for people."""
    policies = snapshot.policies_for(acting.user)
    return {
        "user": acting.user.to_data(),
        "operator": acting.operator,
        "authenticated_by": acting.caller.method,
        "policies": [policy.handle for policy in policies],
        "lines": user_lines(acting.user, policies),
    }
