"""--trace-denials: what observes a job, and its rows as audit events."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

from launcher.audit.event import DENIED, event
from launcher.enforce.namespace.observer import Observer
from launcher.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from launcher.service.asking import Asked


def observing(profile: dict[str, Any], asked: Asked) -> Callable[..., Observer]:
    """Makes the observer of one launch, with the eyes of the user it is for. Raises RefusedError."""
    if not asked.features.seccomp_notify:
        raise RefusedError("--trace-denials needs seccomp user notifications (Linux 5.5)", hint="launch without it")
    # root's own jobs have ids of the range, which see less of the host than root, who is told
    other = os.geteuid() == 0 and asked.acting.user.uid != 0
    return partial(Observer, profile, asked.identity if other else None)


def observed_event(row: dict[str, Any]) -> dict[str, object]:
    """The audit event of one refusal that was observed: a claim, since it was read from the job's memory."""
    return event(
        "observed", "runtime", DENIED,
        capability=str(row["capability"]), operation=str(row["operation"]), resource=str(row["asked"]),
        detail={"canonical": row["resource"], "reason": row["reason"]},
    )  # fmt: skip
