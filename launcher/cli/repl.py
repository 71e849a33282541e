"""`mlsandbox repl`: an interactive ML session inside the sandbox that a job of this user would have."""

from __future__ import annotations

import os
import shutil
import tempfile

from launcher.cli.launch import start
from launcher.cli.requests import JOB_OPTIONS, request_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from launcher.cli.options import Arguments

HELP = "Open an interactive ML session with what this user is granted."
EXAMPLE = "mlsandbox repl --user alice --workspace /srv/project"
OPTIONS = tuple(option for option in JOB_OPTIONS if getattr(option, "dest", "") not in {"program", "arguments"})
# A source that begins so opens a session: launcher.runtime.main.
_SOURCE = b"#!mlsandbox repl\n"
_MODE = 0o755


def run(arguments: Arguments) -> int:
    """The session's exit status."""
    folder = tempfile.mkdtemp(prefix="mlsandbox-repl-")
    try:
        os.chmod(folder, _MODE)  # the program is opened with the user's ids
        path = f"{folder}/session.ml"
        with open(path, "wb") as stream:
            stream.write(_SOURCE)
        arguments.__dict__.update(program=path, arguments=[], command=None)
        if arguments.workspace is None:
            arguments.__dict__["workspace"] = os.getcwd()
        request = request_of(arguments)
        request.terminal = os.isatty(0) and os.isatty(1) and os.isatty(2)
        return start(request, None, dry_run=False, as_json=False)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
