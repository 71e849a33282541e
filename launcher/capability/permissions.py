"""What one user holds for one launch, and the one function that says yes or no."""

from __future__ import annotations

from launcher import canonical
from launcher.capability.decision import Decision
from launcher.capability.grant import Grant
from launcher.capability.hosts import canonical_host
from launcher.capability.kinds import (
    BASE_PREFIX,
    COMMAND,
    DANGER_PREFIX,
    DEFAULT_PORTS,
    HOST,
    KINDS,
    PATH,
    PROGRAM,
    REPRESENTATIVES,
    interpreter_type,
    is_multi_call,
)
from launcher.capability.limits import Limits
from launcher.capability.rules import CommandRules, HostRules, NameRules, PathRules, parsed
from launcher.capability.scope import Scope
from launcher.capability.wrappers import TooManyError, programs_started
from launcher.errors import DocumentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from launcher.capability.decision import Shortfall

    Resource = str | Sequence[str]


class Permissions:
    """Grants and denies, limits, and the scope in which their patterns are read. Immutable, compiled when first asked.

    The compiled form is made per type and operation, so a launch pays for what it asks.
    """

    __slots__ = ("_allow", "_deny", "denies", "grants", "limits", "scope")

    def __init__(self, grants: Sequence[Grant], denies: Sequence[Grant], limits: Limits, scope: Scope) -> None:
        self.grants = tuple(grants)
        self.denies = tuple(denies)
        self.limits = limits
        self.scope = scope
        self._allow: dict[tuple[str, str], Any] = {}
        self._deny: dict[tuple[str, str], Any] = {}

    # --- deciding ---------------------------------------------------------------------------------------------------

    def decide(self, type: str, operation: str, resource: Resource, **context: Any) -> Decision:  # noqa: A002
        """Whether `operation` of `type` on `resource` is allowed. Deny wins; what nothing matches is denied.

        `resource` is a canonical absolute path, a host, a connection URL, an argument list or a name. Context:
        `now` (seconds since the epoch; without it a grant that expires does not count); for network `port`, `method`,
        `path` (normalised, no query), or `connect=True` when only host and port are known yet; for commands `file` (the
        canonical file of argv[0]) and `programs` (bare name to canonical file on the trusted PATH). Never raises for a
        bad resource: that is a denial. Raises DocumentError for a pattern that was never checked.
        """
        if type not in KINDS or operation not in KINDS[type].operations:
            return Decision(False, (), f"{type}.{operation} is no operation that could be granted")
        pattern = KINDS[type].pattern
        if pattern == PATH:
            return self._decide_path(type, operation, str(resource), context)
        if pattern == HOST:
            return self._decide_host(type, operation, str(resource), context)
        if pattern in {COMMAND, PROGRAM}:
            return self._decide_command(type, operation, resource, context)
        name = str(resource)
        denying = self._denying(type, operation).matching(name)
        return _verdict(type, operation, name, denying, self._granting(type, operation).matching(name), context)

    def _decide_path(self, kind: str, operation: str, path: str, context: dict[str, Any]) -> Decision:
        if not _is_canonical(path):
            return Decision(False, (), f"{path!r} is not a canonical absolute path")
        denying = self._denying(kind, operation).matching(path)
        granting = self._granting(kind, operation).matching(path)
        if not granting and kind == "path" and operation == "read":
            # kernel-facts 23: who may read names in D may list D, and sees the granted names only.
            granting = self._granting("file", "read").matching_below(path)
        if denying and granting:
            current = [grant for grant in granting if _in_time(grant, context.get("now"))]
            denying = [deny for deny in denying if not _lifted(deny, current)]
        return _verdict(kind, operation, path, denying, granting, context)

    def _decide_host(self, kind: str, operation: str, host: str, context: dict[str, Any]) -> Decision:
        if operation == "loopback":
            denying = [deny for deny in self.denies if deny.type == kind and operation in deny.operations]
            granting = [grant for grant in self.grants if grant.type == kind and operation in grant.operations]
            return _verdict(kind, operation, host, denying, granting, context)
        try:
            name = canonical_host(host)
        except DocumentError as error:
            return Decision(False, (), error.message)
        port = context.get("port") or DEFAULT_PORTS.get(operation)
        rest = (name, port, context.get("method") or "", context.get("path"))
        connect = bool(context.get("connect"))
        denying = self._denying(kind, operation).matching(*rest, connect=connect)
        granting = self._granting(kind, operation).matching(*rest, connect=connect)
        return _verdict(kind, operation, f"{name}:{port}", denying, granting, context)

    def _decide_command(self, kind: str, operation: str, resource: Resource, context: dict[str, Any]) -> Decision:
        argv = _executed(kind, [resource] if isinstance(resource, str) else list(resource), context.get("file"))
        if not argv or not argv[0] or any("\0" in word for word in argv):
            return Decision(False, (), "an empty command is never granted")
        shown = " ".join(argv[:32])[:200]
        try:
            started = programs_started(argv)
        except TooManyError:
            return Decision(False, (), f"{kind}.{operation} {shown} starts more programs than are looked through")
        denying = list(self._denying(kind, operation).denying(started))
        # A deny of `sh`, `js` or `py` means their files, however they are started.
        for inner in started:
            interpreter = interpreter_type(inner[0])
            if interpreter and interpreter != kind:
                denying += self._denying(interpreter, "execute").denying([inner])
        granting = self._granting_command(kind, operation, argv, context.get("programs"))
        return _verdict(kind, operation, shown, denying, granting, context)

    def _granting_command(
        self, kind: str, operation: str, argv: list[str], programs: Mapping[str, str] | None
    ) -> list[Grant]:
        """Shells are granted by `sh` alone (`sh` neither implies `cmd` nor is implied by it); the interpreters of `js`
        and `py` by their own type or as commands. `busybox sh` is a shell.
        """
        program = argv[1:] if is_multi_call(argv[0]) and len(argv) > 1 and interpreter_type(argv[1]) else argv
        interpreter = interpreter_type(program[0])
        if kind != "cmd":
            rules = self._granting(kind, operation)
            return [grant for grant in rules.matching(program, programs) if interpreter == kind or grant.patterns]
        granting: list[Grant] = [] if interpreter == "sh" else self._granting(kind, operation).matching(argv, programs)
        if interpreter:
            granting = granting + self._granting(interpreter, "execute").matching(program, programs)
        return granting

    # --- other questions --------------------------------------------------------------------------------------------

    def holds(self, type: str, operation: str) -> bool:  # noqa: A002
        """Whether any grant of the type and operation is not empty."""
        return any(grant.type == type and operation in grant.operations and not_empty(grant) for grant in self.grants)

    def parent_of_granted_write(self, directory: str) -> bool:
        """Whether the canonical directory may be made because a granted file would be written below it."""
        if not _is_canonical(directory) or self._denying("path", "write").matching(directory):
            return False
        return any(self._granting("file", name).matching_below(directory) for name in ("write", "append"))

    def shortfalls(self, needs: Sequence[Grant], programs: Mapping[str, str] | None = None) -> list[Shortfall]:
        """What is declared but not granted: exact, by language inclusion, each with an example. Empty means contained.

        `programs` (bare name to canonical file) lets commands by name be compared with commands by path.
        """
        from launcher.capability.containment import shortfalls

        return shortfalls(self, needs, programs)

    # --- plain data -------------------------------------------------------------------------------------------------

    def to_data(self) -> dict[str, Any]:
        """Plain JSON values; the same permissions give the same bytes of canonical JSON."""
        return {
            "grants": [grant.to_data() for grant in self.grants],
            "denies": [deny.to_data() for deny in self.denies],
            "limits": self.limits.to_data(),
            "scope": self.scope.to_data(),
        }

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> Permissions:
        """The inverse of `to_data`."""
        return cls(
            [Grant.from_data(item) for item in data["grants"]],
            [Grant.from_data(item) for item in data["denies"]],
            Limits.from_data(data["limits"]),
            Scope.from_data(data["scope"]),
        )

    @property
    def digest(self) -> str:
        """`sha256:` of the canonical JSON of `to_data`."""
        return canonical.digest(self.to_data())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Permissions) and self.to_data() == other.to_data()

    def __hash__(self) -> int:
        return hash((self.grants, self.denies))

    # --- compiled rules ---------------------------------------------------------------------------------------------

    def _granting(self, kind: str, operation: str) -> Any:
        rules = self._allow.get((kind, operation))
        if rules is None:
            rules = self._allow[kind, operation] = compile_rules(kind, operation, self.grants, self.scope)
        return rules

    def _denying(self, kind: str, operation: str) -> Any:
        rules = self._deny.get((kind, operation))
        if rules is None:
            rules = self._deny[kind, operation] = compile_rules(kind, operation, self.denies, self.scope, broad=True)
        return rules


