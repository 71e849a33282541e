"""Verdicts that the agreement test (tests/agreement) found to differ between the process and the kernel, each by itself."""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import TYPE_CHECKING

import pytest

from tests.agreement.generator import MEANT
from tests.sandboxed import Host

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.kernel
SHELL = {"sh": True, "cmd": ["cat", "mkdir", "ls", "mv", "rm", "ln"]}


def test_a_live_tree_inside_a_staged_one_is_refused(host: Host) -> None:
    """Landlock's rights are inherited through mounts: the live tree had all rights of the staged area around it, so a
    grant of reading and deleting let the job write to the host."""
    host.write("live/old", "old\n")
    file = [
        {"patterns": ["live/**"], "operations": ["read", "delete"], "live": True, "allow_danger": MEANT},
        {"patterns": ["**/x"], "operations": ["write"]},
    ]
    host.policy({**SHELL, "file": file})
    ran = host.launch("sh", "-c", "echo evil > live/new; echo more >> live/old")
    assert ran.status == 126 and "one inside the other" in ran.err, ran
    assert os.listdir(f"{host.workspace}/live") == ["old"] and host.read("live/old") == "old\n"


def test_names_that_are_readable_around_a_live_tree_do_not_make_it_readable(host: Host) -> None:
    host.write("live/secret", "secret\n")
    host.write("a.csv", "a\n")
    file = [
        {"patterns": ["live/**"], "operations": ["write"], "live": True, "allow_danger": MEANT},
        {"patterns": ["**/*.csv"], "operations": ["read"]},
    ]
    host.policy({**SHELL, "file": file})
    ran = host.launch("sh", "-c", "cat a.csv; cat live/secret; echo new > live/new; echo end")
    assert ran.out == "a\nend\n" and host.read("live/new") == "new\n", ran


def test_a_program_and_a_live_tree_have_a_place_in_a_staged_area(host: Host) -> None:
    """Their names may not be read, so they were not in the snapshot, and could not be mounted."""
    host.write("tool/hello", "#!/bin/sh\necho hello\n", 0o755)
    host.policy(
        {
            **SHELL,
            "cmd": [f"{host.workspace}/tool/hello", "ls"],
            "file": [{"patterns": ["**/x"], "operations": ["write"]}],
        }
    )
    ran = host.launch("sh", "-c", "tool/hello; cd tool; ./hello; ls; echo new > ../x")
    assert ran.out == "hello\nhello\nhello\n" and host.read("x") == "new\n", ran


def test_a_granted_script_in_a_staged_tree_cannot_be_replaced(host: Host) -> None:
    """Its name counts because it is a mount there, and what is above it is of the lower layer: EBUSY, EXDEV."""
    script = host.write("tool/hello", "#!/usr/bin/python3\nprint('hello')\n", 0o755)
    host.write("tool/deep/other", "other\n")
    everything = [{"patterns": ["**"], "operations": ["read", "write", "delete"]}]
    host.policy(
        {
            "py": True,
            "cmd": [script],
            "file": everything,
            "path": [{"patterns": ["**"], "operations": ["read", "write"]}],
        }
    )
    code = """
import ctypes, os, subprocess
libc = ctypes.CDLL(None, use_errno=True)
def attempt(*words):
    try: words[0](*words[1:]); print('done', words[1:])
    except OSError as error: print(error.errno)
def exchange(a, b):
    if libc.renameat2(-100, a.encode(), -100, b.encode(), 2): raise OSError(ctypes.get_errno(), 'exchange')
os.mkdir('fake'); open('fake/hello', 'w').write("#!/usr/bin/python3\\nprint('evil')\\n"); os.chmod('fake/hello', 0o755)
attempt(os.rename, 'tool', 'gone'); attempt(exchange, 'tool', 'fake'); attempt(os.unlink, 'tool/hello'); attempt(os.rename, 'fake/hello', 'tool/hello')
attempt(exchange, 'tool/hello', 'fake/hello'); attempt(os.rmdir, 'tool'); attempt(os.link, 'fake/hello', 'tool/hello')
print(subprocess.run(['tool/hello'], stdout=-1).stdout); print(subprocess.run(['/usr/bin/python3', 'fake/../tool/hello'], stdout=-1).stdout)
"""
    ran = host.python(code)
    assert "done" not in ran.out and "evil" not in ran.out, ran
    assert "b'hello\\n'" in ran.out, ran


