"""What a job needs before its first instruction: its command, or what its program declares. Runs nothing of the job."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from launcher.enforce.namespace.plan.programs import Programs
from launcher.service import denials
from launcher.service.asking import Asked
from launcher.service.command import command_file
from launcher.service.deciding import base_data, refuse_errors
from launcher.service.learning.runs import Candidate

if TYPE_CHECKING:
    from launcher.service.request import Request


class Start:
    """`workspace` and `user` as a launch would have them; `grants` for the start; `declared` of an ML program."""

    __slots__ = ("declared", "grants", "user", "workspace")

    def __init__(self, request: Request, *, exact: bool) -> None:
        """`exact`: the command with these arguments, and not the program with any. Raises SandboxError."""
        asked = Asked(request)
        asked.snapshot = Candidate(asked.snapshot, ())
        self.workspace = asked.workspace
        self.user = asked.acting.user.name
        self.declared: list[str] = _declared(asked) if request.program else []
        self.grants: list[str] = [] if request.program else [_command(asked, exact=exact)]


def _command(asked: Asked, *, exact: bool) -> str:
    from launcher.service.deciding import Decided

    programs = Programs(Decided(asked).profile.data["commands"])
    words = list(asked.request.command)
    path = command_file(words, asked.workspace, programs)
    kind = programs.kind(path)
    if kind != "cmd":
        return kind
    name = os.path.basename(words[0])
    name = name if programs.resolve(name) == path else denials.path_pattern(path, asked.workspace)
    line = " ".join([name, *words[1:]])
    return denials.string("cmd", "execute", line, asked.workspace) if exact and len(words) > 1 else f"cmd:{name}"


def _declared(asked: Asked) -> list[str]:
    from launcher.service.declarations import Reader, read_source
    from launcher.service.request import read_program

    base = base_data(asked.snapshot, "parser")
    reader = Reader(asked.acting.user, asked.identity, base, asked.features, asked.locations.cache)
    declared = read_source(read_program(asked.request), asked.request.program, reader)
    refuse_errors(declared)
    return [
        f"{need.type}.{operation}:{pattern}"
        for need in declared.needs
        for operation in need.operations
        for pattern in need.patterns
        if isinstance(pattern, str)
    ]
