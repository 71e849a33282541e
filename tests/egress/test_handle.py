"""launcher.egress.handle: the process around the proxy, as the supervisor sees it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time

import pytest

from launcher.egress import handle, topology
from launcher.errors import EnforcementError
from tests.egress.world import _fork, grant, unshare_network

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
pytestmark = pytest.mark.kernel


def network(*grants: object, generation: int = 1) -> dict[str, object]:
    return {"grants": [g.to_data() for g in grants], "denies": [], "generation": generation}  # type: ignore[attr-defined]


def namespace(*grants: object) -> tuple[socket.socket, int]:
    """A job's namespace whose process sends its listeners, then connects to what it is told and says what happened."""
    ours, theirs = socket.socketpair()

    def body() -> None:
        unshare_network()
        topology.send_listeners(theirs, topology.build(grants))  # type: ignore[arg-type]
        while request := theirs.recv(1000):
            address, port = request.decode().split()
            try:
                with socket.create_connection((address, int(port)), 5) as conn:
                    conn.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                    answer = conn.recv(4096)
            except OSError as error:
                answer = str(error.errno).encode()
            theirs.sendall(answer or b"EOF")

    pid = _fork(body, keep=[theirs.fileno()])
    theirs.close()
    return ours, pid


def asked(channel: socket.socket, address: str, port: int) -> bytes:
    channel.sendall(f"{address} {port}".encode())
    return channel.recv(4096)


def test_a_whole_launch_and_its_end() -> None:
    wanted = grant(["api.example.com"], ("http",))
    proxy = handle.start(network(wanted), {})
    channel, pid = namespace(wanted)
    assert proxy.ready()["ca"] == ""
    proxy.give(topology.receive_listeners(channel))
    assert b"403" in asked(channel, "1.2.3.4", 80)
    end = time.monotonic() + 5
    events: list[bytes] = []
    while not events and time.monotonic() < end:
        events += proxy.read_events()
        time.sleep(0.01)
    event = json.loads(events[0])
    assert (event["outcome"], event["resource"]) == ("DENIED", "1.2.3.4:80")
    assert proxy.totals()["denied"] == 1
    assert proxy.stop()["denied"] == 1
    # The listening sockets are gone with the proxy: closed, not open.
    assert asked(channel, "1.2.3.4", 80) == b"111"
    assert asked(channel, "127.0.0.1", topology.PROXY_PORT) == b"111"
    channel.close()
    os.waitpid(pid, 0)


def test_a_killed_proxy_leaves_no_network() -> None:
    wanted = grant(["api.example.com"], ("http",))
    proxy = handle.start(network(wanted), {})
    channel, pid = namespace(wanted)
    proxy.ready()
    proxy.give(topology.receive_listeners(channel))
    assert b"403" in asked(channel, "1.2.3.4", 80)
    os.kill(proxy.pid, 9)
    end = time.monotonic() + 2
    while asked(channel, "1.2.3.4", 80) != b"111":
        assert time.monotonic() < end
    assert proxy.stop() == {}
    channel.close()
    os.waitpid(pid, 0)


def test_the_proxy_ends_when_its_line_closes() -> None:
    proxy = handle.start(network(grant(["api.example.com"])), {})
    proxy.ready()
    proxy.give([])
    proxy._control.close()
    end = time.monotonic() + 2
    while os.waitpid(proxy.pid, os.WNOHANG)[0] == 0:
        assert time.monotonic() < end, "the proxy outlives its supervisor"
        time.sleep(0.01)
    os.close(proxy.events)


def test_rules_that_cannot_be_enforced_refuse_the_launch() -> None:
    proxy = handle.start(network(grant(["foo.localhost"])), {})
    with pytest.raises(EnforcementError, match="special-use"):
        proxy.ready()
    proxy.stop()


def test_unknown_settings_are_refused() -> None:
    proxy = handle.start(network(grant(["api.example.com"])), {"limit": {}})
    with pytest.raises(EnforcementError, match="unknown egress settings"):
        proxy.ready()
    proxy.stop()


def test_the_authority_is_made_where_it_is_needed_and_its_key_is_not_told() -> None:
    proxy = handle.start(network(grant(["api.example.com/v1/*"])), {"job": "j1"})
    told = proxy.ready()
    assert told["ca"].startswith("-----BEGIN CERTIFICATE") and "PRIVATE" not in json.dumps(told)
    proxy.stop()


def test_nothing_of_the_supervisor_is_inherited() -> None:
    if os.geteuid():
        pytest.skip("not dumpable: only root can look at its descriptors")
    with open("/etc/hostname", "rb") as canary:
        fd = os.dup2(canary.fileno(), 77, inheritable=True)
        proxy = handle.start(network(grant(["api.example.com"])), {})
        proxy.ready()
        links = {os.readlink(f"/proc/{proxy.pid}/fd/{name}") for name in os.listdir(f"/proc/{proxy.pid}/fd")}
        os.close(fd)
    assert not [link for link in links if "hostname" in link]
    assert len(links) <= 5
    proxy.stop()


def test_its_memory_is_closed_to_others_of_the_same_user() -> None:
    proxy = handle.start(network(grant(["api.example.com"])), {"secrets": {"S": "value"}})
    proxy.ready()
    # Not dumpable: its files in /proc belong to root, and nobody of the same user may trace it.
    assert os.stat(f"/proc/{proxy.pid}/mem").st_uid == 0
    with open(f"/proc/{proxy.pid}/status") as file:
        assert "NoNewPrivs:\t1" in file.read()
    proxy.stop()


def test_prepare_runs_before_anything_else() -> None:
    if os.geteuid():
        pytest.skip("only root can drop ids")

    def drop() -> None:
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)

    proxy = handle.start(network(grant(["api.example.com"])), {}, drop)
    proxy.ready()
    with open(f"/proc/{proxy.pid}/status") as file:
        assert "Uid:\t65534\t65534\t65534" in file.read()
    proxy.stop()


def test_a_stuck_event_pipe_does_not_block_stop() -> None:
    """stop() reads events while it waits: more than a pipe holds must not deadlock the two."""
    wanted = grant(["api.example.com"], ("http",))
    proxy = handle.start(network(wanted), {})
    channel, pid = namespace(wanted)
    proxy.ready()
    proxy.give(topology.receive_listeners(channel))
    for _ in range(150):
        asked(channel, "1.2.3.4", 80)
    done = threading.Thread(target=proxy.stop)
    done.start()
    done.join(5)
    assert not done.is_alive()
    channel.close()
    os.waitpid(pid, 0)


def test_json_of_the_launch_path_is_json() -> None:
    value = {"a": [1, True, False, None, "x\n\u1234\udc80", {"b": (2, -3)}], "c": 0}
    assert json.loads(handle._json(value)) == json.loads(json.dumps(value))


def test_the_launch_path_stays_light() -> None:
    program = f"import sys; sys.path.insert(0, {ROOT!r}); import launcher.egress.handle, launcher.kernel.nft; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=True)
    heavy = {"socket", "struct", "ctypes", "re", "enum", "typing", "dataclasses", "subprocess", "json", "collections"}
    assert not heavy & set(done.stdout.split())
