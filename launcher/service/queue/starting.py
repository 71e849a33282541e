"""From a queued job to a launch: the request that was submitted, for the person that it was submitted by, as of now.

What was resolved at submission is who asked; what that person may do is asked again at the start. An account that is
gone or disabled, an operator who is none any more, a policy that was revoked: the job is refused, and that is recorded.
A token is never kept; what it said about its owner holds for `identity_age`.
"""

from __future__ import annotations

import json
import os

from launcher.errors import IdentityError
from launcher.identity import os_user
from launcher.identity.acting import resolve
from launcher.identity.user import User
from launcher.service import received
from launcher.service.queue.clock import now_ms
from launcher.service.queue.model import INDEX, job_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from sqlite3 import Row
    from typing import Any

    from launcher.identity.acting import Acting
    from launcher.policy.config import Config
    from launcher.service.queue.settings import Settings
    from launcher.service.request import Request

_WORDS = ("command", "arguments")


def request_for(row: Row, secret: Mapping[str, Any], root: str | None, settings: Settings) -> Request:
    """The launch that a job means, held to what it was counted with. Raises SandboxError."""
    from launcher.service.deciding import command_line_limits

    data: dict[str, Any] = {**json.loads(row["shared"]), **json.loads(row["request"] or "{}")}
    for name in _WORDS:
        data[name] = [word.replace(INDEX, str(row["number"])) for word in data.get(name, ())]
    told = {
        "MLSANDBOX_JOB": job_name((row["submission"], row["idx"]), row["jobs"]),
        "MLSANDBOX_INDEX": str(row["number"]),
    }
    data["environment"] = secret.get("environment", {})
    data["inherited"] = {**secret.get("inherited", {}), **told}
    request = received.from_data(data, root)
    limits = command_line_limits(request.limits).to_data()
    demand = json.loads(row["demand"])
    held = settings.held_to((demand[0], demand[1], demand[2], demand[3]), limits)
    request.limits = {name: f"{value}m" if name == "cpus" else str(value) for name, value in held.items()}
    return request


def acting_for(row: Row, config: Config, settings: Settings) -> Acting:
    """Who a job is started for. Raises IdentityError."""
    submitter = User.from_data(json.loads(row["caller"]))
    caller = _refreshed(submitter, row["submitted"], settings.identity_age)
    return resolve(caller, User.from_data(json.loads(row["user"])).name, config, process_uid=os.geteuid())


def _refreshed(user: User, submitted: int, most: int) -> User:
    """The same person as of now: groups may have changed since, and accounts gone."""
    if user.method != os_user.METHOD:
        if now_ms() - submitted > most * 1000:
            raise IdentityError(
                f"{user.name!r} was identified by a token more than {most // 86_400} days ago",
                hint="submit the job again; `identity_age` of the queue's configuration is how long that holds",
            )
        return user
    found = os_user.by_uid(user.uid if user.uid is not None else -1)
    if found.name != user.name:
        raise IdentityError(f"uid {user.uid} was {user.name!r} when the job was submitted, and is {found.name!r} now")
    return found
