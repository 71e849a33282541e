"""An interactive session: reads inputs, runs each, shows the value of expressions. Runs inside the sandbox of a job.

An input ends where it is complete; the `;` behind the last statement may be left out. Errors end the input, not the
session. `:help`, `:names` and `:quit` are commands.
"""

from __future__ import annotations

import os
import sys
from types import FunctionType

from launcher.language.diagnostics import SourceError
from launcher.language.program import compile_input, compile_program
from launcher.runtime.machine import Machine
from launcher.runtime.trace import report
from launcher.runtime.values import quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from launcher.language.compiled import Unit

PROMPT, MORE = "ml> ", "..> "
HELP = ":names shows your variables, :quit ends; an empty line gives up an unfinished input"


class Session:
    """The state of one session: variables, and the sources of all inputs for stack traces."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self.write = write
        self.machine = Machine(compile_program(b"", "session"))
        self.namespace = self.machine.session(self.echo)
        self.known: set[str] = set()
        self.units: dict[str, Unit] = {}

    def echo(self, value: Any) -> None:
        """Show a value, unless it is null."""
        if value is not None:
            sys.stdout.flush()
            self.write(quoted(value) + "\n")

    def run(self, text: str) -> bool:
        """Run one input; False when it is not finished yet."""
        name = f"input {len(self.units) + 1}"
        try:
            unit, bound = self._compile(text, name)
        except SourceError as error:
            if unfinished(error, text):
                return False
            self.write(error.render() + "\n")
            return True
        self.units[name] = unit
        self.known |= bound
        try:
            FunctionType(unit.code, self.namespace)()
        except Exception as error:  # noqa: BLE001  whatever the input did, the session goes on
            sys.stdout.flush()
            self.write(report(error, self.units) + "\n")
        sys.stdout.flush()
        return True

    def _compile(self, text: str, name: str) -> tuple[Unit, set[str]]:
        try:
            return compile_input(text, name, self.known)
        except SourceError as error:
            if not _lacks_semicolon(error, text):
                raise
            return compile_input(text.rstrip() + ";", name, self.known)

    def names(self) -> str:
        """The variables that have a value."""
        return " ".join(sorted(name for name in self.known if f"v_{name}" in self.namespace))


def _lacks_semicolon(error: SourceError, text: str) -> bool:
    first = error.diagnostics[0]
    at_end = first.start >= len(text.rstrip())
    return len(error.diagnostics) == 1 and at_end and first.message.startswith(("expected ; after", "a ; is missing"))


def unfinished(error: SourceError, text: str) -> bool:
    """Whether more text could make the input right: it stops inside something."""
    first = error.diagnostics[0]
    at_end = first.start >= len(text.rstrip()) - 1 and "end of the program" in first.message
    return at_end or "is never closed" in first.message or first.message == "the program stops inside an expression"


def loop(read: Callable[[str], str], write: Callable[[str], None]) -> None:
    """Read and run inputs until the end of input or `:quit`. `read` takes a prompt and raises EOFError at the end."""
    session = Session(write)
    pending = ""
    while True:
        try:
            line = read(MORE if pending else PROMPT)
        except EOFError:
            return
        if not pending and line.strip().startswith(":"):
            if line.strip() in {":quit", ":q"}:
                return
            write((session.names() if line.strip() == ":names" else HELP) + "\n")
            continue
        if pending and not line.strip():
            pending = ""
            continue
        pending += line + "\n"
        if not pending.strip() or session.run(pending):
            pending = ""


def main() -> int:
    """A session on stdin and stdout; returns the exit status."""
    interactive = os.isatty(0) and os.isatty(1)
    if interactive:
        try:
            import readline  # noqa: F401  editing of lines, where the host has it
        except ImportError:
            pass
        sys.stdout.write("mlsandbox ML; :help for help\n")
    loop(input if interactive else _plain_line, _write)
    return 0


def _write(text: str) -> None:
    sys.stdout.write(text)


def _plain_line(_prompt: str) -> str:
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line.rstrip("\n")
