"""All but some trees: exact, against brute force."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from launcher.capability.paths import PathPattern
from launcher.capability.scope import Scope
from launcher.compile.outside import everywhere_but, other_names
from tests.compile.hosts import base, compiled, policy

SCOPE = Scope("/h", "/w")
NAME = st.text(st.sampled_from("ab.*[]!-\\?é"), min_size=1, max_size=3).filter(lambda name: name not in {".", ".."})
PATH = st.lists(NAME, min_size=1, max_size=3).map("/".join)


def within(path: str, tree: str) -> bool:
    return path == tree or path.startswith(tree + "/")


@given(st.sets(PATH, max_size=4), st.lists(PATH, max_size=8))
def test_it_matches_exactly_what_is_in_no_tree_and_leads_to_none(trees: set[str], others: list[str]) -> None:
    left_out = [f"/tmp/{tree}" for tree in trees]
    patterns = [PathPattern(text, SCOPE) for text in everywhere_but("/tmp", left_out)]
    nearby = [f"{tree}{end}" for tree in trees for end in ("", "x", "/x", "/x/y")]
    beginnings = [tree[:length] for tree in trees for length in range(1, len(tree))]
    for path in {f"/tmp/{name}" for name in [*others, *nearby, *beginnings] if not name.endswith(("/", "/.", "/.."))}:
        if {".", ".."} & set(path.split("/")):
            continue
        expected = not any(within(path, tree) or within(tree, path) for tree in left_out)
        assert any(pattern.matches(path) for pattern in patterns) is expected, path
    assert not any(pattern.matches(path) for pattern in patterns for path in ("/tmp", "/", "/tm", "/tmpx"))


def test_no_name_is_lost_by_brute_force() -> None:
    known = {"ab", "abc", "b", "aab"}
    patterns = [PathPattern(f"/{glob}", SCOPE) for glob in other_names(known)]
    for length in range(1, 5):
        for letters in itertools.product("abc", repeat=length):
            name = "".join(letters)
            assert any(pattern.matches(f"/{name}") for pattern in patterns) is (name not in known), name


def test_without_trees_it_is_the_directory() -> None:
    assert everywhere_but("/tmp", []) == ["/tmp/**"]


def test_a_workspace_below_tmp_is_not_granted_by_the_private_tmp() -> None:
    from launcher.capability.permissions import Permissions
    from launcher.compile.compiler import compile_profile
    from launcher.compile.options import Options
    from tests.compile.hosts import ALICE, NEWEST, merged

    document = policy("capabilities: {file: [{patterns: ['data/*', '/tmp/given/**'], operations: [read]}]}")
    made = compile_profile(
        merged(document, workspace="/tmp/work/job"), ALICE, base("default"), NEWEST, Options("/tmp/work/job")
    )
    held = Permissions.from_data(made.data["permissions"])
    for path, allowed in [
        ("/tmp/work/job/data/a", True),
        ("/tmp/work/job/secret/passwords.txt", False),
        ("/tmp/work/other", True),  # the job's own, private /tmp
        ("/tmp/x", True),
        ("/tmp/given/a", True),
    ]:
        assert held.decide("file", "read", path).allowed is allowed, path
    assert not held.decide("file", "write", "/tmp/given/a").allowed
    assert held.decide("path", "read", "/tmp/work/job").allowed


def test_elsewhere_the_view_stays_small() -> None:
    grants = compiled(policy("")).data["permissions"]["grants"]
    assert ["/tmp/**", "/var/tmp/**", "/dev/shm/**"] in [grant["patterns"] for grant in grants]
