"""`--review`: the question before what a job wrote reaches the host. Not on the launch path.

The job may have had this terminal until a moment ago. It could have left it showing nothing (hidden text, another
screen, another character set), or have made it send an answer (a terminal reports its title, its cursor, its
version when it is told to): so the terminal is settled first, what it has sent is thrown away, and only a line that is
exactly `y` or `yes` is a yes.
"""

from __future__ import annotations

import os
import signal
import sys
import termios
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from launcher.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# In order: end an unfinished sequence or string (CAN, ST), the main screen, DECSTR (margins, modes, colours, cursor),
# plain text, ASCII in both character sets, and a new line.
_SETTLED = "\x18\x1b\\\x1b[?1049l\x1b[!p\x1b[0m\x1b(B\x1b)B\x0f\r\n"
_REPORTS = 0.2  # seconds that a terminal, also a distant one, has to send what the job told it to
_LONGEST_ANSWER = 256
_YES = {b"y\n", b"yes\n", b"Y\n", b"YES\n"}
_NO_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def check_terminal(*, as_json: bool) -> None:
    """Raises UsageError where there is nobody to ask."""
    if as_json:
        raise UsageError("--review asks a person, and --json is for programs", hint="use --result FILE for the result")
    if not (os.isatty(0) and os.isatty(2)):
        raise UsageError(
            "--review needs a terminal to ask on: standard input and standard error",
            hint="without --review what is granted is committed; `commit: success` in the policy keeps all or nothing",
        )


def ask(lines: Iterable[str], committing: int, refused: int) -> bool:
    """Whether the person at the terminal says yes. No answer, an end of input, Ctrl-C or a hang-up is a no."""
    try:
        with _interruptible():
            _write(_SETTLED)
            for line in lines:
                _write(line + "\n")
            return _answer(_question(committing, refused))
    except (KeyboardInterrupt, OSError):
        return False


def _question(committing: int, refused: int) -> str:
    left = f" ({refused} refused)" if refused else ""
    return f"mlsandbox: commit {committing} change{'s' if committing != 1 else ''} to the host{left}? [y/N] "


def _answer(question: str) -> bool:
    termios.tcdrain(2)
    time.sleep(_REPORTS)
    termios.tcflush(0, termios.TCIFLUSH)
    _write(question)
    return os.read(0, _LONGEST_ANSWER) in _YES


def _write(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()


@contextmanager
def _interruptible() -> Iterator[None]:
    """Signals end the question; while a job runs, and while a commit does, they are not ours to die of."""

    def interrupt(_number: int, _frame: Any) -> NoReturn:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in _NO_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
