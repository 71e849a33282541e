"""What a person or a program is shown. Plain text, colour only on a terminal that wants it, JSON on request.

Everything that came from outside passes `printable`. Not rich: a table, four colours and a width do not
earn a dependency.
"""

from __future__ import annotations

import os
import sys

from launcher.audit.printable import printable
from launcher.errors import SandboxError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import TextIO

_LONGEST_MESSAGE = 4000  # characters
STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33"}


def wants_colour(stream: TextIO) -> bool:
    """A terminal that is not dumb; https://no-color.org: NO_COLOR set to anything but nothing says no."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False


def paint(text: str, style: str, stream: TextIO | None = None) -> str:
    """`text` in a style of STYLES if the stream (stdout) is a terminal that wants it."""
    if not wants_colour(stream or sys.stdout):
        return text
    return f"\x1b[{STYLES[style]}m{text}\x1b[0m"


def show(text: str, stream: TextIO | None = None) -> None:
    """Print a line; what the stream's encoding cannot hold is escaped rather than an error."""
    target = stream or sys.stdout
    line = text + "\n"
    try:
        target.write(line)
    except UnicodeEncodeError:
        encoding = target.encoding or "ascii"
        target.write(line.encode(encoding, "backslashreplace").decode(encoding))
    except BrokenPipeError:
        raise
    except OSError as error:
        raise SandboxError(f"cannot write the output: {error.strerror}") from error


def show_json(value: object, *, lines: bool = False) -> None:
    """One JSON document: indented, or on one line (`lines`) where many follow each other. ASCII, keys sorted."""
    import json

    show(json.dumps(value, sort_keys=True, indent=None if lines else 2))


def table(header: Sequence[str], rows: Iterable[Sequence[object]], stream: TextIO | None = None) -> str:
    """Aligned columns without lines between them; cells are made printable. "" for no rows."""
    cells = [[printable(str(cell)) for cell in row] for row in rows]
    if not cells:
        return ""
    everything = [list(header), *cells]
    widths = [max(_width(row[column]) for row in everything) for column in range(len(header))]
    lines = ["  ".join(_padded(cell, width) for cell, width in zip(row, widths, strict=True)) for row in everything]
    lines = [line.rstrip() for line in lines]
    return "\n".join([paint(lines[0], "bold", stream), *lines[1:]])


def _padded(text: str, width: int) -> str:
    return text + " " * (width - _width(text))


def _width(text: str) -> int:
    """Columns on a terminal: wide characters take two, marks that combine none (Unicode UAX 11)."""
    if text.isascii():
        return len(text)
    import unicodedata

    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def problem(message: str, *, verb: str = "", hint: str = "", place: str = "", label: str = "error") -> None:
    """An error on stderr: what and where, then what to do. Line feeds in a message stay, everything else is escaped."""
    name = f"mlsandbox {verb}".strip()
    head = paint(f"{label}:", "red", sys.stderr)
    where = f"{printable(place)}: " if place else ""
    show(f"{name}: {head} {where}{printable_text(_bounded(message))}", sys.stderr)
    if hint:
        show(f"{paint('hint:', 'yellow', sys.stderr)} {printable_text(hint)}", sys.stderr)


def _bounded(message: str) -> str:
    """A paragraph: a word of 100 KiB that was not found is known by its ends, and no word of a caller parts it."""
    whole = "\n".join([line for line in message.split("\n") if line.strip()])
    if len(whole) <= _LONGEST_MESSAGE:
        return whole
    half = _LONGEST_MESSAGE // 2
    return f"{whole[:half]} ... ({len(whole) - 2 * half} characters) ... {whole[-half:]}"


def printable_text(text: str) -> str:
    r"""A message of several lines: safe, with its line feeds; a backslash stays one, since prose is not a name."""
    return "\\".join([printable(part, keep="\n") for part in text.split("\\")])
