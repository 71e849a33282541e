"""`mlsandbox wait`: until jobs have ended."""

from __future__ import annotations

from launcher.cli.options import Option, Positional
from launcher.cli.queued import connected, identity, wait_for

TYPE_CHECKING = False
if TYPE_CHECKING:
    from launcher.cli.options import Arguments

HELP = "Wait until jobs have ended; exits with the status of the first that did not succeed."
EXAMPLE = """
mlsandbox wait 17
mlsandbox wait --json 17 18
"""
OPTIONS = (
    Option("--user", "-u", metavar="NAME", help="act for this tenant (operators)"),
    Option("--token", metavar="TOKEN", help="an identity token"),
    Positional("jobs", many=True, metavar="JOB", help="the jobs; 17 is all of submission 17"),
)


def run(arguments: Arguments) -> int:
    """The status of the first job that did not succeed: its own, 126 refused, 143 cancelled, 125 lost or skipped."""
    message = {"jobs": arguments.jobs, **identity(arguments)}
    return wait_for(connected(arguments), message, as_json=arguments.json)
