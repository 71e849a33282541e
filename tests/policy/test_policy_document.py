"""Policy documents: every key, and the place of every wrong one."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.errors import DocumentError
from launcher.policy.model import Policy
from launcher.policy.policy_document import POLICY_KEYS, handle_of, read_policy, valid_handle

WHOLE = """\
policy:
  name: Everything
  description: |
    Two lines
    of text
  extends: [a, b, a]
  base: batch
  applies_to: {users: [alice], groups: [team], roles: [dev]}
  capabilities: ["file.read:/x"]
  allow: {js: true}
  deny: [sh]
  allow_danger: [git-hooks]
  limits: {max_memory: 2GiB, max_cpu_time: 1h, cpus: 0.5, max_processes: 64}
  run_with: declared
  commit: success
"""


def test_every_key_arrives() -> None:
    policy = read_policy(WHOLE.encode(), "/p/everything.yaml", "everything")
    assert (policy.handle, policy.name, policy.base, policy.extends) == (
        "everything",
        "Everything",
        "batch",
        ("a", "b"),
    )
    assert policy.applies_to.to_data() == {"users": ["alice"], "groups": ["team"], "roles": ["dev"]}
    assert [str(grant) for grant in policy.grants] == ["file.read /x", "js.execute"]
    assert [str(deny) for deny in policy.denies] == ["sh.execute"]
    assert policy.limits.to_data() == {"max_memory": 2 << 30, "max_cpu_time": 3600, "max_processes": 64, "cpus": 500}
    assert (policy.run_with, policy.commit) == ("declared", "success")
    assert [str(grant.place) for grant in policy.grants] == ["/p/everything.yaml:9:18", "/p/everything.yaml:10:15"]
    assert all(key in WHOLE for key in POLICY_KEYS)
    assert Policy.from_data(policy.to_data()) == policy


def test_the_digest_is_of_the_bytes_that_were_read() -> None:
    one = read_policy(b"policy: {}\n", "p", "p")
    two = read_policy(b"policy: {} # changed\n", "p", "p")
    assert one.digest != two.digest
    assert one.digest.startswith("sha256:")


def test_an_empty_policy_grants_nothing() -> None:
    for text in ("policy: {}", "policy: {capabilities: {}}", "policy: {capabilities: []}", "policy: {allow: {}}"):
        policy = read_policy(text.encode(), "p.yaml", "p")
        assert (policy.grants, policy.denies) == ((), ())


REFUSED = [
    ("polcy: {}", 1, 1, "'polcy'", "'policy'"),
    ("policy: {}\nextra: 1", 2, 1, "'extra'", ""),
    ("{}", 1, 1, "no `policy:`", ""),
    ("[]", 1, 1, "must be a mapping", ""),
    ("policy:", 1, 8, "must be a mapping", ""),
    ("policy: {aplies_to: {}}", 1, 10, "'aplies_to'", "'applies_to'"),
    ("policy: {applies_to: {user: [a]}}", 1, 23, "'user'", "'users'"),
    ("policy: {applies_to: {users: alice}}", 1, 30, "must be a list", ""),
    ("policy: {applies_to: {users: [1000]}}", 1, 31, "must be text", "quotes"),
    ("policy: {applies_to: {users: ['*']}}", 1, 31, "no wildcards", "group"),
    ("policy: {extends: ['../x']}", 1, 20, "not a handle", ""),
    ("policy: {base: a/b}", 1, 16, "not a handle", ""),
    ("policy: {run_with: declard}", 1, 20, "'declard'", "'declared'"),
    ("policy: {commit: never}", 1, 18, "'never'", ""),
    ("policy: {limits: {max_memry: 1}}", 1, 19, "'max_memry'", "'max_memory'"),
    ("policy: {limits: {max_memory: 10 Megabytes}}", 1, 31, "10 Megabytes", "10MiB"),
    ("policy: {limits: {max_memory: 1}}", 1, 31, "out of range", ""),
    ("policy: {limits: {max_cpu_time: 1 fortnight}}", 1, 33, "fortnight", "1h"),
    ("policy: {limits: {max_open_files: 99999999}}", 1, 35, "out of range", ""),
    ("policy: {limits: {cpus: true}}", 1, 25, "number", ""),
    ("policy: {limits: {max_memory: [1]}}", 1, 31, "number", ""),
    ('policy: {name: "a\\e]0;x"}', 1, 16, "control character", ""),
    ('policy: {allow: {cmd: ["a\\0b"]}}', 1, 24, "NUL", ""),
    ("policy: {name: ''}", 1, 16, "empty", ""),
]


@pytest.mark.parametrize(("text", "line", "column", "message", "hint"), REFUSED)
def test_a_wrong_key_or_value_is_an_error_at_its_place(
    text: str, line: int, column: int, message: str, hint: str
) -> None:
    with pytest.raises(DocumentError) as caught:
        read_policy(text.encode(), "p.yaml", "p")
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert caught.value.place == f"p.yaml:{line}:{column}"


@pytest.mark.parametrize(
    ("name", "handle"),
    [
        ("data_scientist.yaml", "data_scientist"),
        ("a.b.yml", "a.b"),
        ("x.json", "x"),
        (".hidden.yaml", ""),
        ("-e.yaml", ""),
        ("a b.yaml", ""),
        ("x.yaml~", ""),
        ("x.txt", ""),
        (".yaml", ""),
        ("x" * 70 + ".yaml", ""),
        ("x\n.yaml", ""),
    ],
)
def test_handles_are_stems_that_can_go_anywhere(name: str, handle: str) -> None:
    assert handle_of(name) == handle
    assert valid_handle(handle) is bool(handle)


WORDS = st.sampled_from(
    [
        "policy",
        "name",
        "capabilities",
        "file",
        "patterns",
        "operations",
        "read",
        "/x/**",
        "network",
        "hosts",
        "a.org",
        "cmd",
        "git:*",
        "deny",
        "limits",
        "max_memory",
        "1GiB",
        "true",
        "allow",
        "sh",
        "applies_to",
        "users",
        "alice",
        "!sh",
        "file.read:/x",
    ]
)
TREES = st.recursive(
    WORDS | st.booleans() | st.none() | st.integers(-5, 10**6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=12,
)


@given(TREES)
@settings(max_examples=300, deadline=None)
def test_any_tree_of_the_right_words_is_a_policy_or_a_document_error(tree: object) -> None:
    import json

    try:
        policy = read_policy(json.dumps({"policy": tree}).encode(), "p.yaml", "p")
    except DocumentError as error:
        assert error.place.startswith("p.yaml:")
    else:
        assert Policy.from_data(policy.to_data()) == policy


def test_what_a_policy_means_of_the_danger_list_is_on_its_grants_of_files() -> None:
    text = b"""policy:
  allow_danger: [ci]
  capabilities:
    file: [{patterns: [a], operations: [write], allow_danger: [git-hooks]}, {patterns: [b], operations: [read]}]
    py: true
"""
    grants = read_policy(text, "p", "p").grants
    assert [grant.constraints for grant in grants] == [
        {"allow_danger": ["git-hooks", "ci"]},
        {"allow_danger": ["ci"]},
        {},
    ]
