"""A changed policy holds for the running job: what it forbids is cut within seconds, what it keeps goes on."""

from __future__ import annotations

import json
import os
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.service.local_servers import EchoServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.sandboxed import Host

pytestmark = pytest.mark.kernel
SOON = 15.0  # seconds; a changed policy is noticed within one, on a machine that is not busy with other tests

# Opens a tunnel to each port and says each second which of them still carry a byte there and back.
TUNNELS = """
import socket, sys, time
tunnels = {port: socket.create_connection(('localhost', int(port)), 10) for port in sys.argv[1:]}
def alive(tunnel):
    try: tunnel.sendall(b'x'); return tunnel.recv(1) == b'x'
    except OSError: return False
while True:
    print(*[port for port, tunnel in tunnels.items() if alive(tunnel)], flush=True)
    time.sleep(0.1)
"""


def tcp(*ports: int) -> dict[str, Any]:
    network = [{"hosts": [f"localhost:{port}"], "operations": ["tcp"], "allow_loopback": True} for port in ports]
    return {"py": True, "network": network}


@pytest.fixture
def echo() -> Iterator[tuple[int, int]]:
    first, second = EchoServer(), EchoServer()
    yield first.port, second.port
    first.close()
    second.close()


@contextmanager
def tunnels(host: Host, *ports: int) -> Iterator[subprocess.Popen[bytes]]:
    words = ["launch", "--", "python3", "-I", "-c", TUNNELS, *map(str, ports)]
    process = host.popen(*words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        until(process, set(map(str, ports)))
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=30)


def until(process: subprocess.Popen[bytes], wanted: set[str]) -> None:
    """Reads what the job says until just these tunnels live."""
    assert process.stdout is not None
    end, said, line = time.monotonic() + SOON, [], b""
    while time.monotonic() < end:
        line = process.stdout.readline()
        if not line:
            break
        said.append(set(line.decode().split()))
        if said[-1] == wanted:
            return
    raise AssertionError((wanted, said[-3:], process.stderr.read() if process.stderr and not line else b""))


def reloads(host: Host) -> list[dict[str, Any]]:
    return [event for event in host.audit() if event["event"] == "egress.reload"]


def test_a_changed_policy_cuts_what_it_forbids_and_no_more(host: Host, echo: tuple[int, int]) -> None:
    kept, dropped = echo
    host.policy(tcp(kept, dropped))
    with tunnels(host, kept, dropped) as process:
        host.policy(tcp(kept))
        until(process, {str(kept)})
    cut = [event for event in host.audit() if event["event"] == "egress" and event["detail"].get("reason") == "revoked"]
    assert [event["resource"] for event in cut] == [f"localhost:{dropped}"], cut
    assert [event["outcome"] for event in reloads(host)] == ["ALLOWED"]


def test_a_revoked_policy_cuts_everything(host: Host, echo: tuple[int, int]) -> None:
    host.policy(tcp(*echo))
    with tunnels(host, *echo) as process:
        revoked = host.run("admin", "revoke", "test", "--user", host.name)
        assert revoked.returncode == 0, revoked
        until(process, set())
    event = reloads(host)[-1]
    assert event["outcome"] == "DENIED" and "no policy applies" in event["detail"]["reason"], event


def test_a_disabled_user_is_cut(host: Host, echo: tuple[int, int]) -> None:
    host.policy(tcp(*echo))
    with tunnels(host, *echo) as process:
        path = f"{host.root}/config.yaml"
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"disabled_users": [host.name]}, file)
        if os.geteuid() == 0:
            os.chown(path, host.uid, host.gid)
        until(process, set())


def test_a_policy_that_cannot_be_read_changes_nothing_and_is_told(host: Host, echo: tuple[int, int]) -> None:
    host.policy(tcp(*echo))
    path = f"{host.root}/policies/test.json"
    with open(path, encoding="utf-8") as file:
        good = file.read()
    with tunnels(host, *echo) as process:
        with open(path, "w", encoding="utf-8") as file:
            file.write(good[: len(good) // 2])
        end = time.monotonic() + SOON
        while not reloads(host) and time.monotonic() < end:
            until(process, set(map(str, echo)))
            time.sleep(0.2)
        assert "stay as they were" in reloads(host)[-1]["detail"]["reason"]
        until(process, set(map(str, echo)))
        host.policy(tcp(echo[0]))
        until(process, {str(echo[0])})


def test_what_is_granted_meanwhile_can_be_reached(host: Host, echo: tuple[int, int]) -> None:
    """A port that was not granted at the start, in the namespace with redirection: every port leads to the proxy."""
    code = (
        "import socket, sys, time\n"
        "print('up', flush=True)\n"
        "while True:\n"
        "    try:\n"
        "        with socket.create_connection(('late.example.com', 443), 5): print('reached', flush=True)\n"
        "    except OSError: print('no', flush=True)\n"
        "    time.sleep(0.1)\n"
    )
    host.policy(tcp(echo[0]))
    process = host.popen("launch", "--", "python3", "-I", "-c", code, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(2)] == [b"up\n", b"no\n"]
        grants = tcp(echo[0])
        grants["network"].append({"hosts": ["late.example.com"], "operations": ["https"]})
        host.policy(grants)
        end = time.monotonic() + SOON
        while process.stdout.readline() != b"reached\n":
            assert time.monotonic() < end
    finally:
        process.terminate()
        process.communicate(timeout=30)
