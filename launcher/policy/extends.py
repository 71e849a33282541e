"""`extends`: each policy with what it is built on, so that nobody downstream follows references. Pure."""

from __future__ import annotations

from launcher.canonical import digest
from launcher.capability.grant import did_you_mean
from launcher.errors import DocumentError
from launcher.policy.model import Policy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def expand(policies: Mapping[str, Policy]) -> dict[str, Policy]:
    """Every policy with the rules of those it extends merged in; rules keep the place they stand at.

    Whom an extended policy applies to is not inherited. Raises DocumentError for an unknown handle or a circle.
    """
    return {handle: _expanded(policies[handle], policies) for handle in policies}


def _expanded(policy: Policy, policies: Mapping[str, Policy]) -> Policy:
    if not policy.extends:
        return policy
    chain = _reached(policy, policies)
    limits = policy.limits
    for one in chain[1:]:
        limits = limits.merged(one.limits)
    return Policy(
        policy.handle,
        name=policy.name,
        description=policy.description,
        extends=policy.extends,
        base=_base(policy, policies),
        applies_to=policy.applies_to,
        grants=tuple([grant for one in chain for grant in one.grants]),
        denies=tuple([deny for one in chain for deny in one.denies]),
        limits=limits,
        run_with="declared" if any(one.run_with == "declared" for one in chain) else "granted",
        commit="success" if any(one.commit == "success" for one in chain) else "always",
        place=policy.place,
        digest=digest([one.digest for one in chain]),
    )


def _reached(policy: Policy, policies: Mapping[str, Policy]) -> list[Policy]:
    """The policy and all that it extends, each once, itself first; depth first in the order written."""
    found: dict[str, Policy] = {}
    _visit(policy, policies, found, ())
    return list(found.values())


def _visit(policy: Policy, policies: Mapping[str, Policy], found: dict[str, Policy], way: tuple[str, ...]) -> None:
    if policy.handle in way:
        circle = " extends ".join([*way[way.index(policy.handle) :], policy.handle])
        raise DocumentError(f"policies extend one another in a circle: {circle}", place=str(policy.place))
    if policy.handle in found:
        return
    found[policy.handle] = policy
    for handle in policy.extends:
        if handle not in policies:
            _unknown(policy, handle, policies)
        _visit(policies[handle], policies, found, (*way, policy.handle))


def _unknown(policy: Policy, handle: str, known: Iterable[str]) -> None:
    raise DocumentError(
        f"policy {policy.handle!r} extends {handle!r}, which does not exist",
        hint=did_you_mean(handle, [name for name in known if name != policy.handle]),
        place=str(policy.place),
    )


def _base(policy: Policy, policies: Mapping[str, Policy]) -> str:
    """The policy's own base, else the one that what it extends agrees on."""
    if policy.base:
        return policy.base
    named = {base for handle in policy.extends if (base := _base(policies[handle], policies))}
    if len(named) > 1:
        raise DocumentError(
            f"policy {policy.handle!r} extends policies with different bases: {', '.join(sorted(named))}",
            hint="name one: `base: ...`",
            place=str(policy.place),
        )
    return named.pop() if named else ""
