"""`mlsandbox check`: compare what a job declares with what is granted, without running it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher.audit.printable import printable
from launcher.capability.limits import Limits
from launcher.capability.permissions import Permissions
from launcher.capability.scope import canonical_path
from launcher.cli.output import show, show_json
from launcher.cli.requests import JOB_OPTIONS, request_of
from launcher.enforce.namespace.plan.programs import Programs
from launcher.service.command import command_file, refuse_ungranted
from launcher.service.deciding import Asked, Decided

if TYPE_CHECKING:
    from launcher.cli.options import Arguments
    from launcher.service.declarations import Declared

HELP = "Compare what a job declares with what is granted, without running it."
EXAMPLE = "mlsandbox check --user alice job.ml"
OPTIONS = JOB_OPTIONS


def run(arguments: Arguments) -> int:
    """0 where the job may be launched; the refusal (126) or the program's errors pass through."""
    request = request_of(arguments)
    decided = Decided(Asked(request))
    if request.command:
        commands = Programs(decided.profile.data["commands"])
        path = command_file(request.command, decided.asked.workspace, commands)
        permissions = Permissions.from_data(decided.profile.data["permissions"])
        refuse_ungranted(request.command, path, commands.resolved(), lambda: permissions, commands.kind(path))
    declared = decided.declared
    undeclared = [] if declared is None else _undeclared(decided, declared)
    needs = [] if declared is None else [str(need) for need in declared.needs]
    if arguments.json:
        notes = [] if declared is None else declared.diagnostics
        show_json(
            {
                "allowed": True,
                "declared": needs,
                "diagnostics": notes,
                "undeclared": undeclared,
                "profile": decided.profile.digest,
            }
        )
        return 0
    for note in [] if declared is None else declared.diagnostics:
        show(printable(str(note.get("text") or note.get("message"))))
    for text in undeclared:
        show(f"used but not declared: {printable(text)}")
    for need in needs:
        show(f"granted: {printable(need)}")
    show("the job may be launched" if needs else "the job declares nothing; it may be launched with what is granted")
    return 0


def _undeclared(decided: Decided, declared: Declared) -> list[str]:
    """What the source can be seen to use and does not declare; only where it declares anything at all."""
    if not declared.needs:
        return []
    scope = decided.merged.permissions.scope
    said = Permissions(declared.needs, (), Limits(), scope)
    found = []
    for use in declared.uses:
        kind, operation, resource = (str(use.get(key, "")) for key in ("type", "operation", "resource"))
        path = kind in {"file", "path"} and resource and "\0" not in resource
        asked = canonical_path(resource, scope) if path else resource
        missing = not said.decide(kind, operation, asked).allowed if resource else not said.holds(kind, operation)
        if missing:
            found.append(f"{kind}.{operation} {resource} (line {use.get('line')})")
    return found
