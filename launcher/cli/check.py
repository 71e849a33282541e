"""`mlsandbox check`: compare what a job declares with what is granted, without running it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher.audit.printable import printable
from launcher.cli.output import problem, show, show_json
from launcher.cli.requests import JOB_OPTIONS, inspected, request_of

if TYPE_CHECKING:
    from launcher.cli.options import Arguments

HELP = "Compare what a job declares with what is granted, without running it."
EXAMPLE = "mlsandbox check --user alice job.ml"
OPTIONS = JOB_OPTIONS


def run(arguments: Arguments) -> int:
    """0 where the job may be launched, else the status that a launch would end with."""
    request = request_of(arguments)
    found = inspected("check", request)
    error = found.get("error")
    if arguments.json:
        show_json({"allowed": error is None, **found})
        return int(error["status"]) if error else 0
    if error:
        problem(error["message"], verb="check", hint=error["hint"])
        for text in found["undeclared"]:
            show(f"used but not declared: {printable(text)}")
        return int(error["status"])
    for note in found["diagnostics"]:
        show(printable(str(note.get("text") or note.get("message"))))
    for text in found["undeclared"]:
        show(f"used but not declared: {printable(text)}")
    needs = found["declared"]
    for need in needs:
        show(f"granted: {printable(need)}")
    show("the job may be launched" if needs else "the job declares nothing; it may be launched with what is granted")
    return 0
