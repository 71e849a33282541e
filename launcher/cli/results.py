"""`mlsandbox results`: what the launches of jobs reported."""

from __future__ import annotations

from launcher.cli.options import Option, Positional
from launcher.cli.queued import connected, identity, pages, state_word

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from launcher.cli.options import Arguments

HELP = "Show the results of jobs: how they ended, what they used, what was denied and committed."
EXAMPLE = """
mlsandbox results 17
mlsandbox results --json 17 > results.jsonl
"""
OPTIONS = (
    Option("--user", "-u", metavar="NAME", help="act for this tenant (operators)"),
    Option("--token", metavar="TOKEN", help="an identity token"),
    Positional("jobs", many=True, metavar="JOB", help="the jobs; 17 is all of submission 17"),
)
_MIB = 1 << 20


def run(arguments: Arguments) -> int:
    """0; the statuses of the jobs are in what is printed."""
    from launcher.cli.output import show, show_json, table

    found = pages(connected(arguments), "results", {"jobs": arguments.jobs, **identity(arguments)})
    if arguments.json:
        for job in found:
            show_json(job, lines=True)
        return 0
    jobs = list(found)
    header = ("JOB", "NAME", "STATE", "LIMIT", "WALL", "CPU", "MEMORY", "DENIED", "WRITTEN", "REASON")
    show(table(header, [_row(job) for job in jobs]))
    return 0


def _row(job: dict[str, Any]) -> tuple[object, ...]:
    result: dict[str, Any] = job["result"] or {}
    usage: dict[str, Any] = result.get("usage") or {}
    memory = usage.get("peak_memory")
    return (
        job["job"],
        job["name"],
        state_word(job),
        result.get("limit") or "",
        _seconds(usage.get("wall_us")),
        _seconds((usage.get("user_us") or 0) + (usage.get("system_us") or 0) if usage else None),
        f"{memory / _MIB:.0f}MiB" if memory else "",
        len(result.get("denials", ())) + len(result.get("refused", ())) or "",
        len(result.get("committed", ())) or "",
        job["reason"].split("\n")[0][:80],
    )


def _seconds(microseconds: int | None) -> str:
    return "" if microseconds is None else f"{microseconds / 1e6:.2f}s"
