"""`live` grants through real launches: writes are seen at once, with the rights that are granted and no others."""

from __future__ import annotations

import os
import stat
from typing import Any

import pytest

from tests.sandboxed import Host

pytestmark = pytest.mark.kernel
_INSIDE = ["git-hooks", "git-config", "agents", "ci", "editors"]  # of the danger list: a live tree must mean them


def live(host: Host, *operations: str, **more: Any) -> None:
    rule = {"patterns": ["live/**"], "operations": list(operations), "live": True, "allow_danger": _INSIDE}
    host.write("live/old", "old\n")
    host.policy(
        {"sh": True, "py": True, "cmd": ["cat", "rm", "mv", "ln", "ls", "chmod", "mkdir", "mkfifo"], "file": [rule]},
        **more,
    )


def test_a_live_write_is_there_while_the_job_runs(host: Host) -> None:
    live(host, "read", "write")
    process = host.popen(
        "launch", "--", "sh", "-c", "echo new > live/new; cat live/old; cat", stdin=-1, stdout=-1, stderr=-1
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"old\n"
    assert host.read("live/new") == "new\n"
    _out, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    assert os.stat(f"{host.workspace}/live/new").st_uid == host.uid


def test_only_what_is_granted(host: Host) -> None:
    """Kernel-facts 6: no delete, no links, no set-id bits, nothing outside."""
    live(host, "read", "write")
    script = (
        "rm live/old; mv live/old live/moved; ln -s /etc/passwd live/link; mkfifo live/fifo; mkdir live/dir;"
        " echo x > live/run; chmod 6755 live/run; echo y > outside; ls live"
    )
    ran = host.launch("sh", "-c", script)
    assert ran.out.split() == ["old", "run"], ran
    assert not os.stat(f"{host.workspace}/live/run").st_mode & (stat.S_ISUID | stat.S_ISGID)
    assert not os.path.exists(f"{host.workspace}/outside")


def test_delete_and_rename(host: Host) -> None:
    live(host, "read", "write", "delete")
    ran = host.launch("sh", "-c", "mv live/old live/moved; echo z > live/z; rm live/z; ls live")
    assert ran.out == "moved\n", ran


def test_writing_without_reading(host: Host) -> None:
    live(host, "write")
    ran = host.launch("sh", "-c", "cat live/old; echo more > live/new; cat live/new; echo end")
    assert ran.out == "end\n", ran
    assert host.read("live/new") == "more\n"


def test_append_alone_cannot_be_live(host: Host) -> None:
    live(host, "append")
    ran = host.launch("true")
    assert ran.status in {125, 126} and "live" in ran.err, ran


def test_a_deny_inside_a_live_tree_is_a_policy_error(host: Host) -> None:
    live(host, "read", "write", deny={"file": [{"patterns": ["live/.git/**"], "operations": ["write"]}]})
    ran = host.launch("cat", "live/old")
    assert ran.status in {125, 126} and "live" in ran.err, ran
