"""ML `console`: lines on standard output and standard error."""

from __future__ import annotations

import sys

from launcher.runtime.stdlib._declare import module


def _line(values: tuple[object, ...], first: str = "") -> str:
    """Host text forms joined by a blank (`true` prints as `True` here, unlike `print`)."""
    words = [str(value) for value in values]
    return " ".join([first, *words] if first else words) + "\n"


def _log(*values: object) -> None:
    sys.stdout.write(_line(values))


def _info(*values: object) -> None:
    sys.stdout.write(_line(values, "INFO:"))


def _debug(*values: object) -> None:
    sys.stdout.write(_line(values, "DEBUG:"))


def _error(*values: object) -> None:
    sys.stderr.write(_line(values))


def _warn(*values: object) -> None:
    sys.stderr.write(_line(values, "WARNING:"))


MODULE = module(
    "console",
    "Lines on standard output and standard error.",
    (
        ("log", _log, "console.write", "log(...): the values on one line of standard output"),
        ("info", _info, "console.write", "info(...): the same with INFO: before it"),
        ("debug", _debug, "console.write", "debug(...): the same with DEBUG: before it"),
        ("error", _error, "console.error", "error(...): the values on one line of standard error"),
        ("warn", _warn, "console.error", "warn(...): the same with WARNING: before it"),
    ),
)