def test_a_deny_of_writing_hides_nothing(host: Host) -> None:
    host.write("d/in/a.txt", "a\n")
    deny = {
        "path": [{"patterns": ["d/in/*"], "operations": ["write"]}],
        "file": [{"patterns": ["d/**/a.txt"], "operations": ["delete"]}],
    }
    host.policy({**SHELL, "file": [{"patterns": ["d/*/a.txt"], "operations": ["read"]}]}, deny=deny)
    assert host.launch("cat", "d/in/a.txt").out == "a\n"


def test_a_deny_of_making_directories_leaves_those_that_are_there(host: Host) -> None:
    host.write("d/in/old", "old\n")
    file = [{"patterns": ["d/in/new"], "operations": ["append"]}]
    host.policy({**SHELL, "file": file}, deny={"path": [{"patterns": ["d/**"], "operations": ["write"]}]})
    ran = host.launch("sh", "-c", "echo new >> d/in/new; mkdir d/in/dir; ls d/in")
    assert ran.out == "dir\nnew\n" and host.read("d/in/new") == "new\n", ran
    assert not os.path.exists(f"{host.workspace}/d/in/dir")


def test_a_directory_is_made_in_one_without_granted_names(host: Host) -> None:
    host.write("d/in/old", "old\n")
    host.policy({**SHELL, "path": [{"patterns": ["d/*/new"], "operations": ["write"]}]})
    ran = host.launch("sh", "-c", "ls d/in; mkdir d/in/new")
    assert ran.status == 0 and ran.out == "" and os.path.isdir(f"{host.workspace}/d/in/new"), ran


def test_names_that_may_be_listed_are_shown_in_a_staged_tree(host: Host) -> None:
    host.write("d/a.txt", "secret\n")
    host.policy(
        {
            **SHELL,
            "path": [{"patterns": ["d/**"], "operations": ["read"]}],
            "file": [{"patterns": ["d/new"], "operations": ["write"]}],
        }
    )
    ran = host.launch("sh", "-c", "ls d; cat d/a.txt; echo new > d/new")
    assert ran.out.startswith("a.txt\n") and "secret" not in ran.out and host.read("d/new") == "new\n", ran


@pytest.fixture
def below_tmp(host: Host) -> Iterator[Host]:
    """The same host with a workspace below /tmp, where the job has a private, writable file system of its own."""
    host.workspace = tempfile.mkdtemp(prefix="mlsandbox-workspace-", dir="/tmp")
    os.chmod(host.workspace, 0o755)
    host._own(host.workspace)
    yield host
    shutil.rmtree(host.workspace)


def test_a_live_tree_below_tmp_is_refused(below_tmp: Host) -> None:
    """It had the rights of the private /tmp around it."""
    below_tmp.write("live/old", "old\n")
    below_tmp.policy(
        {
            **SHELL,
            "file": [{"patterns": ["live/**"], "operations": ["read", "delete"], "live": True, "allow_danger": MEANT}],
        }
    )
    ran = below_tmp.launch("sh", "-c", "echo evil > live/new; echo more >> live/old")
    assert ran.status == 126 and "/tmp" in ran.err, ran
    assert os.listdir(f"{below_tmp.workspace}/live") == ["old"] and below_tmp.read("live/old") == "old\n"


def test_names_that_may_only_be_listed_are_not_readable_below_tmp(below_tmp: Host) -> None:
    for name in ("whole/a.txt", "some/a.txt"):
        below_tmp.write(name, "secret\n")
    below_tmp.policy({**SHELL, "path": [{"patterns": ["whole/**", "some/*.txt"], "operations": ["read"]}]})
    ran = below_tmp.launch("sh", "-c", "cat whole/a.txt some/a.txt; ls whole; echo end")
    assert "secret" not in ran.out and ran.out.endswith("end\n"), ran


def test_programs_below_tmp_do_not_exchange_their_names(below_tmp: Host) -> None:
    """The job moved the directories above two granted programs: one ran with the arguments that the other may have."""
    for name, program in (("t1/x", "id"), ("t2/x", "echo")):
        with open(f"/usr/bin/{program}", "rb") as file:
            below_tmp.write(name, file.read(), 0o755)
    top = below_tmp.workspace
    below_tmp.policy({"sh": True, "cmd": ["mv", f"{top}/t1/x -u", f"{top}/t2/x:*"]})
    ran = below_tmp.launch("sh", "-c", "t2/x fine; mv t1 t3 && mv t2 t1 && mv t3 t2; t2/x -g; t1/x -u; echo end")
    assert ran.out == "fine\nend\n", ran
