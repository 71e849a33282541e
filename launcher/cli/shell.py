"""`mlsandbox shell`: a terminal inside the same sandbox that a job would have."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from launcher.cli.launch import REVIEW, ask_first, start
from launcher.cli.requests import JOB_OPTIONS, request_of
from launcher.errors import UsageError

if TYPE_CHECKING:
    from launcher.cli.options import Arguments

HELP = "Open a terminal inside the sandbox that a job of this user would have (needs the `sh` grant)."
EXAMPLE = "mlsandbox shell --user alice --workspace /srv/project"
OPTIONS = (REVIEW, *(option for option in JOB_OPTIONS if getattr(option, "dest", "") not in {"program", "arguments"}))
_SHELLS = ("/bin/bash", "/bin/sh")


def run(arguments: Arguments) -> int:
    """The shell's exit status. Raises UsageError without a terminal."""
    if not (os.isatty(0) and os.isatty(1)):
        raise UsageError("there is no terminal", hint="to run a command: mlsandbox launch -- sh -c '...'")
    arguments.__dict__.update(program=None, arguments=[])
    shell = next(path for path in _SHELLS if os.path.exists(path))
    request = request_of(arguments, default=[shell])
    request.terminal = True
    if arguments.review:
        ask_first(request, as_json=False)
    return start(request, None, dry_run=False, as_json=False)
