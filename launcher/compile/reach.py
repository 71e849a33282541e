"""What the job reaches besides files and programs: network, environment, secrets, devices, sockets."""

from __future__ import annotations

from launcher.capability.names import NamePattern
from launcher.compile.patterns import resolved
from launcher.errors import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from launcher.capability.grant import Grant
    from launcher.capability.permissions import Permissions
    from launcher.compile.base import BaseProfile
    from launcher.identity.user import User

_EGRESS = ("network", "database")
_LOOPBACK = "loopback"
_WHOLE = {"network": "*", "keychain": "**", "env": "**", "device": "/**", "socket": "/**"}


def network(permissions: Permissions, base: BaseProfile) -> dict[str, Any]:
    """The profile's `network`. Loopback is the job's own; the base profile or a grant gives it, a deny takes it."""
    granted = base.data["network"]["loopback"] or permissions.holds("network", _LOOPBACK)
    refused = any(rule.type == "network" and _LOOPBACK in rule.operations for rule in permissions.denies)
    return {
        "loopback": bool(granted and not refused),
        "egress": [row for grant in permissions.grants if (row := _egress(grant)) and row["patterns"]],
        "denied": [row for deny in permissions.denies if (row := _egress(deny))],
    }


def _egress(rule: Grant) -> dict[str, Any] | None:
    operations = [operation for operation in rule.operations if operation != _LOOPBACK]
    if rule.type not in _EGRESS or not operations:
        return None
    return {
        "type": rule.type,
        "operations": operations,
        "patterns": [str(pattern) for pattern in rule.patterns],
        "constraints": rule.constraints,
        "policy": rule.policy,
        "place": str(rule.place),
    }


def environment(permissions: Permissions, base: BaseProfile, user: User, asked: Sequence[str]) -> dict[str, Any]:
    """The profile's `environment`: names only, but for what the base profile sets and who the user is.

    Raises RefusedError when a name of `asked` (--env) is neither granted nor passed by the base profile.
    """
    fixed = {"HOME": user.home, "USER": user.name, "LOGNAME": user.name, **base.data["environment"]["set"]}
    granted = [str(p) for grant in permissions.grants if grant.type == "env" for p in grant.patterns]
    denied = [text for deny in permissions.denies if deny.type == "env" for text in _texts(deny)]
    passed = list(dict.fromkeys([*base.data["environment"]["pass"], *granted]))
    for name in asked:
        if not _any(passed, name) or _any(denied, name):
            hint = f"an administrator can grant it: env: [{name}]"
            raise RefusedError(f"the environment variable {name} is not granted", hint=hint)
    return {"set": fixed, "pass": passed, "denied": list(dict.fromkeys(denied))}


def _texts(rule: Grant) -> list[str]:
    return [str(pattern) for pattern in rule.patterns] or [_WHOLE[rule.type]]


def _any(patterns: list[str], name: str) -> bool:
    return any(NamePattern(pattern).matches(name) for pattern in patterns)


def names(permissions: Permissions, kind: str) -> list[dict[str, Any]]:
    """The granted names or paths of `keychain`, `device` or `socket`; none where a deny takes the whole type.

    Denies finer than that are in `permissions`, which each name is judged with before it is handed over or mounted.
    """
    if any(deny.type == kind and _WHOLE[kind] in _spelled(deny, permissions) for deny in permissions.denies):
        return []
    return [
        {"pattern": text, "policy": grant.policy, "place": str(grant.place)}
        for grant in permissions.grants
        if grant.type == kind
        for text in _spelled(grant, permissions)
    ]


def _spelled(rule: Grant, permissions: Permissions) -> list[str]:
    if rule.type in {"device", "socket"}:
        return [resolved(text, permissions.scope) for text in _texts(rule)]
    return _texts(rule)
