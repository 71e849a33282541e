"""The documents that the how-tos show are read by the readers they are for; figures and paths are those of the code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from launcher.policy.config_document import read_config
from launcher.policy.init import Directory, Document, Host, plan
from launcher.policy.paths import Locations
from launcher.policy.policy_document import read_policy
from launcher.service.manifest import read_manifest

ROOT = Path(__file__).parents[2]
HOW_TO = ROOT / "docs" / "how-to"
PAGES = [*sorted(HOW_TO.glob("*.md")), ROOT / "docs" / "tutorial" / "first-job.md"]
BLOCKS = [
    pytest.param(text, id=f"{page.stem}:{number}")
    for page in PAGES
    for number, text in enumerate(re.findall(r"^```yaml\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL))
]


def kind(text: str) -> str:
    """What a block is an example of: `policy`, `jwt` or `egress` (a configuration), `needs` (a manifest) or a CI system's file."""
    keys = yaml.safe_load(text).keys()
    return next((key for key in ("policy", "jwt", "egress", "needs") if key in keys), "ci")


@pytest.mark.parametrize("text", BLOCKS)
def test_an_example_is_read(text: str, tmp_path: Path) -> None:
    match kind(text):
        case "policy":
            assert read_policy(text.encode(), "policy.yaml", "policy").grants
        case "jwt":
            assert read_config(text.encode(), "config.yaml").jwt
        case "egress":
            assert read_config(text.encode(), "config.yaml").egress
        case "needs":
            (tmp_path / "mlsandbox.yaml").write_text(text)
            declared = read_manifest(str(tmp_path / "mlsandbox.yaml"))
            assert declared is not None
            assert declared.needs
        case _:
            assert "mlsandbox launch" in text


def test_there_is_one_of_each() -> None:
    kinds = {kind(str(block.values[0])) for block in BLOCKS}
    assert kinds == {"policy", "jwt", "egress", "needs", "ci"}


def test_the_table_of_places_is_the_hosts_layout() -> None:
    page = (HOW_TO / "operate.md").read_text()
    host = Locations.host()
    for path in (host.config, host.policies, host.local_profiles, host.state, host.cache, host.audit):
        assert f"`{path}" in page
    below = Locations.below("/DIR")
    for path in (
        below.config,
        below.policies,
        below.local_profiles,
        below.state,
        below.cache,
        below.audit,
        below.token,
    ):
        assert f"`{path[1:]}" in page


def test_the_modes_of_the_table_are_those_that_init_makes() -> None:
    page = (HOW_TO / "operate.md").read_text()
    nobody = Host(passwd="", group="", subuid="", subgid="", user_name="alice")
    actions = plan(Locations.below("/DIR"), nobody, exists=lambda _path: False)
    modes = {
        action.path.removeprefix("/"): f"{action.mode:04o}"
        for action in actions
        if isinstance(action, Directory | Document)
    }
    for place in ("DIR/policies", "DIR/profiles", "DIR/state", "DIR/cache", "DIR/config.yaml"):
        row = next(line for line in page.splitlines() if f"`{place}" in line and line.startswith("|"))
        assert row.rsplit("|", 2)[1].split(";")[0].strip() == modes[place]


def test_the_figures_of_the_ci_base_profile() -> None:
    page = (HOW_TO / "run-untrusted-pull-requests.md").read_text()
    profile: dict[str, Any] = yaml.safe_load((ROOT / "profiles" / "ci-untrusted.yaml").read_text())
    limits = profile["limits"]
    row = next(line for line in page.splitlines() if "of memory," in line)
    assert limits["max_memory"].replace("GiB", " GiB of memory") in row
    assert f"{limits['cpus']} processors" in row
    assert f"{limits['max_processes']} processes" in row
    assert limits["max_disk"].replace("GiB", " GiB of scratch") in row
    assert limits["max_wall_time"] == "1h"
    assert "1 hour" in row
    assert profile["network"]["loopback"] is False
    assert all(f"`{name}`" in page for name in profile["environment"]["pass"])
