"""`mlsandbox learn` with real programs: the policy makes a launch pass, holds nothing unneeded, and was never wide open."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from launcher.policy.policy_document import read_policy
from tests.sandboxed import Host, Ran

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.kernel
REPORT = """
import csv, glob
rows = [row for name in sorted(glob.glob("data/*.csv")) for row in csv.reader(open(name))]
with open("out/report.txt", "w") as file: file.write(f"{len(rows)} rows")
print(len(rows))
"""
PIPES = "cat data/a.csv data/b.csv | sort | head -n 3 > out/first.txt; wc -l < out/first.txt"
ML = """
capability Tables { resource "data/*.csv"; allow read; }
import file;
print(file.read("data/a.csv"));
"""


def filled(host: Host) -> None:
    host.write("data/a.csv", "x,1\ny,2\n")
    host.write("data/b.csv", "z,3\n")
    host.write("notes.txt", "n\n")
    host.write("out/.keep", "")
    host.write("report.py", REPORT)


def learn(host: Host, *words: str, options: Sequence[str] = ()) -> subprocess.CompletedProcess[bytes]:
    job = list(words) if words[0].endswith(".ml") else ["--", *words]
    return host.run("learn", *options, *job, input=b"", timeout=200)


def grants(done: subprocess.CompletedProcess[bytes]) -> list[str]:
    assert done.returncode == 0, done.stderr.decode()
    found: list[str] = yaml.safe_load(done.stdout)["policy"]["capabilities"]
    return found


def outcome(ran: Ran) -> tuple[Any, ...]:
    changes = {}
    for row in ran.result.get("committed", ()):
        with open(row["path"], "rb") as file:
            changes[row["path"]] = file.read()
    return ran.status, sorted(ran.out.splitlines()), changes


def undo(host: Host) -> None:
    for name in ("out/report.txt", "out/first.txt"):
        if os.path.exists(f"{host.workspace}/{name}"):
            os.unlink(f"{host.workspace}/{name}")


PROGRAMS = {
    "ls": (["ls"], {"cmd:ls", "path.read:@base/*"}),
    "ls of files": (["ls", "data"], {"cmd:ls data", "path.read:@base/data/*"}),
    "grep": (
        ["grep", "-r", ",", "data"],
        {"cmd:grep -r , data", "file.read:@base/data/a.csv", "file.read:@base/data/b.csv"},
    ),
    "python": (
        ["python3", "report.py"],
        {
            "py", "file.read:@base/report.py", "file.read:@base/data/a.csv", "file.read:@base/data/b.csv",
            "file.write:@base/out/report.txt",
        },
    ),
    "pipes": (
        ["sh", "-c", PIPES],
        {
            "sh", "cmd:cat", "cmd:sort", "cmd:head", "cmd:wc", "file.read:@base/data/a.csv",
            "file.read:@base/data/b.csv", "file.write:@base/out/first.txt",
        },
    ),
}  # fmt: skip
# Learning is the same for both callers, and takes ten launches: each program is learnt by one of them on each push.
OTHERS = ("user", "root", "user", "root", "user")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.full_as(who)) for name, who in zip(PROGRAMS, OTHERS, strict=True)]
)
def test_the_minimal_policy_of_a_program(host: Host, name: str) -> None:
    """It is what was expected, a launch with it passes, and without any one of its grants the job does something else."""
    words, expected = PROGRAMS[name]
    filled(host)
    found = grants(learn(host, *words, options=["--generalize", "exact"]))
    assert set(found) == expected
    assert not os.path.exists(f"{host.workspace}/out/report.txt")
    host.policy({"allow": found})
    passed = host.launch(*words)
    assert passed.status == 0, passed
    reference = outcome(passed)
    for grant in found:
        undo(host)
        host.policy({"allow": [other for other in found if other != grant]})
        assert outcome(host.launch(*words)) != reference, f"{grant} is not needed"


@pytest.mark.full_as("root")
def test_a_repository(host: Host) -> None:
    filled(host)
    drop = host.drop()
    for words in (["init", "-q"], ["add", "-A"], ["-c", "user.email=a@b", "-c", "user.name=x", "commit", "-qm", "x"]):
        subprocess.run(["git", *words], cwd=host.workspace, check=True, **drop)
    done = learn(host, "git", "log", "--oneline", options=["-g", "directory"])
    found = grants(done)
    assert "cmd:git" in found
    assert all(grant == "cmd:git" or grant.split(":")[1].startswith("@base/.git") for grant in found), found
    host.policy({"allow": found})
    ran = host.launch("git", "log", "--oneline")
    assert ran.out.endswith(" x\n"), ran


@pytest.mark.full_as("root")
def test_an_ml_program(host: Host) -> None:
    filled(host)
    host.write("job.ml", ML)
    found = grants(learn(host, "job.ml"))
    assert found == ["file.read:data/*.csv"]
    host.policy({"allow": found})
    ran = host.launch("job.ml")
    assert ran.out.startswith("x,1"), ran


@pytest.mark.full_as("root")
def test_generalised_by_suffix_and_by_directory(host: Host) -> None:
    filled(host)
    by_suffix = grants(learn(host, "python3", "report.py"))
    assert set(by_suffix) == {"py", "file.read:@base/*.py", "file.read:@base/data/*.csv", "file.write:@base/out/*.txt"}
    by_directory = grants(learn(host, "cat", "data/a.csv", options=["-g", "directory"]))
    assert by_directory == ["cmd:cat", "file.read:@base/data/**"]
    host.write("data/new.csv", "q,1\n")
    host.policy({"allow": by_suffix})
    assert host.launch("python3", "report.py").out == "4\n"


@pytest.mark.full_as("user")
def test_merged_over_runs(host: Host) -> None:
    filled(host)
    path = f"{host.workspace}/learnt.yaml"
    for name in ("data/a.csv", "notes.txt"):
        more = ["--merge", path] if os.path.exists(path) else []
        done = learn(host, "cat", name, options=["-g", "exact", *more, "-o", path])
        assert done.returncode == 0, done.stderr.decode()
    with open(path, "rb") as file:
        policy = read_policy(file.read(), path, "learnt")
    patterns = [pattern for grant in policy.grants for pattern in grant.patterns]
    assert set(patterns) == {"cat data/a.csv", "cat notes.txt", "@base/data/a.csv", "@base/notes.txt"}
    host.write("other.yaml", "policy: {capabilities: {cmd: [ls]}}")
    refused = learn(host, "ls", options=["--merge", f"{host.workspace}/other.yaml"])
    assert refused.returncode == 125, refused
    assert b"only a list of capability strings can be merged" in refused.stderr


# -- the attacker learns, too -----------------------------------------------------------------------------------------

GREEDY = """
import os, sys
for name in (".ssh/id_rsa", ".env", "server.pem", "/etc/shadow", outside, "../root/policies/test.json"):
    try: print(name, len(open(name).read()))
    except OSError as error: print(name, error.errno)
