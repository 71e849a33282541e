"""Attacks on the service by a tenant who speaks the raw protocol, and by code in a job that it launched.

The tenant is a local user with a program of his own instead of our client: nothing that our client does for him can be
relied on. What he may reach is the socket, his own jobs and their pid 1.
"""

from __future__ import annotations

import _socket
import os
import pwd
import random
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import jwt
import pytest

from launcher.errors import SandboxError
from launcher.service.client import Client
from launcher.service.remote import Remote
from launcher.service.request import Request
from launcher.service.wire import MAGIC, Connection, encode
from tests.enforce.namespace.test_canary import LOOK, VISIBLE, belongings, memory, nonce
from tests.serving import Bed, as_user

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the service is root's")


@pytest.fixture(scope="module")
def planted(installation: str) -> Iterator[tuple[Bed, dict[str, bytes], str]]:
    """A service where every secret is a canary, the canaries, and a token for alice."""
    bed = Bed(installation)
    names = {what: nonce() for what in ("own policy", "other policy", "key", "audit key", "claim", "environment")}
    bed.policy({"py": True, "cmd": ["true"], "sh": True}, bed.alice, description=names["own policy"])
    bed.policy({"cmd": ["true"]}, bed.bob, name="other", description=names["other policy"])
    key = names["key"] + nonce()
    for name, text in (("jwt.key", key), ("audit.key", names["audit key"])):
        with open(os.open(f"{bed.root}/{name}", os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as file:
            file.write(text)
    bed.config(f"jwt: {{algorithm: HS256, key_file: {bed.root}/jwt.key}}\n")
    now = int(time.time())
    claims = {"sub": bed.alice.pw_name, "iat": now, "nbf": now, "exp": now + 3600, "note": names["claim"]}
    token = jwt.encode(claims, key, algorithm="HS256")
    os.environ["MLSANDBOX_TEST_CANARY"] = names["environment"]
    try:
        bed.start()
    finally:
        del os.environ["MLSANDBOX_TEST_CANARY"]
    canaries = {what: text.encode() for what, text in names.items()}
    canaries["signature"] = token.rpartition(".")[2].encode()
    yield bed, canaries, token
    print(bed.log())
    bed.remove()


@pytest.fixture
def bed(planted: tuple[Bed, dict[str, bytes], str]) -> Bed:
    return planted[0]


def parent(pid: int) -> int:
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        return int(file.read().rpartition(")")[2].split()[1])


def children(pid: int) -> list[int]:
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            found += [int(name)] if parent(int(name)) == pid else []
        except OSError:
            continue
    return found


def running(bed: Bed, *options: str) -> tuple[subprocess.Popen[bytes], int]:
    """A launch by alice of a job that reads all it can, and the process of the job."""
    words = bed.command("launch", *options, "--", "python3", "-I", "-c", LOOK, VISIBLE)
    started = subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **bed.drop(bed.alice)
    )
    assert started.stdout
    assert started.stderr
    out = b""
    while b"ALL-READ" not in out:
        chunk = os.read(started.stdout.fileno(), 1 << 20)
        assert chunk, (out[-300:], started.stderr.read())
        out += chunk
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/cmdline", "rb") as file:
                line = file.read()
        except OSError:
            continue
        if line.startswith(b"python3\0-I\0") and VISIBLE.encode() in line and b"launch" not in line:
            return started, int(name)
    raise AssertionError("the job is not there")


def end(started: subprocess.Popen[bytes]) -> None:
    started.kill()
    started.communicate()


def test_nothing_of_the_service_is_in_the_job_its_pid_1_or_what_forked_them(
    planted: tuple[Bed, dict[str, bytes], str],
) -> None:
    bed, canaries, token = planted
    assert bed.run(bed.bob, "launch", "--", "true").returncode == 0  # bob's policy has been read by then
    started, job = running(bed, "--token", token)
    try:
        init, fork_server = parent(job), parent(parent(job))
        zygote = parent(fork_server)
        assert bed.process
        assert parent(zygote) == bed.process.pid
        found = []
        for who, pid in (("job", job), ("pid 1", init), ("fork server", fork_server), ("zygote", zygote)):
            held = memory(pid) + belongings(pid)
            assert len(held) > 1 << 20
            found += [f"{what} is in the {who}" for what, canary in canaries.items() if canary in held]
        waiting = [pid for pid in children(fork_server) if pid != init]
        found += [f"{what} is in one that waits" for pid in waiting for what, text in canaries.items()
                  if text in memory(pid)]  # fmt: skip
        assert found == []
        # and the search would find what is there
        everything = b"".join([memory(bed.process.pid), *[memory(pid) for pid in children(zygote)]])
        assert {"own policy", "signature"} <= {what for what, canary in canaries.items() if canary in everything}
    finally:
        end(started)


def test_a_job_has_no_descriptor_of_another(bed: Bed) -> None:
    started, job = running(bed)
    try:
        # its three pipes; what else a process of the service has, it has not
        names = [os.readlink(f"/proc/{job}/fd/{fd}").partition(":")[0] for fd in os.listdir(f"/proc/{job}/fd")]
        assert names == ["pipe"] * 4  # the job itself has made a copy of one
        init = parent(job)
        kinds = sorted(os.readlink(f"/proc/{init}/fd/{fd}").partition(":")[0] for fd in os.listdir(f"/proc/{init}/fd"))
        assert kinds == ["pipe", "pipe", "socket"]  # what wakes it, and its channel
    finally:
        end(started)


def test_a_tenant_cannot_touch_the_processes_of_the_service(bed: Bed) -> None:
    started, job = running(bed)
    try:
        fork_server = parent(parent(job))
        zygote = parent(fork_server)
        assert bed.process
        targets = [bed.process.pid, zygote, *children(zygote)]
        assert fork_server in targets

        def touch() -> list[str]:
            done = []
            for pid in targets:
                for what, action in (
                    ("signal", lambda pid=pid: os.kill(pid, signal.SIGSTOP)),
                    ("memory", lambda pid=pid: os.close(os.open(f"/proc/{pid}/mem", os.O_RDWR))),
                    ("descriptors", lambda pid=pid: os.listdir(f"/proc/{pid}/fd")),
                    ("environment", lambda pid=pid: os.close(os.open(f"/proc/{pid}/environ", os.O_RDONLY))),
                ):
                    try:
                        action()
                    except PermissionError:
                        continue
                    done.append(f"{what} of {pid}")
            return done

        assert as_user(bed.alice, touch) == []
    finally:
        end(started)


def test_a_token_of_somebody_else_or_a_forged_one_is_refused(planted: tuple[Bed, dict[str, bytes], str]) -> None:
    bed, _canaries, _token = planted
    forged = jwt.encode({"sub": bed.alice.pw_name, "exp": int(time.time()) + 60}, "k" * 64, algorithm="HS256")
    none = jwt.encode({"sub": bed.alice.pw_name, "exp": int(time.time()) + 60}, "", algorithm="none")
    for token in (forged, none, "x.y.z", "", "\x00"):
        ran = bed.run(bed.bob, "launch", "--token", token or ".", "--", "true") if "\0" not in token else None
        assert ran is None or ran.returncode == 126, ran


def test_peer_credentials_are_those_of_the_process_that_connected(bed: Bed) -> None:
    """A socket that alice connected is alice's wherever it is passed: bob's is never alice's."""

    def run() -> list[str]:
        client = _client(bed)
        users = []
        for claimed in (bed.alice.pw_name, "root", "#0"):
            try:
                client.call("check", {"command": ["true"], "cwd": "/", "user": claimed, "caller": "root", "uid": 0})
                users.append(claimed)
            except SandboxError:
                continue
        return users

    assert as_user(bed.bob, run) == []


def _client(bed: Bed) -> Client:
    socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    socket.connect(bed.locations.socket)
    return Client(Connection(socket))


ODD: list[Any] = [
    None,
    True,
    -1,
    1 << 70,
    "",
    "\0",
    "\udc80",
    "\ud800",
    "../../etc",
    "/proc/self/fd/0",
    [],
    {},
    [[]],
    {"": ""},
    "x" * 70000,
]


def _mutated(rng: random.Random, workspace: str) -> bytes:
    """A message that is nearly one, as bytes on the wire."""
    message: dict[str, Any] = {
        "verb": rng.choice(["launch", "check", "explain", "plan", "submit", "jobs", "logs", "cancel", "ping"]),
        "call": rng.randint(0, 3), "command": ["true"], "cwd": workspace, "environment": {}, "inherited": {},
        "limits": {}, "program": "", "terminal": False, "workspace": None,
    }  # fmt: skip
    for _ in range(rng.randint(1, 3)):
        message[rng.choice([*message, "user", "token", "to", "signal", "source", "start", "ask"])] = rng.choice(ODD)
    try:
        body = encode(message)
    except UnicodeEncodeError:
        body = b"{}"
    data = bytearray(MAGIC + len(body).to_bytes(4, "little") + bytes(4) + body)
    if rng.random() < 0.3:
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data[: rng.randint(1, len(data))]) if rng.random() < 0.2 else bytes(data)


