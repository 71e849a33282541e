"""The differences that docs/explanation/agreement.md lists: each is there, is on the safe side, and there are no more than ten."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import tempfile

import pytest

from tests.agreement.generator import MEANT
from tests.sandboxed import REPOSITORY, Host

pytestmark = pytest.mark.kernel
PAGE = f"{REPOSITORY}/docs/explanation/agreement.md"
SHELL = {"sh": True, "cmd": ["cat", "ls", "mv", "chmod", "sleep"]}


def reading(*patterns: str) -> dict[str, object]:
    return {"patterns": list(patterns), "operations": ["read"]}


def test_01_a_directory_without_a_granted_name_is_not_there(host: Host) -> None:
    host.write("d/in/other", "other\n")
    host.policy({**SHELL, "file": [reading("d/*/a.csv")]})
    assert "No such file" in host.launch("ls", "d/in").err
    host.write("d/in/a.csv", "a\n")
    assert host.launch("ls", "d/in").out == "a.csv\n"


def test_02_names_that_appear_later_are_not_seen(host: Host) -> None:
    host.write("d/a.csv", "a\n")
    host.write("whole/a.csv", "a\n")
    host.policy({**SHELL, "file": [reading("d/*.csv", "whole/**")]})
    process = host.popen(
        "launch", "--", "sh", "-c", "echo up; read x; ls d whole", stdin=-1, stdout=-1, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    host.write("d/late.csv", "late\n")
    host.write("whole/late.csv", "late\n")
    out, err = process.communicate(b"\n", timeout=30)
    assert out == b"d:\na.csv\n\nwhole:\na.csv\nlate.csv\n", err


def test_03_between_two_grants_a_move_copies(host: Host) -> None:
    host.write("d/a", "a\n")
    host.write("e/keep", "")
    changing = {"patterns": ["d/*", "e/*"], "operations": ["read", "write", "delete"]}
    host.policy({**SHELL, "py": True, "file": [changing]})
    ran = host.python("import os\ntry: os.rename('d/a', 'e/a')\nexcept OSError as error: print(error.errno)")
    assert ran.out == "18\n"
    assert host.launch("mv", "d/a", "e/a").status == 0
    assert host.read("e/a") == "a\n" and not os.path.exists(f"{host.workspace}/d/a")


def test_04_a_directory_that_was_there_is_copied_not_renamed(host: Host) -> None:
    host.write("d/in/a", "a\n")
    rights = [{"patterns": ["d/**"], "operations": ["read", "write", "delete"]}]
    host.policy(
        {**SHELL, "py": True, "file": rights, "path": [{"patterns": ["d/**"], "operations": ["read", "write"]}]}
    )
    ran = host.python("import os\ntry: os.rename('d/in', 'd/out')\nexcept OSError as error: print(error.errno)")
    assert ran.out == "18\n"
    assert host.launch("mv", "d/in", "d/out").status == 0
    assert host.read("d/out/a") == "a\n" and not os.path.exists(f"{host.workspace}/d/in")


def test_05_a_denied_listing_shows_granted_names_only(host: Host) -> None:
    host.write("d/a.csv", "a\n")
    host.write("d/secret", "secret\n")
    host.policy({**SHELL, "file": [reading("d/*.csv")]}, deny={"path": [{"patterns": ["d"], "operations": ["read"]}]})
    assert host.launch("ls", "d").out == "a.csv\n"


def test_06_a_file_that_may_not_be_read_is_moved_without_being_read(host: Host) -> None:
    host.write("live/secret", "secret\n")
    live = {"patterns": ["live/**"], "operations": ["write", "delete"], "live": True, "allow_danger": MEANT}
    host.policy({**SHELL, "file": [live, reading("other/*")]})
    host.write("other/a", "a\n")
    ran = host.launch("sh", "-c", "mv live/secret live/moved; cat live/moved; mv live/moved other/a; cat other/a")
    assert ran.out == "a\n", ran
    assert host.read("live/moved") == "secret\n"


def test_07_a_file_that_may_only_be_changed_reads_as_noise(host: Host) -> None:
    host.write("d/log", "secret\n")
    host.policy({**SHELL, "file": [{"patterns": ["d/log"], "operations": ["append"]}]})
    ran = host.launch("sh", "-c", "cat d/log; echo more >> d/log")
    assert len(ran.raw) == 7 and b"secret" not in ran.raw and host.read("d/log") == "secret\nmore\n", ran


def test_08_modes_stay(host: Host) -> None:
    old = host.write("d/old", "old\n")
    host.policy({**SHELL, "file": [{"patterns": ["d/*"], "operations": ["read", "write"]}]})
    ran = host.launch("sh", "-c", "echo new > d/new; chmod 777 d/new d/old; ls -l d")
    assert ran.out.count("rwxrwxrwx") == 2, ran
    assert [stat.S_IMODE(os.stat(path).st_mode) for path in (old, f"{host.workspace}/d/new")] == [0o644, 0o644]


def test_09_a_script_below_tmp_is_not_trusted(host: Host) -> None:
    host.workspace = tempfile.mkdtemp(prefix="mlsandbox-workspace-", dir="/tmp")
    try:
        os.chmod(host.workspace, 0o755)
        host._own(host.workspace)
        script = host.write("tool/hello", "#!/usr/bin/python3\nprint('hello')\n", 0o755)
        host.policy({**SHELL, "cmd": [script]})
        assert host.launch("sh", "-c", f"{script}; echo end").out == "end\n"
    finally:
        shutil.rmtree(host.workspace)


def test_the_page_lists_them_and_no_more_than_ten() -> None:
    with open(PAGE, encoding="utf-8") as file:
        rows = [int(line.split("|")[1]) for line in file if re.fullmatch(r"\| \d+ \|.*\n", line)]
    tests = sorted(int(name[5:7]) for name in globals() if re.fullmatch(r"test_\d\d_\w+", name))
    assert rows == tests == list(range(1, len(rows) + 1))
    assert len(rows) <= 10
