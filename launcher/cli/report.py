"""What a launch says on stderr when there is something to say: limits, degradations, denials, writes."""

from __future__ import annotations

import sys

from launcher.audit.printable import printable
from launcher.cli.output import paint, show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from launcher.enforce.result import Result

_MOST_ROWS = 20
_LIMIT_TEXT = {
    "max_memory": "the job reached its memory limit",
    "max_wall_time": "the job reached its wall clock limit",
    "max_cpu_time": "the job used up its processor time",
}
_HIT_TEXT = {
    "max_memory": "a process was killed",
    "max_processes": "new processes were refused",
    "max_disk": "no room was left",
    "max_files": "no room for files was left",
    "max_output": "the rest was dropped",
}


def report(result: Result) -> None:
    """Prints what the result holds beside the exit status."""
    if result.limit:
        _say("limit", _LIMIT_TEXT.get(result.limit, f"the job reached its limit {result.limit}"))
    others = [f"{limit} ({_HIT_TEXT[limit]})" for limit in result.limits_hit if limit != result.limit]
    if others:
        _say("limit", f"the job ran into {', '.join(others)}")
    for row in result.unenforced:
        _say("not enforced", f"{row['permission']}: {row['reason']}{_attacks(row)}")
    _rows("committed", [str(row.get("path", row)) for row in result.committed])
    _rows("not committed", [f"{row.get('path')}: {row.get('reason')}" for row in result.refused])
    # what has a line of its own below is not told twice
    told = {"commit", "kernel"}
    _rows("denied", [_denial(row) for row in result.denials if row["layer"] not in told and not row.get("observed")])
    _rows("hint", [str(row["reason"]) for row in result.denials if row["layer"] == "policy"])
    _rows("not audited", [result.audit] if result.audit else [])
    _rows("not run", [f"{row['command']} ({row['reason']})" for row in result.refused_execs])
    _rows("observed", [f"{_denial(row)}: {row['reason']}" for row in result.denials if row.get("observed")])
    if result.observing:
        costs = result.observing
        each = costs["microseconds"] // max(1, costs["calls"])
        lost = f", {costs['dropped']} refusals not listed" if costs["dropped"] else ""
        _say("observing", f"{costs['calls']} calls with names, {each} us each, which the job waited for{lost}")
    if result.exit_code or result.refused or result.observing:
        _ask_for(result)


def _attacks(row: dict[str, object]) -> str:
    """The attacks that are not covered by it, by their numbers in docs/explanation/attacks.md."""
    numbers = row.get("attacks")
    return f" (attacks {', '.join(map(str, numbers))} are not covered)" if isinstance(numbers, list) and numbers else ""


def _ask_for(result: Result) -> None:
    """What to paste below `capabilities:` of a policy, for a job that did not get through or left something behind."""
    grants = [str(row["grant"]) for row in result.denials if row["grant"]]
    if grants:
        from launcher.service.denials import quoted

        _rows("ask for", [quoted(grant) if not grant.startswith("limits:") else grant for grant in grants])


def _denial(row: dict[str, object]) -> str:
    return f"{row['capability']}.{row['operation']} {row['resource']}"


def _rows(label: str, texts: Sequence[str]) -> None:
    for text in texts[:_MOST_ROWS]:
        _say(label, text)
    if len(texts) > _MOST_ROWS:
        _say(label, f"and {len(texts) - _MOST_ROWS} more")


def _say(label: str, text: str) -> None:
    show(f"mlsandbox: {paint(label + ':', 'yellow', sys.stderr)} {printable(text)}", sys.stderr)
