"""`mlsandbox doctor`: what this host can enforce, what each gap costs and how to close it; `--clean` tidies up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from launcher.cli.options import Option
from launcher.cli.output import paint, show, show_json, table
from launcher.enforce.doctor import DEGRADED, MISSING, NOTE, OK, diagnose, verdict

if TYPE_CHECKING:
    from launcher.cli.options import Arguments
    from launcher.enforce.doctor import Diagnosis
    from launcher.kernel.probe import Report
    from launcher.service.leftovers import Leftover

HELP = "Try what this host can enforce; for each gap, what is lost and how to get it."
EXAMPLE = """
mlsandbox doctor
mlsandbox doctor --json
mlsandbox doctor --clean
"""
OPTIONS = (
    Option("--clean", flag=True, help="remove what launchers that were killed left behind, and finish their commits"),
)

_STYLE = {OK: "green", NOTE: "dim", DEGRADED: "yellow", MISSING: "red"}
_VERDICT = {
    OK: "everything that policies can ask for is enforced on this host",
    DEGRADED: "jobs can run; launches that need what is degraded are refused, or run with --allow-degraded",
    MISSING: "no sandbox can be built on this host",
}


def run(arguments: Arguments) -> int:
    """0 where sandboxes can be built (or, with --clean, nothing is stuck), else 1."""
    return _clean(as_json=arguments.json) if arguments.clean else _probe(as_json=arguments.json)


def _probe(*, as_json: bool) -> int:
    from launcher.kernel.probe import full

    report = full()
    found = diagnose(report)
    if as_json:
        show_json(report_data(report, found))
    else:
        for line in report_lines(report, found):
            show(line)
    return 1 if verdict(found) == MISSING else 0


def report_data(report: Report, found: list[Diagnosis]) -> dict[str, Any]:
    """What `--json` prints."""
    return {"verdict": verdict(found), "found": [one.to_data() for one in found], "report": report.to_data()}


def report_lines(report: Report, found: list[Diagnosis]) -> list[str]:
    """What a person is shown: the host, one line for each thing looked at, below it what is lost and how to get it."""
    facts, user = report.facts, report.features.uid
    who = f"uid {user}" if user else "root"
    lines = [f"Linux {facts['kernel']} {facts['machine']}, as {who}"]
    if report.features.container:
        lines[0] += f", in a container ({report.features.container})"
    if facts["lsm"]:
        lines.append(f"security modules: {facts['lsm']}")
    width = max(len(one.title) for one in found)
    for one in found:
        lines += _diagnosis_lines(one, width)
    return [*lines, f"{paint(verdict(found), _STYLE[verdict(found)])}: {_VERDICT[verdict(found)]}"]


def _diagnosis_lines(one: Diagnosis, width: int) -> list[str]:
    lines = [f"{paint(one.state.ljust(8), _STYLE[one.state])}  {one.title.ljust(width)}  {one.found}".rstrip()]
    if one.cost:
        lines.append(f"          lost: {one.cost}")
    if one.remedy:
        lines.append(f"          get it: {one.remedy}")
    if one.attacks:
        lines.append(f"          not covered meanwhile: attacks {', '.join(map(str, one.attacks))}")
    return lines


def _clean(*, as_json: bool) -> int:
    from launcher.audit.log import AuditLog
    from launcher.policy import cache
    from launcher.policy.paths import Locations
    from launcher.service.leftovers import clean

    locations = Locations.find()
    log = AuditLog(locations, cache.load(locations).config)
    found = clean(locations, log)
    log.close()
    if as_json:
        show_json({"found": [one.to_data() for one in found]})
    else:
        show(clean_text(found))
    return 1 if any(one.stuck for one in found) else 0


def clean_text(found: list[Leftover]) -> str:
    """What a person is shown of what was cleaned."""
    rows = [(one.kind, one.name, one.outcome) for one in found]
    return table(("what", "name", "outcome"), rows) or "nothing was left behind"
