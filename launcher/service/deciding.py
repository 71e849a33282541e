"""From a request to a decided launch: who, under which policies, with which profile. Starts nothing.

identify -> collect policies -> merge -> read declarations -> declared within granted? -> compile (design section 3).
"""

from __future__ import annotations

import os
import time

from launcher.capability.limits import TABLE, Limits
from launcher.capability.scope import Scope
from launcher.compile.base import BaseProfile
from launcher.compile.compiler import compile_profile
from launcher.compile.effective import granted
from launcher.compile.options import ARGUMENTS, DEVICES, EGRESS, KEYCHAIN, SOCKETS, Options
from launcher.errors import ConfigurationError, DocumentError, RefusedError, UsageError
from launcher.policy.merge import base_handle, merge
from launcher.service.asking import Asked, as_tenant, identify
from launcher.service.request import MANIFEST, ML_SUFFIX, check_ownership, read_program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from launcher.capability.permissions import Permissions
    from launcher.compile.profile import Profile
    from launcher.kernel.features import Features
    from launcher.policy.cache import Snapshot
    from launcher.policy.merge import Merged
    from launcher.service.declarations import Declared

__all__ = ["Asked", "Decided", "identify"]
_SUPPORTS = (ARGUMENTS, DEVICES, EGRESS, SOCKETS)


class Decided:
    """A launch that may be made: `profile` is what will be enforced, `source` the ML program's bytes or None."""

    __slots__ = ("asked", "base", "declared", "features", "merged", "modules", "profile", "source")

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.features: Features = asked.features
        self.merged: Merged = merge_for(asked)
        with_ids = asked.tenant if asked.served else None
        self.source = as_tenant(with_ids, lambda: read_program(asked.request)) if asked.request.program else None
        self.modules: dict[str, bytes] = {}
        self.declared: Declared | None = self._declarations()
        self.base = BaseProfile(base_data(asked.snapshot, self.merged.base))
        options = options_for(asked, self.declared)
        if self.declared:
            refuse_errors(self.declared)
            refuse_shortfalls(granted(self.merged, self.base, options), self.declared)
        self.profile: Profile = compile_profile(self.merged, asked.acting.user, self.base, self.features, options)

    def _declarations(self) -> Declared | None:
        asked = self.asked
        if self.source is None:
            path = f"{asked.workspace}/{MANIFEST}"
            return as_tenant(asked.tenant, lambda: _manifest(path))  # type: ignore[no-any-return]
        from launcher.service.declarations import Reader, read_source
        from launcher.service.modules import ModuleReader

        base = base_data(asked.snapshot, "parser")
        sandboxes = asked.served.sandboxes if asked.served else None
        reader = Reader(asked.acting.user, asked.identity, base, self.features, asked.locations.cache, sandboxes)
        declared = read_source(self.source, asked.request.program, reader)
        if declared.imports:
            program = os.path.join(asked.request.cwd, asked.request.program)
            modules = ModuleReader(program, asked.tenant, lambda source, name: read_source(source, name, reader))
            modules.collect(declared)
            self.modules = modules.found
        return declared


def merge_for(asked: Asked) -> Merged:
    """What the policies of `asked` give its user. Raises RefusedError where none applies."""
    policies = asked.snapshot.policies_for(asked.acting.user)
    user = asked.acting.user
    scope = Scope(os.path.realpath(user.home), asked.workspace)
    if not policies:
        raise RefusedError(
            f"no policy applies to {user.name}",
            hint=f"an administrator can run: mlsandbox admin grant POLICY --user {user.name}",
        )
    base = base_data(asked.snapshot, base_handle(policies))
    merged = merge(policies, scope, base=base, ceilings=asked.snapshot.config.limits, now=time.time())
    if asked.acting.for_somebody_else:
        named = _names_workspace(merged, asked.workspace)
        check_ownership(asked.workspace, asked.identity.uid, named)
    return merged


