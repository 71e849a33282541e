"""Programs that were read before: found by content, name, user and front end only, and believed only when whole."""

from __future__ import annotations

import glob
import os
from typing import TYPE_CHECKING

import pytest

from launcher.canonical import sha256_hex
from launcher.identity.user import User
from launcher.language.program import compile_program
from launcher.service import known_programs
from launcher.service.known_programs import KnownProgram

if TYPE_CHECKING:
    from pathlib import Path

    from tests.sandboxed import Host

ALICE, BOB = User("alice", uid=1001, gid=1001), User("bob", uid=1002, gid=1002)
ENTRY = (b'{"needs": []}', b"code")


def test_what_is_kept_is_found(tmp_path: Path) -> None:
    known = KnownProgram(b"x = 1;", "job.ml", ALICE, str(tmp_path))
    assert known.find() is None
    known.keep(*ENTRY)
    assert KnownProgram(b"x = 1;", "job.ml", ALICE, str(tmp_path)).find() == ENTRY


@pytest.mark.parametrize(
    ("source", "name", "user"), [(b"x = 2;", "job.ml", ALICE), (b"x = 1;", "a.ml", ALICE), (b"x = 1;", "job.ml", BOB)]
)
def test_another_question_has_no_answer(source: bytes, name: str, user: User, tmp_path: Path) -> None:
    KnownProgram(b"x = 1;", "job.ml", ALICE, str(tmp_path)).keep(*ENTRY)
    assert KnownProgram(source, name, user, str(tmp_path)).find() is None


def test_another_front_end_reads_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    KnownProgram(b"x = 1;", "job.ml", ALICE, str(tmp_path)).keep(*ENTRY)
    monkeypatch.setattr(known_programs, "code_identity", lambda: "another bundle")
    assert KnownProgram(b"x = 1;", "job.ml", ALICE, str(tmp_path)).find() is None


def entry(directory: Path) -> Path:
    (found,) = directory.glob("program-*")
    return found


def test_half_an_entry_and_a_changed_one_are_none(tmp_path: Path) -> None:
    known = KnownProgram(b"x = 1;", "job.ml", ALICE, str(tmp_path))
    known.keep(*ENTRY)
    whole = entry(tmp_path).read_bytes()
    for length in range(len(whole)):
        entry(tmp_path).write_bytes(whole[:length])
        assert known.find() is None, length
    for place in range(len(whole)):
        entry(tmp_path).write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert known.find() is None, place


def test_what_others_could_have_written_is_not_believed(tmp_path: Path) -> None:
    known = KnownProgram(b"x = 1;", "job.ml", ALICE, str(tmp_path))
    known.keep(*ENTRY)
    entry(tmp_path).chmod(0o666)
    assert known.find() is None


def test_large_programs_are_read_each_time(tmp_path: Path) -> None:
    known = KnownProgram(b"x = 1;", "job.ml", ALICE, str(tmp_path))
    known.keep(b"{}", b"x" * known_programs.LARGEST)
    assert known.find() is None


def replace_code(path: str, source: str, name: str) -> None:
    """What the owner of the cache could do: another program under the same key, with a right checksum."""
    with open(path, "rb") as file:
        whole = file.read()
    head = len(known_programs._MAGIC) + 64
    body = whole[head + 64 :]
    end = 8 + int(body[:8], 16)
    body = body[:end] + compile_program(source.encode(), name).to_bytes()
    with open(path, "wb") as file:
        file.write(whole[:head] + sha256_hex(body).encode() + body)


@pytest.mark.kernel
def test_a_second_launch_runs_what_the_first_compiled(host: Host) -> None:
    host.policy({})
    host.write("main.ml", 'print("as written");\n')
    assert host.launch("main.ml").out == "as written\n"
    (path,) = glob.glob(f"{host.top}/**/program-*", recursive=True)
    assert os.stat(path).st_mode & 0o077 == 0
    replace_code(path, 'print("from the cache");', "main.ml")
    assert host.launch("main.ml").out == "from the cache\n"
    host.write("main.ml", 'print("as written now");\n')
    assert host.launch("main.ml").out == "as written now\n"


@pytest.mark.kernel
def test_a_program_with_user_modules_is_compiled_with_them(host: Host) -> None:
    host.policy({})
    host.write("main.ml", 'import util;\nprint("main");\n')
    assert host.launch("main.ml").out == "main\n"  # there is no such module: its import binds nothing
    host.write("util.ml", 'print("util");\n')
    assert host.launch("main.ml").out == "util\nmain\n"


@pytest.mark.kernel
def test_a_program_with_mistakes_is_refused_each_time(host: Host) -> None:
    host.policy({})
    host.write("main.ml", "x = = 1;\n")
    first, second = host.launch("main.ml"), host.launch("main.ml")
    assert first.status == second.status == 125
    assert first.err == second.err and "main.ml:1:5" in second.err


@pytest.mark.kernel
def test_what_was_declared_is_held_against_the_grants_of_today(host: Host) -> None:
    """The answer is remembered, the verdict is not."""
    host.policy({"file": [{"patterns": ["data/*"], "operations": ["read"]}]})
    host.write("main.ml", 'capability F { resource "data/*"; allow read; }\nprint("ran");\n')
    assert host.launch("main.ml").out == "ran\n"
    host.policy({"file": [{"patterns": ["other/*"], "operations": ["read"]}]})
    ran = host.launch("main.ml")
    assert (ran.status, ran.out) == (126, "")
