"""Several policies as one set of permissions (design section 5, "Composition"). Pure, and on the launch path."""

from __future__ import annotations

from launcher.capability.limits import Limits
from launcher.capability.permissions import Permissions
from launcher.errors import ConfigurationError, RefusedError
from launcher.policy.model import DEFAULT_BASE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from launcher.capability.grant import Grant
    from launcher.capability.scope import Scope
    from launcher.policy.model import Policy


class Merged:
    """What all policies that apply say together. `base` is the handle of the base profile."""

    __slots__ = ("base", "commit", "limits", "permissions", "policies", "run_with")

    def __init__(
        self,
        permissions: Permissions,
        *,
        base: str,
        run_with: str,
        commit: str,
        limits: Limits,
        policies: tuple[Policy, ...],
    ) -> None:
        self.permissions = permissions
        self.base = base
        self.run_with = run_with
        self.commit = commit
        self.limits = limits
        self.policies = policies


def merge(
    policies: Sequence[Policy],
    scope: Scope,
    *,
    base: Mapping[str, Any] | None = None,
    ceilings: Limits | None = None,
    now: float | None = None,
) -> Merged:
    """The union of the grants and of the denies, and the most restrictive of everything else.

    `base` is the data of the base profile, whose `run_with` and `commit` count like a policy's; its grants and its
    default limits are added by `compile`. `ceilings` are the configuration's limits. Grants that expired before `now`
    (seconds since the epoch) are left out; a deny never expires.

    Raises RefusedError when no policy applies (an empty policy is another matter: it grants nothing and may run), and
    ConfigurationError when the policies name different base profiles.
    """
    if not policies:
        raise RefusedError(
            "no policy applies to this user", hint="an administrator can run: mlsandbox admin grant POLICY --user NAME"
        )
    handle = base_handle(policies)
    words: list[Any] = [*policies] if base is None else [*policies, _Base(base)]
    grants = _unique([grant for policy in policies for grant in policy.grants if not _expired(grant, now)])
    denies = _unique([deny for policy in policies for deny in policy.denies])
    limits = _least([policy.limits for policy in policies], ceilings)
    return Merged(
        Permissions(grants, denies, limits, scope),
        base=handle,
        run_with="declared" if any(word.run_with == "declared" for word in words) else "granted",
        commit="success" if any(word.commit == "success" for word in words) else "always",
        limits=limits,
        policies=tuple(policies),
    )


class _Base:
    __slots__ = ("commit", "run_with")

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.run_with = data.get("run_with", "granted")
        self.commit = data.get("commit", "always")


def base_handle(policies: Sequence[Policy]) -> str:
    """The base profile that the policies agree on; one that names none takes no part. Raises ConfigurationError.

    Two bases have no most restrictive: each has its own view, so neither is chosen for the administrator.
    """
    named = {policy.base: policy for policy in policies if policy.base}
    if len(named) > 1:
        said = ", ".join([f"{policy.handle} says {base}" for base, policy in sorted(named.items())])
        raise ConfigurationError(
            f"the policies that apply name different base profiles: {said}",
            hint="let them agree, or revoke one of them from this user",
            place=str(next(iter(named.values())).place),
        )
    return next(iter(named), DEFAULT_BASE)


def _least(found: Iterable[Limits], ceilings: Limits | None) -> Limits:
    limits = ceilings or Limits()
    for one in found:
        limits = limits.merged(one)
    return limits


def _unique(rules: list[Grant]) -> list[Grant]:
    """Each rule once: two policies that extend a third both carry its rules."""
    seen: set[str] = set()
    kept = []
    for rule in rules:
        data = repr(rule.to_data())
        if data not in seen:
            seen.add(data)
            kept.append(rule)
    return kept


def _expired(grant: Grant, now: float | None) -> bool:
    moment = grant.constraints.get("expires_at")
    return moment is not None and now is not None and moment <= now
