"""`mlsandbox fmt`: ML programs in the standard layout."""

from __future__ import annotations

import os
import sys

from launcher.audit.printable import printable
from launcher.cli.options import Option, Positional
from launcher.cli.output import show, show_json, wants_colour
from launcher.errors import DocumentError, NotFoundError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from launcher.cli.options import Arguments

HELP = "Write ML programs in the standard layout; comments stay."
EXAMPLE = """
mlsandbox fmt job.ml
mlsandbox fmt --check src/*.ml
mlsandbox fmt --show job.ml
"""
OPTIONS = (
    Option("--check", flag=True, help="change nothing; exit 1 when a file would change, and name it"),
    Option("--show", flag=True, help="print the result instead of writing it, with colours on a terminal"),
    Positional("files", many=True, metavar="FILE.ml", help="the programs; - is stdin, written to stdout"),
)


def run(arguments: Arguments) -> int:
    """0, or 1 with --check where a file would change. Raises DocumentError for a program with mistakes."""
    if not arguments.files:
        raise UsageError("there is nothing to format", hint="mlsandbox fmt JOB.ml")
    changed = [path for path in arguments.files if _format(path, arguments)]
    if arguments.json:
        show_json({"changed": changed})
    elif not arguments.show:
        for path in changed:
            if path != "-":
                show(f"{'would change' if arguments.check else 'formatted'}: {printable(path)}")
    return 1 if arguments.check and changed else 0


def _format(path: str, arguments: Arguments) -> bool:
    """Formats one file as the options say; whether its text changes."""
    from launcher.language.diagnostics import SourceError
    from launcher.language.highlight import highlight
    from launcher.language.printer import format_source
    from launcher.language.source import Source

    try:
        source = Source.from_bytes(_read(path), path)
        text = format_source(source)
    except SourceError as error:
        raise DocumentError(f"the program has errors\n{error.render()}", hint="the file was left as it is") from error
    changed = text != source.text
    if arguments.show or (path == "-" and not arguments.check):
        sys.stdout.write(highlight(Source(text, path)) if wants_colour(sys.stdout) else text)
    elif changed and not arguments.check:
        _replace(path, text.encode("utf-8"))
    return changed


def _read(path: str) -> bytes:
    if path == "-":
        return sys.stdin.buffer.read()
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except OSError as error:
        raise NotFoundError(f"cannot read {path}: {error.strerror}") from error


def _replace(path: str, data: bytes) -> None:
    """Replaces a file at once and keeps its mode: an interrupted run leaves the old program."""
    target = os.path.realpath(path)
    temporary = f"{target}.{os.getpid()}.fmt"
    try:
        mode = os.stat(target).st_mode & 0o777
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with open(fd, "wb") as stream:
            stream.write(data)
        os.rename(temporary, target)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
