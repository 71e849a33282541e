"""What the job holds: the policies' grants and the base profile's, narrowed to its declaration where that counts."""

from __future__ import annotations

from launcher.capability.kinds import KINDS, PATH
from launcher.capability.paths import PathPattern
from launcher.capability.permissions import Permissions
from launcher.compile.danger import danger_denies
from launcher.errors import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from launcher.capability.grant import Grant
    from launcher.capability.scope import Scope
    from launcher.compile.base import BaseProfile
    from launcher.compile.options import Options
    from launcher.policy.merge import Merged


def granted(merged: Merged, base: BaseProfile, options: Options) -> Permissions:
    """Everything that is granted to the user for this launch, without the base profile's view.

    It is what a declaration is compared with. Grants that have expired at `options.now` are left out.
    """
    source = merged.permissions
    grants = [grant for grant in (*source.grants, *base.grants) if _in_time(grant, options.now)]
    limits = source.limits.merged(merged.limits).merged(base.limits).merged(options.limits)
    danger = danger_denies(base.danger, grants, source.scope)
    return Permissions(grants, (*source.denies, *base.denies, *danger), limits, source.scope)


def run_with(merged: Merged, base: BaseProfile) -> str:
    """`declared` when a policy or the base profile says so."""
    return "declared" if "declared" in (merged.run_with, base.data["run_with"]) else "granted"


def held(everything: Permissions, mode: str, declared: Sequence[Grant] | None) -> Permissions:
    """What the job runs with: all of it, or with `declared` no more than its declaration.

    Raises RefusedError when the declaration asks for what is not granted.
    """
    if mode != "declared":
        return everything
    needs = tuple(declared or ())
    refuse_shortfalls(everything, needs)
    narrowed = [grant for need in needs for grant in _narrowed(everything, need)]
    return Permissions(_unique(narrowed), everything.denies, everything.limits, everything.scope)


def refuse_shortfalls(everything: Permissions, needs: Sequence[Grant]) -> None:
    """Raises RefusedError, with an example each, unless `needs` are within what is granted."""
    found = everything.shortfalls(needs) if needs else []
    if found:
        lines = "; ".join([f"{gap} (for example {gap.example})" if gap.example else str(gap) for gap in found])
        raise RefusedError(
            f"the job declares what is not granted: {lines}",
            place=str(found[0].need.place),
            hint="an administrator can grant it, or the declaration can be narrowed",
        )


def _narrowed(everything: Permissions, need: Grant) -> list[Grant]:
    """`need` with the constraints of the grants that it is within, so that declaring never removes a constraint."""
    kin = [grant for grant in everything.grants if grant.type == need.type]
    if not need.patterns:  # "some of it": what is granted of the type
        return [_with(grant, shared, grant.patterns, {}) for grant in kin if (shared := _shared(grant, need))]
    return [
        narrowed
        for operation in need.operations
        for pattern in need.patterns
        for narrowed in _one(everything, need, operation, pattern, [g for g in kin if operation in g.operations])
    ]


def _one(everything: Permissions, need: Grant, operation: str, pattern: Any, kin: list[Grant]) -> list[Grant]:
    wish = _with(need, (operation,), (pattern,), {})
    covering = [grant for grant in kin if _within(everything, wish, grant)]
    if covering:
        return [_with(grant, (operation,), (pattern,), need.constraints) for grant in covering]
    # Only the union of several grants covers it: all of their constraints then bind, which is the safe side.
    strictest: dict[str, Any] = {}
    for grant in kin:
        strictest = stricter(strictest, grant.constraints)
    return [_with(grant, (operation,), (pattern,), strictest) for grant in kin[:1]]


def _within(everything: Permissions, need: Grant, grant: Grant) -> bool:
    return not Permissions([grant], (), everything.limits, everything.scope).shortfalls([need])


def _shared(grant: Grant, need: Grant) -> tuple[str, ...]:
    return tuple([operation for operation in grant.operations if operation in need.operations])


def _with(grant: Grant, operations: tuple[str, ...], patterns: tuple[Any, ...], constraints: dict[str, Any]) -> Grant:
    # What a need leaves out accepts the grant's; what it says can only narrow.
    accepted = {name: value for name, value in grant.constraints.items() if name in _RELAXING}
    merged = stricter(grant.constraints, {**accepted, **constraints})
    return type(grant)(grant.type, operations, patterns, merged, grant.policy, grant.place)


# Constraints that give more than there is without them: they hold only where both sides have them.
_RELAXING = frozenset(("allow_private", "allow_loopback", "live", "inject", "uses", "allow_danger"))
_WORDS = {"tls": "intercept", "commit": "success"}


def stricter(left: dict[str, Any], right: dict[str, Any]) -> dict[str, Any]:
    """Two sets of constraints that both bind. What is absent restricts nothing, and relaxes nothing either."""
    both = set(left) & set(right)
    result = {name: value for name, value in {**left, **right}.items() if name in both or name not in _RELAXING}
    for name in both:
        result[name] = _stricter_value(name, left[name], right[name])
    return {name: value for name, value in result.items() if value is not None}


def _stricter_value(name: str, left: Any, right: Any) -> Any:
    if isinstance(left, bool) or isinstance(right, bool):
        return bool(left and right)
    if left == right:
        return left
    if isinstance(left, (int, float)) and isinstance(right, (int, float)):
        return min(left, right)
    if isinstance(left, list) and isinstance(right, list):
        return [item for item in left if item in right]
    if name == "rate":
        return min(left, right, key=lambda rate: (rate["count"] / rate["seconds"], rate["count"]))
    return _WORDS.get(name, None if name in _RELAXING else left)  # two things to inject: neither holds


def _in_time(grant: Grant, now: int | None) -> bool:
    expires = grant.constraints.get("expires_at")
    return expires is None or (now is not None and now < expires)


def _unique(grants: list[Grant]) -> list[Grant]:
    kept: list[Grant] = []
    for grant in grants:
        if grant not in kept:
            kept.append(grant)
    return kept


def directories(grants: Iterable[Grant], scope: Scope) -> list[str]:
    """The literal directories under which files are granted: they exist in the sandbox."""
    return [
        found.prefix
        for grant in grants
        if KINDS[grant.type].pattern == PATH
        for pattern in grant.patterns
        if (found := PathPattern(str(pattern), scope)).anchored
    ]
