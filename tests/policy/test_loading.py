"""Finding documents: nothing that could have been meant as a policy is passed over."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from launcher.errors import ConfigurationError, DocumentError
from launcher.policy import cache
from launcher.policy.loading import read_bases, read_policies
from launcher.policy.paths import Locations
from launcher.policy.trust import Reader

OPEN = Reader(strict=False)


@pytest.fixture
def locations(tmp_path: Path) -> Locations:
    """An empty set of policies."""
    found = Locations.below(str(tmp_path))
    os.makedirs(found.policies)
    return found


def put(locations: Locations, name: str, text: str = "policy: {}") -> None:
    """Writes a file into the policies' directory."""
    Path(locations.policies, name).write_text(text)


def test_documents_are_found_by_suffix(locations: Locations) -> None:
    for name in ("a.yaml", "b.yml", ".hidden.yaml", "notes.txt", "a.yaml~", "README"):
        put(locations, name)
    put(locations, "c.json", '{"policy": {}}')
    assert sorted(read_policies(locations, OPEN)) == ["a", "b", "c"]


@pytest.mark.parametrize("name", ["has space.yaml", "-e.yaml", "a\nb.yaml", "$(x).yaml"])
def test_a_document_with_an_impossible_name_is_an_error_not_ignored(locations: Locations, name: str) -> None:
    put(locations, name, "policy: {deny: [sh]}")
    with pytest.raises(ConfigurationError, match="a name that no policy can have"):
        read_policies(locations, OPEN)


def test_a_name_that_is_not_utf8_is_an_error_too(locations: Locations) -> None:
    Path(os.fsdecode(os.fsencode(locations.policies) + b"/\xff.yaml")).write_text("policy: {}")
    with pytest.raises(ConfigurationError, match="a name that no policy can have"):
        read_policies(locations, OPEN)


def test_two_documents_for_one_handle_are_an_error(locations: Locations) -> None:
    put(locations, "a.yaml")
    put(locations, "a.yml")
    with pytest.raises(ConfigurationError, match="two documents for 'a'"):
        read_policies(locations, OPEN)


def test_a_policy_that_names_a_base_that_is_not_there(locations: Locations) -> None:
    put(locations, "a.yaml", "policy: {base: bacth}")
    with pytest.raises(DocumentError, match="'bacth', which does not exist") as caught:
        cache.load(locations)
    assert "'batch'" in caught.value.hint


def test_an_administrators_own_base_profile_comes_first(locations: Locations) -> None:
    os.makedirs(locations.local_profiles)
    Path(locations.local_profiles, "batch.yaml").write_text(
        "profile: {description: Ours, extends: default}\nlimits: {max_jobs: 3}\n"
    )
    bases = read_bases(locations, OPEN)
    assert (bases["batch"]["description"], bases["batch"]["limits"]["max_jobs"]) == ("Ours", 3)
    assert {"default", "ci-untrusted"} <= set(bases)


def test_a_configuration_is_optional_and_its_errors_are_not(locations: Locations) -> None:
    assert cache.load(locations).config.operators == "mlsandbox"
    Path(locations.config).write_text("operators: ops\n")
    assert cache.load(locations).config.operators == "ops"
    Path(locations.config).write_text("oprators: ops\n")
    with pytest.raises(DocumentError) as caught:
        cache.load(locations)
    assert caught.value.place == f"{locations.config}:1:1"


def test_without_any_directory_there_is_nothing(tmp_path: Path) -> None:
    assert cache.load(Locations.below(str(tmp_path / "none"))).handles() == []
