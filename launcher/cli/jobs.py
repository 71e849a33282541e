"""`mlsandbox jobs`: what is queued, what runs, what became of it."""

from __future__ import annotations

from launcher.cli.options import Option, Positional
from launcher.cli.queued import STYLES, age, connected, identity, pages, state_word

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from launcher.cli.options import Arguments

HELP = "List your jobs, the newest first; operators see everybody's with --all."
EXAMPLE = """
mlsandbox jobs
mlsandbox jobs --state running --state queued
mlsandbox jobs --all --json
"""
STATES = ("held", "queued", "starting", "running", "ended", "refused", "cancelled", "interrupted", "skipped")
OPTIONS = (
    Option("--state", "-s", metavar="STATE", repeat=True, choices=STATES, help="only jobs in this state"),
    Option("--all", "-a", flag=True, help="the jobs of all tenants (operators)"),
    Option("--user", "-u", metavar="NAME", help="the jobs of this tenant (operators)"),
    Option("--token", metavar="TOKEN", help="an identity token"),
    Option("--limit", "-n", metavar="N", help="at most N jobs (50; all with --json)"),
    Positional("jobs", required=False, many=True, metavar="JOB", help="only these: 17 is all of submission 17"),
)
_LIMIT = 50
_LONGEST = 60  # characters of a command line in a table


def run(arguments: Arguments) -> int:
    """0, also where there is none."""
    from itertools import islice

    from launcher.cli.output import show, show_json, table

    message: dict[str, Any] = {"all": arguments.all, **identity(arguments)}
    if arguments.jobs:
        message["jobs"] = arguments.jobs
    if arguments.state:
        message["states"] = arguments.state
    limit = _limit(arguments)
    if limit is not None:
        message["limit"] = min(limit, 100)
    found = islice(pages(connected(arguments), "jobs", message), limit)
    if arguments.json:
        for job in found:
            show_json(job, lines=True)
        return 0
    rows = list(found)
    header = ("JOB", "NAME", *(["TENANT"] if arguments.all else []), "STATE", "AGE", "TRIES", "COMMAND")
    text = table(header, [_row(job, tenant=arguments.all) for job in rows])
    show(_painted(text, rows) if text else "no jobs")
    return 0


def _limit(arguments: Arguments) -> int | None:
    from launcher.errors import UsageError

    if arguments.limit is None:
        return None if arguments.json else _LIMIT
    if not arguments.limit.isdecimal() or int(arguments.limit[:12]) == 0:
        raise UsageError(f"--limit {arguments.limit!r} is not a number of jobs")
    return int(arguments.limit[:12])


def _row(job: dict[str, Any], *, tenant: bool) -> tuple[object, ...]:
    command = job["command"] if len(job["command"]) <= _LONGEST else job["command"][: _LONGEST - 3] + "..."
    who = [job["tenant"]] if tenant else []
    tries = f"{job['attempts']}/{job['retries'] + 1}" if job["retries"] else str(job["attempts"])
    return (job["job"], job["name"], *who, state_word(job), age(job["submitted"]), tries, command)


def _painted(text: str, rows: list[dict[str, Any]]) -> str:
    from launcher.cli.output import paint

    head, *lines = text.split("\n")
    painted = []
    for line, job in zip(lines, rows, strict=True):
        failed = job["state"] == "ended" and job["exit_code"]
        style = "red" if failed else STYLES.get(job["state"], "")
        word = state_word(job)
        painted.append(line.replace(f" {word} ", f" {paint(word, style)} ", 1) if style else line)
    return "\n".join([head, *painted])
