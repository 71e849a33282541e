"""Runs one corpus case (see README.md) in this process."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launcher.capability.grant import Grant
from launcher.capability.kinds import KINDS
from launcher.capability.limits import Limits
from launcher.capability.permissions import Permissions
from launcher.capability.scope import Scope
from launcher.language.diagnostics import SourceError
from launcher.language.program import compile_program
from launcher.runtime.context import Context
from launcher.runtime.errors import described
from launcher.runtime.job import Job
from launcher.runtime.machine import NOTHING, Machine

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(__file__).parent

# A pattern for each type that covers whatever a corpus program touches.
_EVERYTHING = {
    "path": ("/**",),
    "host": ("*",),
    "url": ("sqlite:///",),
    "command": ("*",),
    "program": (),
    "name": ("*",),
}


def cases() -> list[Any]:
    """Every case of every file, with `file` added."""
    files = [(path.stem, json.loads(path.read_text(encoding="utf-8"))) for path in sorted(FOLDER.glob("*.json"))]
    return [{**case, "file": stem} for stem, found in files for case in found]


def everything(cwd: str) -> Permissions:
    """Permissions that allow all that the corpus does."""
    grants = []
    for kind in KINDS.values():
        constraints = {"ports": ["1-65535"], "allow_loopback": True, "allow_private": True}
        if kind.name == "network":
            grants.append(Grant("network", ("http", "https", "tcp"), ("*",), constraints))
        else:
            grants.append(Grant(kind.name, kind.operations, _EVERYTHING[kind.pattern]))
    return Permissions(grants, (), Limits(), Scope(cwd, cwd, cwd))


class Outcome:
    """What a program did: `output`, `error` (kind, text) or None, `refused` (messages) or None, `result`."""

    def __init__(self) -> None:
        self.output = ""
        self.error: tuple[str, str] | None = None
        self.refused: list[str] | None = None
        self.result: Any = NOTHING


def text(value: str | list[str], *, newline: bool = False) -> str:
    """A string, or an array of lines."""
    if isinstance(value, str):
        return value
    return "".join([line + "\n" for line in value]) if newline else "\n".join(value)


def run(case: dict[str, Any], folder: Path) -> Outcome:
    """Run a case with `folder` as its current directory."""
    outcome = Outcome()
    modules = {name: text(source).encode() for name, source in case.get("modules", {}).items()}
    try:
        program = compile_program(text(case["source"]).encode(), "program.ml", modules.get)
    except SourceError as error:
        outcome.refused = [f"{item.message} {item.hint}" for item in error.diagnostics]
        return outcome
    job = Job("program.ml", case.get("args", ()))
    output = io.StringIO()
    with _current_folder(case, folder), contextlib.redirect_stdout(output), contextlib.redirect_stderr(io.StringIO()):
        context = Context.root(everything(os.getcwd()), job=job)
        before, sys.stdin = sys.stdin, io.StringIO(case.get("input", ""))
        with context:
            try:
                outcome.result = Machine(program).run()
            except Exception as error:
                outcome.error = described(error)
        sys.stdin = before
    outcome.output = output.getvalue()
    return outcome


@contextlib.contextmanager
def _current_folder(case: dict[str, Any], folder: Path) -> Iterator[None]:
    for name, content in case.get("files", {}).items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text(content), encoding="utf-8")
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
