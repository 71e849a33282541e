"""The danger list in a profile: it binds where a grant could reach it, a grant means an entry by name, and no other."""

from __future__ import annotations

from typing import Any

import pytest

from launcher.capability.permissions import Permissions
from launcher.errors import DocumentError
from tests.compile.hosts import WORKSPACE, compiled, policy

HOME = "/home/alice"


def held(*bodies: str) -> Permissions:
    profile = compiled(*[policy(body) for body in bodies], danger=True)
    return Permissions.from_data(profile.data["permissions"])


def grant(pattern: str, operations: str = "read, write", **rest: Any) -> str:
    more = "".join(f", {key}: {value}" for key, value in rest.items())
    return f"capabilities: {{file: [{{patterns: ['{pattern}'], operations: [{operations}]{more}}}]}}"


@pytest.mark.parametrize(
    ("operation", "path", "allowed"),
    [
        ("read", f"{HOME}/.ssh/id_ed25519", False),
        ("write", f"{HOME}/.ssh/authorized_keys", False),
        ("read", f"{HOME}/.netrc", False),
        ("read", f"{HOME}/.bashrc", True),  # listed for writing alone
        ("write", f"{HOME}/.bashrc", False),
        ("write", f"{HOME}/.bashrc.d", False),
        ("write", f"{HOME}/bashrc", True),
        ("read", f"{HOME}/p/.git/hooks/pre-commit", True),
        ("write", f"{HOME}/p/.git/hooks/pre-commit", False),
        ("write", f"{HOME}/p/.git/hooks/a/b", False),
        ("write", f"{HOME}/p/.git/index", True),
        ("write", f"{HOME}/p/.git/config", False),
        ("write", f"{HOME}/p/.git", False),
        ("write", f"{HOME}/p/.git/modules/a/b/hooks/x", False),
        ("write", f"{HOME}/p/x.git/config", True),
        ("write", f"{HOME}/p/.github/workflows/ci.yml", False),
        ("write", f"{HOME}/p/CLAUDE.md", False),
        ("read", f"{HOME}/p/CLAUDE.md", True),
    ],
)
def test_what_a_grant_of_the_home_does_not_mean(operation: str, path: str, allowed: bool) -> None:
    decision = held(grant("~/**")).decide("file", operation, path)
    assert decision.allowed is allowed
    if not allowed:
        name = decision.deciders[0].policy.removeprefix("danger:")
        assert f"`allow_danger: [{name}]`" in decision.reason
        assert decision.deciders[0].place.file.endswith("danger.yaml")


def test_a_name_on_the_grant_or_on_its_policy_means_it() -> None:
    hook, config = f"{WORKSPACE}/.git/hooks/x", f"{WORKSPACE}/.git/config"
    for body in (grant("@base/**", allow_danger="[git-hooks]"), "allow_danger: [git-hooks]\n" + grant("@base/**")):
        permissions = held(body)
        assert permissions.decide("file", "write", hook).allowed
        assert not permissions.decide("file", "write", config).allowed


def test_one_policy_does_not_mean_it_for_another() -> None:
    permissions = held("allow_danger: [git-hooks]\n" + grant("/srv/hooked/**"), grant("/srv/**"))
    assert permissions.decide("file", "write", "/srv/hooked/.git/hooks/x").allowed
    assert not permissions.decide("file", "write", "/srv/other/.git/hooks/x").allowed


def test_a_grant_that_has_expired_means_nothing() -> None:
    body = (
        "capabilities: {file: [{patterns: ['/a/**'], operations: [write]}, {patterns: ['/a/**'], operations: [write], "
    )
    permissions = held(body + "allow_danger: [ci], expires_at: 2020-01-01T00:00:00Z}]}")
    assert not permissions.decide("file", "write", "/a/Jenkinsfile", now=2e9).allowed


def test_a_deny_of_a_policy_is_not_lifted_by_a_name() -> None:
    permissions = held(grant("@base/**", allow_danger="[git-hooks]") + "\ndeny: ['file.write:**/.git/hooks/**']")
    assert not permissions.decide("file", "write", f"{WORKSPACE}/.git/hooks/x").allowed


def test_what_no_grant_reaches_is_not_in_the_profile() -> None:
    def entries(body: str) -> set[str]:
        return {deny.policy for deny in held(body).denies}

    assert entries("capabilities: {py: true}") == set()
    assert entries(grant("@base/**", "read")) == set()
    assert entries(grant("~/**", "read")) >= {"danger:ssh", "danger:cloud"}
    assert "danger:git-hooks" not in entries(grant("~/**", "read"))
    assert entries(grant("out/*.txt", "write")) == {
        f"danger:{n}" for n in ("git-hooks", "git-config", "agents", "ci", "editors")
    }


def test_the_private_tmp_is_not_the_hosts() -> None:
    assert held(grant("**")).decide("file", "write", "/tmp/clone/.git/config").allowed


def test_a_live_tree_must_mean_all_that_may_fall_inside() -> None:
    """Design section 8: nothing judges what is written there."""
    with pytest.raises(DocumentError, match="git-hooks, git-config, agents, ci, editors") as raised:
        compiled(policy(grant("out/**", live="true")), danger=True)
    assert "allow_danger: [git-hooks, git-config, agents, ci, editors]" in raised.value.hint
    body = grant("out/**", live="true", allow_danger="[git-hooks, git-config, agents, ci, editors]")
    assert compiled(policy(body), danger=True).data["files"]["live"]


def test_explain_names_the_entries() -> None:
    rows = compiled(policy(grant("@base/**")), danger=True).data["mechanisms"]
    assert [row["permission"] for row in rows if "danger" in row["permission"]] == [
        f"not file.danger:{name}" for name in ("git-hooks", "git-config", "agents", "ci", "editors")
    ]
