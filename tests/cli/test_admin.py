"""A change of who may do what is recorded, or it is not made."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from launcher.cli.main import main
from launcher.policy.paths import Locations
from launcher.policy.store import GrantStore

POLICY = "policy: {name: p, capabilities: {cmd: [ls]}}\n"
GRANT = ("admin", "grant", "p", "--user", "alice")


class Site:
    """An installation below one directory, with one policy."""

    def __init__(self, directory: Path) -> None:
        self.root = str(directory / "root")
        self.document = directory / "p.yaml"
        self.document.write_text(POLICY, encoding="ascii")
        self.locations = Locations.find(self.root)
        os.mkdir(self.root)
        assert self.run("admin", "policy", "create", str(self.document)) == 0

    def run(self, *words: str) -> int:
        return main([*words, "--root", self.root])

    def holders(self) -> list[str]:
        return [row.name for row in GrantStore(self.locations).rows()]

    def log_with_two_names(self) -> None:
        log = f"{self.locations.audit}/audit.jsonl"
        os.link(log, f"{log}.second")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_a_grant_is_made_and_recorded(site: Site) -> None:
    assert site.run(*GRANT) == 0
    assert site.holders() == ["alice"]
    assert '"policy.granted"' in Path(site.locations.audit, "audit.jsonl").read_text(encoding="utf-8")


def test_a_grant_that_cannot_be_recorded_is_not_made(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.log_with_two_names()
    assert site.run(*GRANT) == 125
    assert site.holders() == []
    assert "has 2 names" in capsys.readouterr().err


def test_a_policy_that_cannot_be_recorded_is_not_installed(site: Site) -> None:
    site.log_with_two_names()
    other = site.document.with_name("q.yaml")
    other.write_text(POLICY, encoding="ascii")
    assert site.run("admin", "policy", "create", str(other)) == 125
    assert os.listdir(site.locations.policies) == ["p.yaml"]


def test_a_policy_that_refuses_every_launch_can_be_replaced_and_removed(site: Site) -> None:
    broken = "policy: {name: p, base: nowhere, capabilities: {}}\n"
    Path(site.locations.policies, "p.yaml").write_text(broken, encoding="ascii")
    assert site.run("admin", "policy", "create", str(site.document), "--replace") == 0
    Path(site.locations.policies, "p.yaml").write_text(broken, encoding="ascii")
    assert site.run("admin", "policy", "delete", "p") == 0
    assert os.listdir(site.locations.policies) == []