def _manifest(path: str) -> Declared | None:
    if not os.path.lexists(path):
        return None
    from launcher.service.manifest import read_manifest

    return read_manifest(path)


def _names_workspace(merged: Merged, workspace: str) -> bool:
    below = workspace.rstrip("/") + "/"
    patterns = [
        pattern for grant in merged.permissions.grants if grant.type in {"file", "path"} for pattern in grant.patterns
    ]
    return any(isinstance(text, str) and (text.startswith(below) or text == workspace) for text in patterns)


def base_data(snapshot: Snapshot, handle: str) -> dict[str, Any]:
    """The base profile `handle`. Raises ConfigurationError with the nearest name."""
    bases = snapshot.bases
    if handle not in bases:
        from launcher.capability.suggest import suggest

        nearest = suggest(handle, list(bases))
        hint = f"did you mean {nearest!r}?" if nearest else f"there are: {', '.join(sorted(bases))}"
        raise ConfigurationError(f"there is no base profile {handle!r}", hint=hint)
    return bases[handle]


class ProgramError(DocumentError):
    """The source of a program or of its modules has errors; `declared` holds them one by one."""

    def __init__(self, message: str, declared: Declared) -> None:
        super().__init__(message, hint="nothing was run")
        self.declared = declared


class UndergrantedError(RefusedError):
    """More is declared than granted; `declared` is what was read."""

    def __init__(self, message: str, declared: Declared) -> None:
        hint = "declare less, or ask an administrator to grant it; `mlsandbox explain` shows what is granted"
        super().__init__(message, hint=hint)
        self.declared = declared


def refuse_errors(declared: Declared) -> None:
    """Raises ProgramError with every error of the source."""
    errors = [item for item in declared.diagnostics if item.get("severity", "error") == "error"]
    if errors:
        texts = [str(item.get("text") or item.get("message")) for item in errors]
        raise ProgramError("the program has errors\n" + "\n".join(texts), declared)


def refuse_shortfalls(permissions: Permissions, declared: Declared) -> None:
    """Raises UndergrantedError when more is declared than granted, with an example for each difference."""
    shortfalls = permissions.shortfalls(declared.needs)
    if not shortfalls:
        return
    lines = []
    for shortfall in shortfalls:
        need = shortfall.need
        example = f", for example {shortfall.example}" if shortfall.example not in shortfall.reason else ""
        lines.append(
            f"  {need.type}.{shortfall.operation} {shortfall.pattern} ({need.place}): {shortfall.reason}{example}"
        )
    raise UndergrantedError("the job declares more than is granted:\n" + "\n".join(lines), declared)


def _supports(asked: Asked) -> tuple[str, ...]:
    """What the backend has: without namespaces neither a network to connect nor a view to mount nodes in."""
    if not asked.features.user_namespaces:
        return (ARGUMENTS,)
    return (*_SUPPORTS, KEYCHAIN) if asked.request.program else _SUPPORTS


def options_for(asked: Asked, declared: Declared | None) -> Options:
    """What the request asks of `compile`, with the declaration that was read."""
    request = asked.request
    return Options(
        asked.workspace,
        declared=declared.needs if declared else None,
        limits=command_line_limits(request.limits),
        environment=tuple(request.environment),
        supports=_supports(asked),
        allow_degraded=request.allow_degraded,
        now=int(time.time()),
    )


def command_line_limits(texts: Mapping[str, str]) -> Limits:
    """Limits from the command line. Raises UsageError."""
    values = {}
    for name, text in texts.items():
        if name not in TABLE:
            raise UsageError(f"unknown limit {name!r}")
        try:
            values[name] = Limits.parse(name, text)
        except ConfigurationError as error:
            raise UsageError(f"--{name.replace('_', '-')}: {error.message}", hint=error.hint) from error
    return Limits(**values)


def is_program(word: str) -> bool:
    """Whether a word of the command line is an ML program rather than a command."""
    return word.endswith(ML_SUFFIX)
