"""What an administrator does, on real files and a real database."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from launcher.errors import DocumentError, UsageError
from launcher.identity.user import User
from launcher.policy import admin, cache
from launcher.policy.paths import Locations

ROOT = User("root", uid=0)
ALICE = User("alice", groups=("team",))
EXAMPLE = Path(__file__).parents[2] / "examples" / "policies" / "data_scientist.yaml"


@pytest.fixture
def locations(tmp_path: Path) -> Locations:
    """Nothing yet."""
    return Locations.below(str(tmp_path / "root"))


def source(tmp_path: Path, text: str, name: str = "p.yaml") -> str:
    """A document to install, given as the members of the policy."""
    path = tmp_path / name
    path.write_text(f"policy: {{{text}}}\n")
    return str(path)


def test_the_story_of_the_first_seed(locations: Locations) -> None:
    """`admin policy create`, `admin grant`, and alice holds it; carol does not."""
    assert admin.create(locations, str(EXAMPLE)).handle == "data_scientist"
    admin.grant(locations, "data_scientist", "user", "dora", by=ROOT)
    found = {name: [p.handle for p in cache.load_for(locations, User(name), 0)] for name in ("alice", "dora", "carol")}
    assert found == {"alice": ["data_scientist"], "dora": ["data_scientist"], "carol": []}
    admin.revoke(locations, "data_scientist", "user", "alice", by=ROOT)
    assert cache.load_for(locations, User("alice"), 0) == []


def test_an_installed_policy_is_the_file_byte_by_byte_and_not_writable_by_others(locations: Locations) -> None:
    before = os.umask(0)
    try:
        admin.create(locations, str(EXAMPLE))
    finally:
        os.umask(before)
    installed = Path(locations.policies, "data_scientist.yaml")
    assert installed.read_bytes() == EXAMPLE.read_bytes()
    assert installed.stat().st_mode & 0o777 == 0o644
    assert os.listdir(locations.policies) == ["data_scientist.yaml"]


def test_a_wrong_policy_is_not_installed(locations: Locations, tmp_path: Path) -> None:
    for text, error in (
        ("capabilties: []", DocumentError),
        ("extends: [nobody]", DocumentError),
        ("base: x", DocumentError),
    ):
        with pytest.raises(error):
            admin.create(locations, source(tmp_path, text))
    assert not os.path.exists(locations.policies)


def test_a_replacement_that_would_break_others_is_not_installed(locations: Locations, tmp_path: Path) -> None:
    admin.create(locations, source(tmp_path, "", "a.yaml"))
    admin.create(locations, source(tmp_path, "extends: [a]", "b.yaml"))
    with pytest.raises(UsageError, match="already"):
        admin.create(locations, source(tmp_path, "", "a.yaml"))
    with pytest.raises(DocumentError, match="circle"):
        admin.create(locations, source(tmp_path, "extends: [b]", "a.yaml"), replace=True)
    admin.create(locations, source(tmp_path, "capabilities: [js]", "a.yaml"), replace=True)
    assert len(admin.show(locations, "b")[0].grants) == 1


def test_a_replacement_in_another_notation_leaves_one_document(locations: Locations, tmp_path: Path) -> None:
    admin.create(locations, source(tmp_path, "", "a.yaml"))
    path = tmp_path / "a.json"
    path.write_text('{"policy": {}}')
    admin.create(locations, str(path), replace=True)
    assert os.listdir(locations.policies) == ["a.json"]


@pytest.mark.parametrize("name", ["p", "-e.yaml", "a b.yaml", "p.toml"])
def test_a_source_must_name_a_policy(locations: Locations, tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="names no policy"):
        admin.create(locations, source(tmp_path, "", name))
    assert admin.create(locations, source(tmp_path, "", name), handle="good").handle == "good"


def test_a_source_that_is_not_there(locations: Locations) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        admin.create(locations, "/nonexistent/p.yaml")


def test_an_unknown_policy_cannot_be_granted_and_the_nearest_is_named(locations: Locations) -> None:
    admin.create(locations, str(EXAMPLE))
    for act in (admin.grant, admin.revoke):
        with pytest.raises(UsageError) as caught:
            act(locations, "data_scientst", "user", "alice", by=ROOT)
        assert "'data_scientist'" in caught.value.hint


def test_a_policy_in_use_is_not_deleted(locations: Locations, tmp_path: Path) -> None:
    admin.create(locations, source(tmp_path, "", "a.yaml"))
    admin.create(locations, source(tmp_path, "extends: [a]", "b.yaml"))
    admin.grant(locations, "b", "role", "dev", by=ROOT)
    with pytest.raises(UsageError, match="extended by b"):
        admin.delete(locations, "a", force=True)
    with pytest.raises(UsageError, match="granted to role dev"):
        admin.delete(locations, "b")
    admin.delete(locations, "b", force=True)
    admin.delete(locations, "a")
    assert admin.listing(locations) == ([], [])


def test_a_deleted_policy_does_not_come_back_with_its_old_grants(locations: Locations, tmp_path: Path) -> None:
    admin.create(locations, source(tmp_path, ""))
    admin.grant(locations, "p", "user", "alice", by=ROOT)
    admin.delete(locations, "p", force=True)
    admin.create(locations, source(tmp_path, "capabilities: [js]"))
    assert cache.load_for(locations, ALICE, 0) == []


def test_what_keeps_a_grant_from_counting_is_said(locations: Locations, tmp_path: Path) -> None:
    admin.create(locations, source(tmp_path, ""))
    admin.revoke(locations, "p", "group", "team", by=ROOT)
    admin.grant(locations, "p", "user", "alice", by=ROOT)
    assert admin.exclusions(locations, "p", ALICE) == ["group team"]
    assert cache.load_for(locations, ALICE, 0) == []
    assert admin.exclusions(locations, "p", User("bob")) == []
