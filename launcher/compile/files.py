"""Grants of files and directories as the profile's lists: readable, staged, live, denied."""

from __future__ import annotations

from launcher.capability.kinds import DANGER_PREFIX
from launcher.capability.paths import PathPattern
from launcher.capability.permissions import meant
from launcher.compile.patterns import resolved, whole_directory
from launcher.errors import DocumentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from launcher.capability.grant import Grant
    from launcher.capability.permissions import Permissions
    from launcher.kernel.features import Features

_TYPES = ("file", "path")
_TRUNCATE_ABI = 3  # Landlock, Linux 6.2: below it a right to write is a right to truncate
# Without the truncation right these hold only together (kernel-facts 6).
_TOGETHER = frozenset(("write", "append", "delete"))
_EVERYTHING = "/**"


def file_rules(permissions: Permissions, features: Features) -> dict[str, list[dict[str, Any]]]:
    """The profile's `files`. Raises DocumentError for a live grant that cannot hold as written."""
    lists: dict[str, list[dict[str, Any]]] = {"read": [], "staged": [], "live": [], "denied": []}
    denies = [deny for deny in permissions.denies if deny.type in _TYPES]
    for grant in permissions.grants:
        if grant.type in _TYPES:
            for pattern in grant.patterns:
                _sort(grant, str(pattern), permissions, denies, features, lists)
    for deny in denies:
        for text in [str(pattern) for pattern in deny.patterns] or [_EVERYTHING]:
            lists["denied"].append(_rule(deny, resolved(text, permissions.scope), deny.operations))
    return lists


def _sort(
    grant: Grant,
    text: str,
    permissions: Permissions,
    denies: list[Grant],
    features: Features,
    lists: dict[str, list[dict[str, Any]]],
) -> None:
    pattern = resolved(text, permissions.scope)
    writes = tuple([operation for operation in grant.operations if operation != "read"])
    if writes and grant.constraints.get("live"):
        directory = _live_directory(grant, pattern, denies, permissions)
        if _landlock_holds(grant, writes, features):
            lists["live"].append({"directory": directory, **_rule(grant, pattern, grant.operations)})
            return
    if "read" in grant.operations:
        lists["read"].append(_rule(grant, pattern, ("read",)))
    if writes:
        lists["staged"].append(_rule(grant, pattern, writes))


def _rule(grant: Grant, pattern: str, operations: tuple[str, ...]) -> dict[str, Any]:
    return {
        "pattern": pattern,
        "operations": [f"{grant.type}.{operation}" for operation in operations],
        "max_file_size": grant.constraints.get("max_file_size"),
        "allow_danger": list(grant.constraints.get("allow_danger", ())),
        "policy": grant.policy,
        "place": str(grant.place),
    }


def _landlock_holds(grant: Grant, writes: tuple[str, ...], features: Features) -> bool:
    """Whether Landlock can tell these operations apart; else the grant is staged, which is exact everywhere."""
    if grant.type == "path" or not _TOGETHER.intersection(writes):
        return features.landlock > 0
    return features.landlock >= _TRUNCATE_ABI or (features.landlock > 0 and set(writes) >= _TOGETHER)


def _live_directory(grant: Grant, pattern: str, denies: list[Grant], permissions: Permissions) -> str:
    directory = whole_directory(pattern)
    if not directory:
        _refuse(grant, f"only a whole directory can be live, not {pattern!r}", "write it like @base/output/**")
    if "append" in grant.operations and "write" not in grant.operations:
        _refuse(grant, f"{directory} is live and append only, for which the kernel has no right", "leave out `live`")
    if "max_file_size" in grant.constraints:
        hint = "leave out `live`, or use limits.max_file_size, which holds for every file"
        _refuse(grant, f"{directory} is live, so nothing judges max_file_size at commit", hint)
    if any(other.type == "socket" for other in permissions.grants):
        # a socket in a tree that is mounted answers, whatever the mount's options are (kernel-facts 5)
        what = f"{directory} is live, and sockets are granted: every Unix socket in it would be reachable"
        _refuse(grant, what, "leave out `live` (staged writes show no sockets), or the grant of the socket")
    for deny in denies:
        if not deny.policy.startswith(DANGER_PREFIX) and _may_fall_inside(deny, directory, permissions):
            # A mask over a live tree is lifted by a rename on the host (kernel-facts 1): no mechanism holds it.
            what = f"{directory} is live, and {deny.policy} ({deny.place}) denies {deny}, which may fall inside it"
            _refuse(grant, what, "leave out `live` (staged writes hold every deny), or move the denied names elsewhere")
    _refuse_dangers(grant, directory, [deny for deny in denies if _may_fall_inside(deny, directory, permissions)])
    return directory


def _refuse_dangers(grant: Grant, directory: str, inside: list[Grant]) -> None:
    """Nothing judges what is written live: what the danger list names must be meant."""
    dangers = [deny for deny in inside if deny.policy.startswith(DANGER_PREFIX) and not meant(grant, deny)]
    names = ", ".join(dict.fromkeys([deny.policy.removeprefix(DANGER_PREFIX) for deny in dangers]))
    if names:
        what = f"{directory} is live, and names of the danger list may fall inside it: {names}"
        _refuse(grant, what, f"write `allow_danger: [{names}]` beside it, or leave out `live`")


def _may_fall_inside(deny: Grant, directory: str, permissions: Permissions) -> bool:
    if not deny.patterns:
        return True
    for text in deny.patterns:
        pattern = PathPattern(str(text), permissions.scope)
        if pattern.matches(directory) or pattern.could_match_below(directory):
            return True
    return False


def _refuse(grant: Grant, message: str, hint: str) -> NoReturn:
    raise DocumentError(message, place=str(grant.place), hint=hint)
