"""Composition: union, deny wins, the most restrictive of everything else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.capability.limits import Limits
from launcher.capability.scope import Scope
from launcher.errors import ConfigurationError, RefusedError
from launcher.policy.merge import merge
from launcher.policy.model import Policy
from launcher.policy.policy_document import read_policy

SCOPE = Scope("/home/alice", "/work")


def policy(text: str, handle: str = "p") -> Policy:
    """A policy given as the members of its document."""
    return read_policy(f"policy: {{{text}}}".encode(), f"{handle}.yaml", handle)


def may(policies: list[Policy], path: str) -> bool:
    """Whether the policies together let a job read `path`."""
    return merge(policies, SCOPE).permissions.decide("file", "read", path).allowed


def test_no_policy_is_refused_and_an_empty_one_is_not() -> None:
    with pytest.raises(RefusedError, match="no policy applies"):
        merge([], SCOPE)
    merged = merge([policy("")], SCOPE)
    assert not merged.permissions.holds("file", "read")
    assert not may([policy("capabilities: []")], "/work/x")


def test_allows_are_a_union_and_deny_wins_from_any_policy() -> None:
    one = policy("capabilities: ['file.read:/a/**']", "one")
    two = policy("capabilities: ['file.read:/b/**']", "two")
    deny = policy("deny: ['file.read:/a/secret/**']", "deny")
    assert may([one, two], "/a/x")
    assert may([one, two], "/b/x")
    for order in ([one, deny], [deny, one]):
        assert may(order, "/a/x")
        assert not may(order, "/a/secret/x")


def test_a_policy_that_only_denies_is_neutral_beside_others_and_grants_nothing_alone() -> None:
    deny = policy("deny: [sh]")
    assert not may([deny], "/work/x")
    assert may([deny, policy("capabilities: ['file.read']", "other")], "/work/x")


def test_run_with_and_commit_take_the_stricter_word_from_policy_or_base() -> None:
    plain = policy("")
    assert (merge([plain], SCOPE).run_with, merge([plain], SCOPE).commit) == ("granted", "always")
    strict = merge([plain, policy("run_with: declared, commit: success", "strict")], SCOPE)
    assert (strict.run_with, strict.commit) == ("declared", "success")
    based = merge([plain], SCOPE, base={"run_with": "declared", "commit": "success"})
    assert (based.run_with, based.commit) == ("declared", "success")


def test_policies_must_agree_on_a_base() -> None:
    none, batch, ci = policy(""), policy("base: batch", "batch"), policy("base: ci-untrusted", "ci")
    assert merge([none], SCOPE).base == "default"
    assert merge([none, batch], SCOPE).base == "batch"
    with pytest.raises(ConfigurationError, match="batch says batch, ci says ci-untrusted"):
        merge([batch, ci], SCOPE)


def test_an_expired_grant_is_left_out_and_a_shared_rule_stands_once() -> None:
    timed = policy("capabilities: {env: [{patterns: [A], expires_at: 2030-01-01}]}")
    moment = 1893456000
    assert len(merge([timed], SCOPE, now=moment - 1).permissions.grants) == 1
    assert merge([timed], SCOPE, now=moment).permissions.grants == ()
    assert len(merge([timed, timed], SCOPE).permissions.grants) == 1


LIMITS = st.builds(lambda memory, jobs: Limits(max_memory=memory, max_jobs=jobs), *[st.none() | st.integers(0, 9)] * 2)


@given(st.lists(LIMITS, min_size=1, max_size=4), LIMITS)
def test_limits_are_the_least_of_all_that_are_set(found: list[Limits], ceiling: Limits) -> None:
    policies = [Policy(f"p{number}", limits=limits) for number, limits in enumerate(found)]
    merged = merge(policies, SCOPE, ceilings=ceiling).limits
    for name in ("max_memory", "max_jobs"):
        values = [value for one in [*found, ceiling] if (value := getattr(one, name)) is not None]
        assert getattr(merged, name) == min(values, default=None)