def compile_rules(kind: str, operation: str, grants: Sequence[Grant], scope: Scope, *, broad: bool = False) -> Any:
    """The indexed rules of one type and operation; `broad` reads them as denies. Raises DocumentError."""
    mine = [grant for grant in grants if grant.type == kind and operation in grant.operations]
    pattern = KINDS[kind].pattern
    # Without patterns a deny means everything; a grant only of the boolean types.
    whole = [grant for grant in mine if not grant.patterns and (broad or pattern == PROGRAM)]
    entries: Any = parsed(mine, scope)
    if pattern in {COMMAND, PROGRAM}:
        return CommandRules(entries, whole)
    if pattern == PATH:
        return PathRules(entries, whole, listing=kind == "path" and operation == "read")
    if pattern == HOST:
        return HostRules(entries, whole, operation, broad=broad)
    return NameRules(entries, whole)


def not_empty(grant: Grant) -> bool:
    """Whether the grant grants anything: `()` is all of a boolean type, the job's own loopback, or nothing."""
    return bool(grant.patterns) or KINDS[grant.type].pattern == PROGRAM or "loopback" in grant.operations


def _executed(kind: str, argv: list[str], file: str | None) -> list[str]:
    """The arguments with the file that the kernel would start in front. A multi-call file (busybox) is told by the name
    in argv[0] what to be, so that name stays, as its first argument.
    """
    if kind in REPRESENTATIVES and not any(argv):
        return [REPRESENTATIVES[kind]]
    if not file or not argv:
        return argv
    name = argv[0].rpartition("/")[2]
    return [file, name, *argv[1:]] if is_multi_call(file) and not is_multi_call(name) else [file, *argv[1:]]


