"""What a job holds: with `declared`, its declaration is the ceiling and never loosens a grant's constraints."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.capability.permissions import Permissions
from launcher.compile.effective import stricter
from launcher.errors import RefusedError
from tests.compile.hosts import WORKSPACE, compiled, needs, policy

GRANTED = """
run_with: declared
capabilities:
  file:
    - {patterns: ["data/**"], operations: [read, write], max_file_size: 1MiB}
    - {patterns: ["tmp/**"], operations: [read, write]}
  network: [{hosts: ["*.example.com"], operations: [https], methods: [GET, POST]}]
  cmd: [git]
  sh: [bash]
deny: ["file.write:data/keep"]
"""


def held(declared: str | None, body: str = GRANTED) -> dict[str, Any]:
    given_needs = None if declared is None else needs(declared)
    return compiled(policy(body), declared=given_needs).data


def allows(data: dict[str, Any], kind: str, operation: str, resource: Any, **context: Any) -> bool:
    return Permissions.from_data(data["permissions"]).decide(kind, operation, resource, **context).allowed


def test_without_a_declaration_nothing_is_held() -> None:
    for declared in (None, ""):
        data = held(declared)
        assert data["files"]["read"] == data["files"]["staged"] == data["network"]["egress"] == []
        assert data["commands"]["mode"] == "none"
        assert data["run_with"] == "declared"


def test_only_what_is_declared_is_held() -> None:
    data = held("capabilities: {file: [{patterns: ['data/a.csv'], operations: [read]}]}")
    assert allows(data, "file", "read", f"{WORKSPACE}/data/a.csv")
    assert not allows(data, "file", "write", f"{WORKSPACE}/data/a.csv")
    assert not allows(data, "file", "read", f"{WORKSPACE}/data/b.csv")
    assert not allows(data, "cmd", "execute", ["git"])
    assert [rule["pattern"] for rule in data["files"]["read"]] == ["/work/alice/data/a.csv"]


def test_the_place_is_that_of_the_grant() -> None:
    (rule,) = held("capabilities: {file: [{patterns: ['tmp/x'], operations: [read]}]}")["files"]["read"]
    assert rule["place"].startswith("p0.yaml:7:")
    assert rule["policy"] == "p0"


def test_declaring_does_not_remove_a_constraint() -> None:
    data = held("capabilities: {file: [{patterns: ['data/big'], operations: [write]}]}")
    assert data["files"]["staged"][0]["max_file_size"] == 1 << 20
    data = held("capabilities: {file: [{patterns: ['data/big'], operations: [write], max_file_size: 5}]}")
    assert data["files"]["staged"][0]["max_file_size"] == 5
    data = held("capabilities: {network: [{hosts: [a.example.com], operations: [https]}]}")
    assert data["network"]["egress"][0]["constraints"]["methods"] == ["GET", "POST"]


def test_a_deny_stays() -> None:
    with pytest.raises(RefusedError):
        held("capabilities: {file: [{patterns: ['data/**'], operations: [write]}]}")
    data = held("capabilities: {file: [{patterns: ['data/**'], operations: [read]}]}")
    assert not allows(data, "file", "write", f"{WORKSPACE}/data/keep")


def test_a_need_that_only_the_union_covers_gets_the_strictest_constraints() -> None:
    body = """
run_with: declared
capabilities:
  file:
    - {patterns: ["d/[a-m]*"], operations: [write], max_file_size: 7}
    - {patterns: ["d/[!a-m]*"], operations: [write], max_file_size: 9}
"""
    (rule,) = held("capabilities: {file: [{patterns: ['d/*'], operations: [write]}]}", body)["files"]["staged"]
    assert (rule["pattern"], rule["max_file_size"]) == ("/work/alice/d/*", 7)


def test_a_boolean_need_is_what_is_granted_of_the_type() -> None:
    data = held("capabilities: {sh: true}")
    assert [rule["pattern"] for rule in data["commands"]["rules"]] == ["bash"]
    assert data["commands"]["sh"] is False


@pytest.mark.parametrize(
    "declared",
    [
        "capabilities: {file: [{patterns: ['data/../../x'], operations: [read]}]}".replace("../..", "sub"),
        "capabilities: {cmd: [git status]}",
        "capabilities: {network: [{hosts: [a.example.com], operations: [https]}]}",
    ],
)
def test_what_is_within_is_accepted(declared: str) -> None:
    assert held(declared)


@pytest.mark.parametrize(
    ("declared", "says"),
    [
        ("capabilities: {file: [{patterns: ['/etc/shadow'], operations: [read]}]}", "/etc/shadow"),
        ("capabilities: {file: [{patterns: ['data/**'], operations: [delete]}]}", "delete"),
        ("capabilities: {cmd: [curl]}", "curl"),
    ],
)
def test_what_is_not_within_is_refused_with_its_place(declared: str, says: str) -> None:
    with pytest.raises(RefusedError, match=says) as caught:
        held(declared)
    assert caught.value.place.startswith("job:")
    assert caught.value.status == 126


CONSTRAINTS = st.fixed_dictionaries(
    {},
    optional={
        "max_file_size": st.integers(0, 9),
        "expires_at": st.integers(0, 9),
        "methods": st.lists(st.sampled_from(["GET", "PUT", "POST"]), unique=True).map(sorted),
        "allow_private": st.booleans(),
        "tls": st.sampled_from(["intercept", "tunnel"]),
        "commit": st.sampled_from(["always", "success"]),
        "rate": st.builds(
            lambda count, seconds: {"count": count, "seconds": seconds}, st.integers(1, 5), st.sampled_from([1, 60])
        ),
    },
)


@given(CONSTRAINTS, CONSTRAINTS, CONSTRAINTS)
def test_strictness_is_a_meet(a: dict[str, Any], b: dict[str, Any], c: dict[str, Any]) -> None:
    assert stricter(a, a) == a
    assert stricter(a, b) == stricter(b, a)
    assert stricter(a, stricter(b, c)) == stricter(stricter(a, b), c)


def test_what_a_relaxing_word_needs() -> None:
    # Absent means not allowed for these: one side alone cannot bring them in.
    assert not stricter({"allow_private": True}, {}).get("allow_private")
    assert not stricter({}, {"live": True}).get("live")
    assert "inject" not in stricter({"inject": {"header": "a"}}, {"inject": {"header": "b"}})
    assert stricter({"uses": ["ssh", "less"]}, {"uses": ["ssh", "vi"]}) == {"uses": ["ssh"]}


def test_a_need_can_neither_drop_nor_bring_in_a_relaxation() -> None:
    body = """
run_with: declared
capabilities:
  file: [{patterns: ["out/**"], operations: [write], live: true}, {patterns: ["kept/**"], operations: [write]}]
"""
    data = held("capabilities: {file: [{patterns: ['out/**'], operations: [write]}]}", body)
    assert len(data["files"]["live"]) == 1
    with pytest.raises(RefusedError, match="live"):
        held("capabilities: {file: [{patterns: ['kept/**'], operations: [write], live: true}]}", body)
