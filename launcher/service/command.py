"""The command of a launch line: which file it is on the trusted path, and whether that may be started so."""

from __future__ import annotations

import os
import time

from launcher.errors import NotFoundError, RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from launcher.capability.permissions import Permissions
    from launcher.enforce.namespace.plan.programs import Programs


def command_file(command: Sequence[str], workspace: str, programs: Programs) -> str:
    """The canonical file that the command names. Raises NotFoundError, RefusedError."""
    if not command or "\0" in command[0]:
        raise RefusedError("there is no command to run", hint="mlsandbox launch -- CMD [ARGS]")
    name = command[0] if "/" not in command[0] else os.path.join(workspace, command[0])
    path = programs.resolve(name)
    if not path:
        from launcher.audit.printable import printable

        raise NotFoundError(
            f"{printable(command[0])}: command not found", hint=f"the trusted path is {':'.join(programs.path)}"
        )
    return path


def refuse_ungranted(
    command: Sequence[str], path: str, resolved: Mapping[str, str], judge: Callable[[], Permissions], kind: str
) -> None:
    """Raises RefusedError, with the grant to ask for, unless the command may be started."""
    # one question for every kind of program: the algebra knows which capability an interpreter needs
    decision = judge().decide("cmd", "execute", list(command), file=path, programs=resolved, now=time.time())
    if decision.allowed:
        return
    shown = " ".join(command)[:200]
    # exactly this command, where the program is granted with other arguments; else the program, or its capability
    word = (
        f"`{kind}: true`" if kind != "cmd" else f"`cmd: [{os.path.basename(command[0])}]`, or just `cmd: [{shown!r}]`"
    )
    raise RefusedError(
        f"{shown!r} may not be run: {decision.reason}",
        hint=f"ask an administrator for {word}",
        place=str(decision.deciders[0].place) if decision.deciders else "",
    )
