"""`mlsandbox explain`: the profile that a launch would be given, and where each part of it comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher.cli.output import show, show_json
from launcher.cli.requests import JOB_OPTIONS, inspected, request_of

if TYPE_CHECKING:
    from launcher.cli.options import Arguments

HELP = "Show the profile of a job: each permission, the mechanism that enforces it, and the policy line it came from."
EXAMPLE = """
mlsandbox explain --user alice job.ml
mlsandbox explain --json -- pytest -q
"""
OPTIONS = JOB_OPTIONS


def run(arguments: Arguments) -> int:
    """Prints the very profile that `launch` would enforce."""
    request = request_of(arguments, default=["true"])
    found = inspected("explain", request)
    if arguments.json:
        show_json({name: found[name] for name in ("digest", "profile")})
    else:
        for line in found["lines"]:
            show(line)
    return 0
