"""Attacks that make root's processes act for a tenant: what he passes, and what his rights were a moment ago.

The kernel asks some files who reads or writes them, not who opened them: a tenant who has his output written by a
process of root's would write as root.
"""

from __future__ import annotations

import _socket
import os
import socket
import struct
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import pytest

from launcher.errors import SandboxError
from launcher.kernel import libc
from launcher.service.remote import Remote
from launcher.service.request import Request
from tests.serving import Bed, as_user

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the service is root's")
_PR_SET_DUMPABLE = 4
_FIELDS_OF_ADDRESSES = slice(25, 28)  # of /proc/PID/stat: where code begins and ends, and the stack (0 for strangers)


@pytest.fixture(scope="module")
def bed(installation: str) -> Iterator[Bed]:
    made = Bed(installation)
    made.policy({"cmd": ["true", "cat", "id"], "sh": True})
    made.start()
    yield made
    print(made.log())
    made.remove()


def launch(bed: Bed, command: list[str], given: Callable[[], int] | None, taken: Callable[[], int] | None) -> str:
    """What alice's job ended with; `given` and `taken` open its standard input and output as alice."""

    def run() -> str:
        null = os.open("/dev/null", os.O_RDWR)
        request = Request()
        request.cwd, request.command = bed.workspace(bed.alice), command
        request.stdio = (given() if given else null, taken() if taken else null, null)
        try:
            return str(Remote(bed.client(), request).wait()["exit_code"])
        except SandboxError as error:
            return error.message

    return str(as_user(bed.alice, run))


def test_output_into_another_ones_proc_file_is_not_written_with_roots_rights(bed: Bed) -> None:
    """timerslack_ns is anybody's to open for writing (0666), and CAP_SYS_NICE is asked of who writes."""
    assert bed.process
    path = f"/proc/{bed.process.pid}/timerslack_ns"
    with open(path, encoding="ascii") as file:
        before = file.read()
    said = launch(bed, ["sh", "-c", "echo 123456789"], None, lambda: os.open(path, os.O_WRONLY))
    with open(path, encoding="ascii") as file:
        assert file.read() == before
    assert "stream" in said


def test_a_tenant_cannot_put_his_processes_beyond_the_oom_killer(bed: Bed) -> None:
    """oom_score_adj is its owner's to open; CAP_SYS_RESOURCE is asked of who writes less than before."""

    def run() -> tuple[str, str]:
        libc.prctl(_PR_SET_DUMPABLE, 1)  # as after an execve: /proc/self is alice's
        null = os.open("/dev/null", os.O_RDWR)
        request = Request()
        request.cwd, request.command = bed.workspace(bed.alice), ["sh", "-c", "echo -1000"]
        request.stdio = (null, os.open("/proc/self/oom_score_adj", os.O_WRONLY), null)
        try:
            said = str(Remote(bed.client(), request).wait()["exit_code"])
        except SandboxError as error:
            said = error.message
        with open("/proc/self/oom_score_adj", encoding="ascii") as file:
            return file.read().strip(), said

    score, said = as_user(bed.alice, run)
    assert score != "-1000"
    assert "stream" in said


def test_input_from_another_ones_proc_file_is_not_read_with_roots_rights(bed: Bed) -> None:
    """/proc/PID/stat is anybody's to open; the addresses in it are for who may trace the process, asked at the read."""
    assert bed.process
    path = f"/proc/{bed.process.pid}/stat"
    copy = f"{bed.workspace(bed.alice)}/stat.txt"
    said = launch(
        bed, ["cat"], lambda: os.open(path, os.O_RDONLY), lambda: os.open(copy, os.O_WRONLY | os.O_CREAT, 0o644)
    )  # fmt: skip
    with open(copy, encoding="utf-8") as file:
        text = file.read()
    assert text == "" or set(text.rpartition(")")[2].split()[_FIELDS_OF_ADDRESSES]) <= {"0", "1"}, text
    assert "stream" in said


