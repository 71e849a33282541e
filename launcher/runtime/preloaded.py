"""A job in a process that was loaded before anybody knew of it: what must be its own is made anew, and it begins.

The service forks such jobs from a process that has read nothing (`launcher.service.zygote`), instead of starting an
interpreter for each. What came with the fork is code that is the same for everybody; what is drawn at random when a
module is loaded, and what names places outside of the sandbox, is not to be shared.
"""

from __future__ import annotations

import os
import random
import sys
from io import TextIOWrapper

from launcher.runtime import tokens
from launcher.runtime.stdlib import MODULES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_SECRET_BYTES = 32


def load() -> None:
    """Imports every module of the library: in the job none of their files would be where it was."""
    for name in sorted(set(MODULES.values())):
        __import__(f"launcher.runtime.stdlib.{name}")
    __import__("launcher.runtime.main")


def run(module: str, library: str, environment: Mapping[str, str]) -> int:
    """Runs `main` of `module` as `python -I -S -c` would in a fresh interpreter; the exit status.

    `library` is where the package is in the job's view.
    """
    _move(library)
    tokens._SECRET = os.urandom(_SECRET_BYTES)  # noqa: SLF001  no two jobs may have the same
    random.seed()
    os.environ.clear()
    os.environ.update(environment)
    # those that were loaded know what the descriptors were then: a file that can be sought, or no terminal
    sys.stdin, sys.stdout = _stream(0, "r"), _stream(1, "w")
    sys.stderr = _stream(2, "w")
    sys.stderr.reconfigure(line_buffering=True)
    status = _finished(sys.modules[module].main)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            status = status or 120  # what the interpreter ends with when it cannot flush
    return status


def _stream(fd: int, mode: str) -> TextIOWrapper:
    return TextIOWrapper(open(fd, f"{mode}b", closefd=False), encoding="utf-8", line_buffering=os.isatty(fd))


def _finished(main: Callable[[], int]) -> int:
    try:
        return main()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:  # noqa: BLE001  as at the top of any interpreter
        sys.excepthook(*sys.exc_info())
        return 1


def _move(library: str) -> None:
    """What is not loaded yet is looked for where the job sees it."""
    outside = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
    sys.path[:] = [library, *[entry for entry in sys.path if not entry.startswith(outside)]]
    sys.path_importer_cache.clear()
    for loaded in [*sys.modules.values()]:
        places = getattr(loaded, "__path__", None)
        if isinstance(places, list):
            places[:] = [place.replace(outside, library, 1) if place.startswith(outside) else place for place in places]
