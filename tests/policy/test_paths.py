"""Where things are: three layouts."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys

import pytest

from launcher.policy.paths import Locations


def test_below_one_directory_everything_is_below_it(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Locations.below("/srv/trial/../trial/")
    for name in Locations.__slots__:
        if name not in {"profiles", "system", "root"}:
            assert str(getattr(found, name)).startswith("/srv/trial/"), name
    assert (found.root, found.system) == ("/srv/trial", False)
    monkeypatch.setenv("MLSANDBOX_ROOT", "/srv/env")
    assert Locations.find().root == "/srv/env"
    assert Locations.find("/srv/option").root == "/srv/option"


def test_the_hosts_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/bob")  # as sudo may leave it
    monkeypatch.setenv("XDG_STATE_HOME", "/home/bob/state")
    found = Locations.host()
    assert found.token == f"{pwd.getpwuid(0).pw_dir}/.local/state/mlsandbox/token"
    assert found.system
    assert (found.config, found.policies) == ("/etc/mlsandbox/config.yaml", "/etc/mlsandbox/policies")
    assert (found.grants, found.runtime) == ("/var/lib/mlsandbox/grants.db", "/run/mlsandbox")


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_a_plain_user_has_the_xdg_directories() -> None:
    program = (
        f"import sys; sys.path.insert(0, {os.getcwd()!r})\n"
        "from launcher.policy.paths import Locations as L\n"
        "at = L.find(); print(at.system, at.config, at.grants, at.cache, at.audit, at.runtime, at.token)"
    )
    environment = {
        "HOME": "/home/x",
        "XDG_CACHE_HOME": "relative",
        "XDG_CONFIG_HOME": "/cfg/",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        ["/usr/bin/python3", "-S", "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
        user=65534,
    )
    assert done.stdout.split() == [
        "False",
        "/cfg/mlsandbox/config.yaml",
        "/home/x/.local/state/mlsandbox/grants.db",
        "/home/x/.cache/mlsandbox",
        "/home/x/.local/state/mlsandbox",
        "/home/x/.local/state/mlsandbox/run",
        "/home/x/.local/state/mlsandbox/token",
    ], sys.version


def test_the_shipped_profiles_are_there() -> None:
    assert "default.yaml" in os.listdir(Locations.below("/x").profiles)