def _is_canonical(path: str) -> bool:
    """Absolute, without `.`, `..`, `//`, a final `/` or NUL. An unresolved `..` would match what it leaves."""
    if path[:1] != "/" or "\0" in path or "//" in path or (path[-1] == "/" and len(path) > 1):
        return False
    return "/." not in path or not {".", ".."}.intersection(path.split("/"))


def _verdict(
    kind: str, operation: str, resource: str, denying: list[Grant], granting: list[Grant], context: dict[str, Any]
) -> Decision:
    """Deny wins, an expired grant is none, and nothing matching is a denial. A deny never expires into an allow."""
    if denying:
        return Decision(False, tuple(denying), f"{kind}.{operation} {resource} is denied by {_source(denying[0])}")
    current = [grant for grant in granting if _in_time(grant, context.get("now"))]
    if current:
        return Decision(True, tuple(current), f"{kind}.{operation} {resource} is granted by {_source(current[0])}")
    if granting:
        reason = f"the grant of {kind}.{operation} {resource} by {_source(granting[0])} has expired"
        return Decision(False, tuple(granting), reason)
    return Decision(False, (), f"no grant of {kind}.{operation} covers {resource}")


def _in_time(grant: Grant, now: float | None) -> bool:
    expires = grant.constraints.get("expires_at")
    return expires is None or (now is not None and now < expires)


def _lifted(deny: Grant, granting: list[Grant]) -> bool:
    """Whether the deny is an entry of the danger list that a covering grant means by its name, or the place is private.

    The list is about the host's files: a private /tmp of the base profile's view is not one of them.
    """
    return deny.policy.startswith(DANGER_PREFIX) and any(meant(grant, deny) for grant in granting)


def meant(grant: Grant, deny: Grant) -> bool:
    """Whether `grant` takes an entry of the danger list, `deny`, with what it grants."""
    name = deny.policy.removeprefix(DANGER_PREFIX)
    return grant.policy.startswith(BASE_PREFIX) or name in grant.constraints.get("allow_danger", ())


def _source(grant: Grant) -> str:
    if grant.policy.startswith(DANGER_PREFIX):
        name = grant.policy.removeprefix(DANGER_PREFIX)
        return f"the danger list; `allow_danger: [{name}]` beside the grant, or in its policy, grants it"
    return f"{grant.policy} ({grant.place})" if str(grant.place) else grant.policy or "an unnamed policy"
