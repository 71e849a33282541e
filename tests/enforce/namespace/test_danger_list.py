"""The danger list in real launches: what runs later on the host is not written, what is hidden is not there, also later."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.sandboxed import Host

pytestmark = pytest.mark.kernel

_READ = {"patterns": ["@base/**"], "operations": ["read"]}
_WRITE = {"patterns": ["@base/**"], "operations": ["read", "write"]}
_PLANT = """
import os
for name in ('.git/hooks/pre-commit', '.github/workflows/x.yml', 'src/ok.txt'):
    os.makedirs(os.path.dirname(name), exist_ok=True)
    open(name, 'w').write('#!/bin/sh')
os.rename('src/planted', '.git/config')
"""


def test_what_runs_later_is_discarded_and_named(host: Host) -> None:
    """Attack 9 and its kin: a hook, a workflow, and a configuration that is renamed into place."""
    host.write(".git/HEAD", "ref: refs/heads/main\n")
    host.write("src/planted", "[core]\n\tfsmonitor = evil\n")
    host.policy({"py": True, "file": [_WRITE, {"patterns": ["@base/**"], "operations": ["delete"]}]})
    ran = host.python(_PLANT)
    assert ran.status == 0, ran
    assert host.read("src/ok.txt") == "#!/bin/sh"
    assert sorted(os.listdir(f"{host.workspace}/.git")) == ["HEAD"]
    assert not os.path.exists(f"{host.workspace}/.github/workflows/x.yml")
    reasons = {row["path"].removeprefix(host.workspace): row["reason"] for row in ran.result["refused"]}
    assert "`allow_danger: [git-hooks]`" in reasons["/.git/hooks/pre-commit"]
    assert "`allow_danger: [ci]`" in reasons["/.github/workflows/x.yml"]
    assert "`allow_danger: [git-config]`" in reasons["/.git/config"]
    denied = [event for event in host.audit() if event["event"] == "commit" and event["outcome"] == "DENIED"]
    assert {"danger:git-hooks", "danger:ci", "danger:git-config"} <= {
        decider["policy"] for event in denied for decider in event["deciders"]
    }
    host.policy({"py": True, "file": [{**_WRITE, "allow_danger": ["git-hooks", "ci"]}]})
    ran = host.python(_PLANT.replace("os.rename", "str"))
    assert host.read(".git/hooks/pre-commit") == "#!/bin/sh", ran
    assert host.read(".github/workflows/x.yml") == "#!/bin/sh"


@pytest.fixture
def hidden(host: Host) -> Host:
    """An administrator's own list: names below the workspace, for the tests must not touch anybody's home."""
    os.mkdir(f"{host.root}/profiles")
    with open(f"{host.root}/profiles/danger.yaml", "w", encoding="utf-8") as file:
        file.write("danger: {keys: {why: secrets, hidden: ['@base/keys/**', '@base/*.pem']}}\n")
    for name in ("keys/a/key", "a.pem", "src/x.pem", "src/deep/y", "top"):
        host.write(name, name)
    return host


_TREE = "import os; print(sorted(os.path.join(d, n)[2:] for d, _, names in os.walk('.') for n in names))"


def test_what_is_hidden_is_not_there_and_the_rest_is_mounted_whole(hidden: Host) -> None:
    hidden.policy({"py": True, "file": [_READ]})
    assert hidden.python(_TREE).out == "['src/deep/y', 'src/x.pem', 'top']\n"
    plan = hidden.run("launch", "--dry-run", "--", "python3").stdout.decode()
    assert "bind 2 names below" in plan, "src as a whole, and top"
    hidden.policy({"py": True, "file": [_WRITE]})
    ran = hidden.python(_TREE + "; open('b.pem', 'w'); open('src/new', 'w')")
    assert ran.out == "['src/deep/y', 'src/x.pem', 'top']\n"
    assert "`allow_danger: [keys]`" in ran.result["refused"][0]["reason"]
    assert os.path.exists(f"{hidden.workspace}/src/new")
    hidden.policy({"py": True, "file": [{**_READ, "allow_danger": ["keys"]}]})
    assert "keys/a/key" in hidden.python(_TREE).out


def test_what_appears_later_is_not_seen_where_a_name_may_be_hidden(hidden: Host) -> None:
    """Attack 8: the host renames a secret to a hidden name while the job runs; in `src` nothing is hidden, so it is seen."""
    hidden.policy({"py": True, "file": [_READ]})
    code = "print('up', flush=True); input()\n" + _TREE
    job = hidden.popen("launch", "--", "python3", "-I", "-c", code, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert job.stdout
    assert job.stdout.readline() == b"up\n"
    os.rename(f"{hidden.workspace}/src/deep/y", f"{hidden.workspace}/late.pem")
    hidden.write("src/late", "")
    hidden.write("keys/late", "")
    assert job.communicate(b"\n", timeout=30)[0] == b"['src/late', 'src/x.pem', 'top']\n"