def test_no_message_ends_the_service_or_another_ones_launch(bed: Bed) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")

    def attack() -> None:
        rng = random.Random(seed)
        until = time.monotonic() + 6
        while time.monotonic() < until:
            socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
            socket.settimeout(0.05)
            socket.connect(bed.locations.socket)
            try:
                for _ in range(rng.randint(1, 4)):
                    socket.send(_mutated(rng, "/"))
                    if rng.random() < 0.5:
                        socket.recv(4096)
            except OSError:
                pass
            socket.close()

    pid = os.fork()
    if pid == 0:
        try:
            as_user(bed.bob, attack)
        finally:
            os._exit(0)
    launches = 0
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        assert launched(bed, bed.alice) == 0
        launches += 1
    assert launches > 2
    assert "internal error" not in bed.log(), bed.log()[-3000:]
    assert bed.process
    assert bed.process.poll() is None


def launched(bed: Bed, user: pwd.struct_passwd) -> int:
    def run() -> int:
        request = Request()
        request.cwd, request.command = bed.workspace(user), ["true"]
        null = os.open("/dev/null", os.O_RDWR)
        request.stdio = (null, null, null)
        return int(Remote(_client(bed), request).wait()["exit_code"])

    return int(as_user(user, run))


def test_a_tenant_that_holds_connections_open_does_not_keep_others_out(bed: Bed) -> None:
    reading, writing = os.pipe()

    def hold() -> None:
        held = []
        for _ in range(1100):
            try:
                held.append(_client(bed))
            except OSError:
                break
        os.write(writing, b"x")
        time.sleep(2)

    pid = os.fork()
    if pid == 0:
        try:
            as_user(bed.bob, hold)
        finally:
            os._exit(0)
    os.close(writing)
    assert os.read(reading, 1) == b"x"
    os.close(reading)
    assert launched(bed, bed.alice) == 0
    os.waitpid(pid, 0)
    assert launched(bed, bed.bob) == 0
