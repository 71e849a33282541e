"""The danger list as a document, and the names that policies mean of it."""

from __future__ import annotations

import os

import pytest

from launcher.errors import DocumentError
from launcher.policy import cache
from launcher.policy.danger import read_danger
from launcher.policy.paths import Locations, shipped_profiles

SHIPPED = f"{shipped_profiles()}/danger.yaml"


def test_the_shipped_list() -> None:
    with open(SHIPPED, "rb") as file:
        entries = read_danger(file.read(), SHIPPED)
    names = [entry["name"] for entry in entries]
    assert {"ssh", "cloud", "shell-startup", "git-hooks", "git-config", "agents", "ci"} <= set(names)
    assert all(entry["why"] and (entry["hidden"] or entry["write"]) for entry in entries)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("danger: {keys: {hidden: ['**/*.pem']}}", "every readable tree"),
        ("danger: {keys: {hiden: [x]}}", "hiden"),
        ("danger: {Keys: {hidden: [x]}}", "cannot name an entry"),
        ("danger: {keys: {write: ['a/**b']}}", "\\*\\*"),
        ("entries: {}", "entries"),
        ("danger: [a]", "danger"),
    ],
)
def test_what_is_wrong_with_a_list_is_said(text: str, says: str) -> None:
    with pytest.raises(DocumentError, match=says):
        read_danger(text.encode(), "danger.yaml")


def installation(top: object, policy: str, danger: str = "") -> cache.Snapshot:
    for directory in ("policies", "profiles"):
        os.makedirs(f"{top}/{directory}", exist_ok=True)
    with open(f"{top}/policies/p.yaml", "w", encoding="utf-8") as file:
        file.write(policy)
    if danger:
        with open(f"{top}/profiles/danger.yaml", "w", encoding="utf-8") as file:
            file.write(danger)
    return cache.load(Locations.below(str(top)))


def test_a_name_that_the_list_does_not_have_is_an_error(tmp_path: object) -> None:
    with pytest.raises(DocumentError, match="no entry 'git-hook'") as raised:
        installation(tmp_path, "policy: {allow_danger: [git-hook], capabilities: ['file.read:/x']}")
    assert "git-hooks" in raised.value.hint


def test_the_list_binds_every_base_and_is_none_itself(tmp_path: object) -> None:
    snapshot = installation(tmp_path, "policy: {}")
    assert "danger" not in snapshot.bases
    assert all(base["danger"] for base in snapshot.bases.values())


def test_an_administrators_own_list_replaces_the_shipped_one(tmp_path: object) -> None:
    snapshot = installation(tmp_path, "policy: {}", "danger: {mine: {why: because, hidden: [/srv/secret/**]}}")
    assert [entry["name"] for entry in snapshot.bases["default"]["danger"]] == ["mine"]