for name in (".git/hooks/pre-commit", ".bashrc"):
    try: open(name, "w").write("evil"); print(name, "written")
    except OSError as error: print(name, error.errno)
"""


def test_credentials_and_what_is_outside_are_never_granted_while_learning(host: Host) -> None:
    """A job that asks for everything gets the names in its workspace, and is shown no credential in any run."""
    filled(host)
    for name in (".ssh/id_rsa", ".env", "server.pem", ".git/hooks/x", "plain.txt"):
        host.write(name, "SECRET")
    outside = f"{host.top}/outside.txt"
    with open(outside, "w", encoding="utf-8") as file:
        file.write("SECRET")
    os.chmod(outside, 0o644)
    code = f"outside = {outside!r}\n{GREEDY}\nprint(open('plain.txt').read())"
    host.write("greedy.py", code)
    done = learn(host, "python3", "greedy.py", options=["-g", "exact"])
    found = grants(done)
    assert set(found) == {"py", "file.read:@base/greedy.py", "file.read:@base/plain.txt"}
    told = done.stderr.decode()
    for name in (".ssh/id_rsa", ".env", "server.pem", "outside.txt", ".git/hooks/pre-commit", ".bashrc"):
        assert name in told, name
    for event in host.audit():
        if event["event"] == "launch":
            assert "test" not in str(event["detail"].get("policies"))
    host.policy({"allow": found})
    ran = host.launch("python3", "greedy.py")
    assert ran.out.count("SECRET") == 1 and ran.out.splitlines()[0].startswith(".ssh/id_rsa 2"), ran


@pytest.mark.full_as("user")
def test_within_widens_and_a_deny_binds(host: Host) -> None:
    filled(host)
    other = f"{host.top}/other"
    os.makedirs(other)
    for name in ("a.txt", "denied.txt"):
        with open(f"{other}/{name}", "w", encoding="utf-8") as file:
            file.write(name)
    words = ["sh", "-c", f"cat {other}/a.txt; cat {other}/denied.txt; true"]
    assert not [grant for grant in grants(learn(host, *words)) if "other" in grant]
    host.policy({}, deny=[f"file.read:{other}/denied.txt"])
    found = grants(learn(host, *words, options=["--within", other, "-g", "exact"]))
    assert set(found) == {"sh", "cmd:cat", f"file.read:{other}/a.txt"}


@pytest.mark.full_as("user")
def test_hosts_are_learnt_where_the_caller_says_so(host: Host) -> None:
    code = "import socket\nprint(socket.gethostbyname('data.example.org')[:6])"
    refused = learn(host, "python3", "-I", "-c", code)
    assert refused.returncode == 126, refused
    assert b"data.example.org (no host may be learnt: --host PATTERN)" in refused.stderr
    found = grants(learn(host, "python3", "-I", "-c", code, options=["--host", "*.example.org"]))
    assert found == ["py", "network.https:data.example.org"]
    host.policy({"allow": found})
    assert host.launch("python3", "-I", "-c", code).out == "198.18\n"


@pytest.mark.full_as("root")
def test_what_cannot_pass_is_said(host: Host) -> None:
    filled(host)
    done = learn(host, "sh", "-c", "echo trouble >&2; exit 3")
    assert done.returncode == 126, done
    assert b"it ends with status 3, not 0" in done.stderr and b"trouble" in done.stderr
    assert grants(learn(host, "sh", "-c", "exit 3", options=["--status", "3"])) == ["sh"]


@pytest.mark.full_as("user")
def test_writes_are_kept_only_on_demand_and_input_is_given_to_each_run(host: Host) -> None:
    filled(host)
    words = ["sh", "-c", "cat > out/in.txt"]
    for options, kept in (([], False), (["--commit"], True)):
        done = host.run("learn", "--json", *options, "--", *words, input=b"given\n", timeout=200)
        assert done.returncode == 0, done.stderr.decode()
        document = json.loads(done.stdout)
        assert document["writes"] == [[f"{host.workspace}/out/in.txt", "created"]]
        assert os.path.exists(f"{host.workspace}/out/in.txt") == kept
    assert host.read("out/in.txt") == "given\n"


@pytest.mark.full_as("root")
def test_output_that_changes_is_compared_without_what_changes(host: Host) -> None:
    filled(host)
    done = learn(host, "sh", "-c", "date +%s%N; cat notes.txt > out/n.txt")
    assert set(grants(done)) == {"sh", "cmd:date", "cmd:cat", "file.read:@base/*.txt", "file.write:@base/out/*.txt"}
    assert b"differs from run to run" in done.stderr
