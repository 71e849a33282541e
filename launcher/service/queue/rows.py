"""What is shown of a job: to its owner and to operators, never the variables that it was given."""

from __future__ import annotations

import json
from functools import lru_cache

from launcher.service.queue.model import INDEX, job_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sqlite3 import Row
    from typing import Any

_LONGEST = 2000  # characters of a command line


@lru_cache(maxsize=4)
def _parsed(shared: str) -> dict[str, Any]:
    """What all jobs of a submission have: a page may show a hundred of one array."""
    data: dict[str, Any] = json.loads(shared)
    return data


def shown(row: Row) -> dict[str, Any]:
    """One job as data. Times are milliseconds since the epoch, 0 for not yet.

    `runs` are the ids of its launches in the audit log.
    """
    request = {**_parsed(row["shared"]), **json.loads(row["request"] or "{}")}
    told = request.get("arguments", ()) if request.get("program") else request.get("command", ())
    words = [word.replace(INDEX, str(row["number"])) for word in told]
    if request.get("program"):
        words.insert(0, request["program"])
    return {
        "job": job_name((row["submission"], row["idx"]), row["jobs"]),
        "submission": row["submission"],
        "index": row["idx"],
        "number": row["number"],
        "name": row["name"] or row["submission_name"],
        "tenant": row["tenant"],
        "state": row["state"],
        "exit_code": row["exit_code"],
        "reason": row["reason"][:_LONGEST],
        "priority": row["priority"],
        "attempts": row["attempts"],
        "retries": row["retries"],
        "command": " ".join(words)[:_LONGEST],
        "workspace": request.get("workspace") or request.get("cwd", ""),
        "submitted": row["submitted"],
        "started": row["started"],
        "ended": row["ended"],
        "not_before": row["not_before"],
        "runs": row["runs"].split(),
        "cancelled_by": row["cancelled_by"],
        "output_bytes": row["spooled"],
    }


def result(row: Row) -> dict[str, Any]:
    """One job with the result of its last run, None where nothing ran to its end."""
    return {**shown(row), "result": json.loads(row["result"]) if row["result"] else None}
