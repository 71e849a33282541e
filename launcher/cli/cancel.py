"""`mlsandbox cancel`: stop jobs, queued or running."""

from __future__ import annotations

from launcher.cli.options import Option, Positional
from launcher.cli.queued import connected, identity
from launcher.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from launcher.cli.options import Arguments

HELP = "Stop jobs: what waits never starts, what runs is killed."
EXAMPLE = """
mlsandbox cancel 17 18.3
mlsandbox cancel --all
"""
OPTIONS = (
    Option("--all", "-a", flag=True, help="all your jobs that have not ended"),
    Option("--user", "-u", metavar="NAME", help="act for this tenant (operators)"),
    Option("--token", metavar="TOKEN", help="an identity token"),
    Positional("jobs", required=False, many=True, metavar="JOB", help="the jobs; 17 is all of submission 17"),
)


def run(arguments: Arguments) -> int:
    """0, also where they had ended before."""
    from launcher.cli.output import show, show_json

    if bool(arguments.jobs) == arguments.all:
        raise UsageError("name the jobs to cancel, or give --all", hint="`mlsandbox jobs` lists yours")
    which = {"all": True} if arguments.all else {"jobs": arguments.jobs}
    answer = connected(arguments).call("cancel", {**which, **identity(arguments)})
    if arguments.json:
        show_json(answer)
    else:
        show(f"{answer['cancelled']} cancelled")
    return 0
