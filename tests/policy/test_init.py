"""`init`: what it writes can be read, it collides with nobody's ids, and a second run does nothing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.capability.scope import Scope
from launcher.errors import ConfigurationError
from launcher.identity.user import User
from launcher.policy import cache, init
from launcher.policy.config_document import read_config
from launcher.policy.merge import merge
from launcher.policy.paths import Locations

if TYPE_CHECKING:
    from pathlib import Path


def host(**tables: str) -> init.Host:
    """A host with the given tables."""
    empty = dict.fromkeys(("passwd", "group", "subuid", "subgid"), "")
    return init.Host(**{**empty, **tables}, user_name="alice")


def test_a_trial_is_made_and_made_again_without_a_change(tmp_path: Path) -> None:
    locations = Locations.below(str(tmp_path / "r"))
    actions = init.plan(locations, host())
    assert not any(isinstance(action, init.OperatorGroup) for action in actions)
    init.apply(actions)
    before = {str(p): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert init.plan(locations, host()) == []
    init.apply(actions)
    assert {str(p): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_what_is_written_is_read_and_means_what_it_says(tmp_path: Path) -> None:
    locations = Locations.below(str(tmp_path / "r"))
    init.apply(init.plan(locations, host()))
    (policy,) = cache.load_for(locations, User("alice"), 0, strict=True)
    may = merge([policy], Scope("/home/alice", "/work")).permissions
    verdicts = {
        ("read", "/work/data/x.csv"): True,
        ("read", "/work/.env"): False,
        ("read", "/work/.git/config"): False,
        ("read", "/etc/passwd"): False,
        ("write", "/work/output/r.txt"): True,
        ("write", "/work/data/x.csv"): False,
        ("delete", "/work/output/r.txt"): False,
    }
    assert {key: may.decide("file", *key).allowed for key in verdicts} == verdicts
    assert cache.load_for(locations, User("bob"), 0) == []


def test_modes(tmp_path: Path) -> None:
    locations = Locations.below(str(tmp_path / "r"))
    before = os.umask(0)
    try:
        init.apply(init.plan(locations, host()))
    finally:
        os.umask(before)
    modes = {
        name: os.stat(getattr(locations, name)).st_mode & 0o777
        for name in ("config", "policies", "state", "cache", "audit")
    }
    assert modes == {"config": 0o644, "policies": 0o755, "state": 0o700, "cache": 0o700, "audit": 0o750}


def test_the_hosts_plan_has_the_group_the_ids_and_nobody_in_the_starter_policy() -> None:
    actions = init.plan(Locations.host(), host(group="root:x:0:\n"), exists=lambda _path: False)
    described = [action.describe() for action in actions]
    assert "make the system group mlsandbox (its members may launch for others)" in described
    documents = {action.path: action.content for action in actions if isinstance(action, init.Document)}
    config = read_config(documents["/etc/mlsandbox/config.yaml"].encode(), "c")
    assert config.id_range == (init.FIRST_ID, init.COUNT_IDS)
    assert "users: []" in documents["/etc/mlsandbox/policies/starter.yaml"]
    assert described.index("make the directory /etc/mlsandbox/policies (mode 0755)") < described.index(
        "write /etc/mlsandbox/policies/starter.yaml (mode 0644)"
    )


def test_an_existing_group_and_configuration_stay() -> None:
    there = {"/etc/mlsandbox/config.yaml", "/etc/mlsandbox/policies"}
    actions = init.plan(Locations.host(), host(group="mlsandbox:x:999:\n"), exists=there.__contains__)
    assert {type(action) for action in actions} == {init.Directory}


def test_a_place_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="cannot make the directory"):
        init.apply(init.plan(Locations.below(str(tmp_path / "file")), host()))


BLOCKS = st.lists(
    st.tuples(st.integers(init.FIRST_ID - 200_000, init.FIRST_ID + 600_000), st.integers(1, 200_000)), max_size=6
)


@given(BLOCKS, BLOCKS, st.lists(st.integers(init.FIRST_ID - 10, init.FIRST_ID + 200_000), max_size=4))
def test_the_range_meets_nobody(subuid: list[tuple[int, int]], subgid: list[tuple[int, int]], users: list[int]) -> None:
    def table(blocks: list[tuple[int, int]]) -> str:
        return "".join(f"u:{first}:{count}\n" for first, count in blocks)

    found = host(
        subuid=table(subuid),
        subgid="# a comment\n" + table(subgid) + "broken line\n",
        passwd="".join(f"u:x:{uid}:{uid}::/:/bin/sh\n" for uid in users),
    )
    first = init.free_range(found)
    mine = range(first, first + init.COUNT_IDS)
    for low, count in subuid + subgid:
        assert low + count <= mine.start or low >= mine.stop
    assert not any(uid in mine for uid in users)


def test_a_full_host_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="no range"):
        init.free_range(host(subuid=f"u:{init.FIRST_ID - 5}:{1 << 31}\n"))
