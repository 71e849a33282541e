"""Real git in real launches: a repository, a worktree and a submodule whose `.git` is a file, committed to from a job."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import Any

import pytest

from tests.sandboxed import Host, Ran

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(not shutil.which("git"), reason="no git on this host")]

_IDENTITY = ("-c", "user.name=T", "-c", "user.email=t@example.com", "-c", "protocol.file.allow=always")


def once(where: str, other: str) -> Any:
    """As both callers in the long form, else not as `other`: the repositories are the same for both."""
    return pytest.param(where, marks=pytest.mark.full_as(other))


class Repositories:
    """`repo` with a submodule `repo/sub` (from `lib`), and a worktree of it beside it."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.repo, self.tree = f"{host.workspace}/repo", f"{host.workspace}/tree"
        for name in ("lib", "repo"):
            host.write(f"{name}/a.txt", "one\n")
            self.git(host.workspace, "init", "-q", "-b", "main", name)
            self.git(f"{host.workspace}/{name}", "add", ".")
            self.git(f"{host.workspace}/{name}", "commit", "-qm", "first")
        self.git(self.repo, "submodule", "--quiet", "add", f"{host.workspace}/lib", "sub")
        self.git(self.repo, "commit", "-qm", "with a submodule")
        self.git(self.repo, "worktree", "add", "-q", self.tree, "-b", "topic")

    def git(self, directory: str, *words: str) -> str:
        command = ["git", *_IDENTITY, *words]
        ran: subprocess.CompletedProcess[bytes] = subprocess.run(  # git of the host
            command, cwd=directory, capture_output=True, check=False, **self.host.drop()
        )
        assert ran.returncode == 0, ran.stderr
        return str(ran.stdout, "utf-8")

    def job(self, directory: str, *words: str, patterns: tuple[str, ...]) -> Ran:
        rules = [{"patterns": list(patterns), "operations": ["read", "write", "delete"]}]
        host = self.host
        host.policy(
            {"cmd": ["@git"], "file": rules, "path": [{"patterns": list(patterns), "operations": ["read", "write"]}]}
        )
        return host.launch("git", *_IDENTITY, *words, options=["--workspace", directory])


@pytest.mark.parametrize("where", [once("repo", "user"), once("tree", "root"), once("repo/sub", "user")])
def test_a_job_reads_and_commits(host: Host, where: str) -> None:
    made = Repositories(host)
    directory = f"{host.workspace}/{where}"
    patterns: tuple[str, ...] = ("@base/**",) if where == "repo" else ("@base/**", f"{made.repo}/.git/**")
    host.write(f"{where}/new.txt", "from outside\n")
    ran = made.job(directory, "status", "--short", "new.txt", patterns=patterns)
    assert ran.out == "?? new.txt\n", ran
    for words in (("add", "new.txt"), ("commit", "-qm", "from the job")):
        ran = made.job(directory, *words, patterns=patterns)
        assert ran.status == 0, ran
        assert not ran.result["refused"], ran
    assert made.git(directory, "log", "--format=%s", "-1") == "from the job\n"
    assert made.git(directory, "show", "HEAD:new.txt") == "from outside\n"
    made.git(directory, "fsck", "--strict")


@pytest.mark.parametrize("where", [once("tree", "user"), once("repo/sub", "root")])
def test_a_repository_outside_of_the_grant_is_named(host: Host, where: str) -> None:
    made = Repositories(host)
    ran = made.job(f"{host.workspace}/{where}", "status", patterns=("@base/**",))
    assert ran.status == 128, ran
    assert f"leads to {made.repo}/.git/" in ran.err
    (row,) = [row for row in ran.result["denials"] if row["layer"] == "policy"]
    assert row["grant"] == f"file.read:{made.repo}/.git/**"
    assert "ask for:" in ran.err
    again = made.job(f"{host.workspace}/{where}", "status", patterns=("@base/**", row["grant"].partition(":")[2]))
    assert again.status == 0, again


@pytest.mark.full_as("root")
def test_a_repository_made_by_a_job_leaves_what_git_would_run(host: Host) -> None:
    """The danger list: the configuration and the hooks of a repository that a job makes do not reach the host unasked."""
    rules: list[dict[str, Any]] = [{"patterns": ["@base/**"], "operations": ["read", "write"]}]
    making = {"path": [{"patterns": ["@base/**"], "operations": ["write"]}]}
    host.policy({"cmd": ["@git"], "file": rules, **making})
    assert host.launch("git", "init", "-q", "made").status == 0
    names = os.listdir(f"{host.workspace}/made/.git")
    assert "HEAD" in names
    assert "config" not in names
    host.policy({"cmd": ["@git"], "file": [{**rules[0], "allow_danger": ["git-config", "git-hooks"]}], **making})
    ran = host.launch("git", "init", "-q", "meant")
    assert not ran.result["refused"], ran.result["refused"]
    assert os.path.exists(f"{host.workspace}/meant/.git/config")


@pytest.mark.full_as("user")
def test_a_git_file_that_is_something_else(host: Host) -> None:
    """As root we read a file that the tenant wrote: a link is not followed, and nothing but a gitdir is told."""
    host.policy({"py": True})
    os.symlink("/etc/shadow", f"{host.workspace}/.git")
    ran = host.python("raise SystemExit(1)")
    assert (ran.status, ran.result["denials"]) == (1, [])
    os.unlink(f"{host.workspace}/.git")
    host.write(".git", b"gitdir: ../\xff\x1b]0;x\x07/.git/worktrees/a\n")
    ran = host.python("raise SystemExit(1)")
    assert "\x1b]0;x" not in ran.err
    assert ran.result["denials"]
