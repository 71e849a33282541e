"""What a launch would be, without making it: the answers of `check`, `explain` and `launch --dry-run`, as data.

The same functions answer in the caller's own process and in the service, so both print the same.
"""

from __future__ import annotations

from launcher.capability.limits import Limits
from launcher.capability.permissions import Permissions
from launcher.capability.scope import canonical_path
from launcher.compile.explain import explain as explanation
from launcher.enforce.namespace.plan.programs import Programs
from launcher.service.asking import Asked, Served
from launcher.service.command import command_file, refuse_ungranted
from launcher.service.deciding import Decided, ProgramError, UndergrantedError, merge_for

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from launcher.capability.scope import Scope
    from launcher.service.declarations import Declared
    from launcher.service.request import Request


def check(request: Request, served: Served | None = None) -> dict[str, Any]:
    """Compares what is declared with what is granted: `declared`, `diagnostics`, `undeclared`, `profile` (a digest).

    Where the program has errors or declares too much, `profile` is "" and `error` says what a launch would say. Raises
    RefusedError where the job may not be launched for another reason, NotFoundError, DocumentError.
    """
    asked = Asked(request, served)
    try:
        decided = Decided(asked)
    except (ProgramError, UndergrantedError) as error:
        return _refused(asked, error)
    if request.command:
        commands = Programs(decided.profile.data["commands"])
        path = command_file(request.command, decided.asked.workspace, commands)
        permissions = Permissions.from_data(decided.profile.data["permissions"])
        refuse_ungranted(request.command, path, commands.resolved(), lambda: permissions, commands.kind(path))
    declared = decided.declared
    return {
        "declared": [] if declared is None else [str(need) for need in declared.needs],
        "diagnostics": [] if declared is None else declared.diagnostics,
        "undeclared": [] if declared is None else _undeclared(decided.merged.permissions.scope, declared),
        "profile": decided.profile.digest,
    }


def _refused(asked: Asked, error: ProgramError | UndergrantedError) -> dict[str, Any]:
    declared = error.declared
    return {
        "declared": [str(need) for need in declared.needs],
        "diagnostics": declared.diagnostics,
        "undeclared": _undeclared(merge_for(asked).permissions.scope, declared),
        "profile": "",
        "error": {"message": error.message, "hint": error.hint, "status": error.status, "ended_by": error.ended_by},
    }


def _undeclared(scope: Scope, declared: Declared) -> list[str]:
    """What the source can be seen to use and does not declare; only where it declares anything at all."""
    if not declared.needs:
        return []
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


def explain(request: Request, served: Served | None = None) -> dict[str, Any]:
    """The profile that a launch would be given: `digest`, `profile`, and `lines` for people. Raises SandboxError."""
    profile = Decided(Asked(request, served)).profile
    return {"digest": profile.digest, "profile": profile.data, "lines": explanation(profile)}


def plan(request: Request, served: Served | None = None) -> dict[str, Any]:
    """The steps that a launch would take: `profile`, `digest`, `plan`, `lines`, `warnings`, and the image with its ids.

    Raises SandboxError.
    """
    from launcher.service.launching import Launch

    launch = Launch(request, served)
    try:
        made = launch.prepared.plan
        return {
            "profile": launch.decided.profile.digest,
            "digest": made.digest(),
            "plan": made.to_data(),
            "lines": made.describe(),
            "warnings": made.warnings,
            "run": {"path": launch.job.path, "uid": launch.job.identity.uid, "gid": launch.job.identity.gid},
        }
    finally:
        launch.close()


# By the verb of the service.
ANSWERS: dict[str, Callable[[Request, Served | None], dict[str, Any]]] = {
    "check": check, "explain": explain, "plan": plan,
}  # fmt: skip
