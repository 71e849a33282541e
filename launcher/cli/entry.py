"""How the process starts and ends: the bundle for a launch, the one error boundary, and a short exit.

`script/mlsandbox` imports this and nothing else; the command that `script/install` writes takes the bundle first.
"""

from __future__ import annotations

import gc
import os
import sys

_BUNDLED = ("launch", "shell")
_OBJECTS_BEFORE_COLLECTING = 50_000  # as in `bundle`, for what starts without it


def start() -> None:
    """Run the command line, and end the process with its status. Never returns."""
    gc.set_threshold(_OBJECTS_BEFORE_COLLECTING)
    words = sys.argv[1:]
    if words and words[0] in _BUNDLED and "launcher.cli.main" not in sys.modules:
        from launcher.cli.bundle import load

        load()
    from launcher.cli.main import main

    status = main(words)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            status = status or 1
    os._exit(status)  # what finalising the interpreter would free, the kernel frees faster