@pytest.mark.parametrize("kind", [_socket.SOCK_STREAM, _socket.SOCK_DGRAM, _socket.SOCK_SEQPACKET])
def test_a_daemon_that_asks_the_kernel_who_writes_is_not_told_root(bed: Bed, kind: int) -> None:
    """SO_PASSCRED (systemd's notify socket, the journal): the ids are those of the process that writes."""
    path = f"{bed.top}/daemon-{kind}"
    daemon = socket.socket(socket.AF_UNIX, kind)
    daemon.setsockopt(_socket.SOL_SOCKET, _socket.SO_PASSCRED, 1)
    daemon.settimeout(3)
    daemon.bind(path)
    os.chmod(path, 0o666)
    if kind != _socket.SOCK_DGRAM:
        daemon.listen()
    told: list[int] = []

    def serve() -> None:
        try:
            end = daemon.dup() if kind == _socket.SOCK_DGRAM else daemon.accept()[0]
            with end:
                end.settimeout(3)
                _data, ancillary, _flags, _address = end.recvmsg(100, 1000)
                told.extend(struct.unpack("iii", item[2])[1] for item in ancillary)
        except OSError:
            return

    def connected() -> int:
        made = socket.socket(socket.AF_UNIX, kind)
        made.connect(path)
        return made.detach()

    thread = threading.Thread(target=serve)
    thread.start()
    said = launch(bed, ["sh", "-c", "echo MAINPID=1"], None, connected)
    thread.join()
    daemon.close()
    assert 0 not in told
    if kind == _socket.SOCK_STREAM:  # a journal's: what is said there is said by the tenant
        assert (told, said) == ([bed.alice.pw_uid], "0")
    else:
        assert "stream" in said


GROUP = "mlsandbox-redteam"


@pytest.fixture
def member(bed: Bed) -> Iterator[int]:
    """The id of a group that alice is in; `leave` takes her out."""
    subprocess.run(["groupadd", "-f", GROUP], check=True)
    subprocess.run(["gpasswd", "-a", bed.alice.pw_name, GROUP], check=True, capture_output=True)
    yield int(subprocess.run(["getent", "group", GROUP], check=True, capture_output=True).stdout.split(b":")[2])
    subprocess.run(["groupdel", GROUP], check=True)


def leave(bed: Bed) -> None:
    subprocess.run(["gpasswd", "-d", bed.alice.pw_name, GROUP], check=True, capture_output=True)


def test_a_group_that_was_taken_away_is_not_in_the_sandboxes_that_wait(bed: Bed, member: int) -> None:
    """Sandboxes are made ahead with the groups of that moment, by a fork server that has them too."""
    path = f"{bed.top}/only-for-members"
    with open(path, "w", encoding="ascii") as file:
        file.write("what members may read\n")
    os.chown(path, 0, member)
    os.chmod(path, 0o640)
    bed.policy(
        {"cmd": ["cat", "true"], "file": [{"patterns": [path], "operations": ["read"]}]}, bed.alice, name="members"
    )

    def read() -> bytes:
        ran = bed.run(bed.alice, "launch", "--", "sh", "-c", f"exec cat {path}")
        return ran.stdout

    assert read() == b"what members may read\n"
    time.sleep(0.3)  # some wait now
    leave(bed)
    assert read() == b""


def test_an_operator_who_is_none_any_more_is_none_on_a_connection_that_he_has(bed: Bed, member: int) -> None:
    assert member
    bed.config(f"operators: {GROUP}\n")
    asking, answering = os.pipe(), os.pipe()

    def run() -> list[str]:
        client, said = bed.client(), []
        for _ in range(2):
            try:
                client.call("ps", {"all": True})
                said.append("shown")
            except SandboxError:
                said.append("refused")
            os.write(answering[1], b".")
            os.read(asking[0], 1)
        return said

    def revoke() -> None:
        os.read(answering[0], 1)
        leave(bed)
        time.sleep(1.2)
        os.write(asking[1], b"..")

    thread = threading.Thread(target=revoke)
    thread.start()
    try:
        assert as_user(bed.alice, run) == ["shown", "refused"]
    finally:
        thread.join()
        for fd in (*asking, *answering):
            os.close(fd)
