"""Without its proxy a job has no network: never open. And what of the host's loopback is whose."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.service.local_servers import EchoServer, server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.sandboxed import Host

pytestmark = pytest.mark.kernel

# Attack: native code goes on trying every way there is after the proxy has gone.
TRIES = """
import os, socket, sys, time
port = int(sys.argv[1])
kept = socket.create_connection(('localhost', port), 10)
kept.sendall(b'x'); kept.recv(1)
for name in list(os.environ):
    if 'proxy' in name.lower(): del os.environ[name]
def attempt(family, kind, address):
    try:
        with socket.socket(family, kind) as s:
            s.settimeout(2)
            s.connect(address)
            s.sendall(b'x')
            return bool(s.recv(1))
    except OSError: return False
def old():
    try:
        kept.settimeout(2); kept.sendall(b'x')
        return bool(kept.recv(1))
    except OSError: return False
def name():
    try: return bool(socket.getaddrinfo('localhost.example.com', 80))
    except OSError: return False
stream, datagram, four, six = socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.AF_INET, socket.AF_INET6
while True:
    ways = {
        'old': old(), 'granted': attempt(four, stream, ('127.0.0.1', port)), 'granted6': attempt(six, stream, ('::1', port)),
        'proxy': attempt(four, stream, ('127.0.0.1', 3128)), 'synthetic': attempt(four, stream, ('198.18.0.5', 80)),
        'world': attempt(four, stream, ('192.0.2.1', 443)), 'dns': attempt(four, datagram, ('9.9.9.9', 53)),
        'udp': attempt(four, datagram, ('192.0.2.1', 443)), 'name': name(),
    }
    print(*[way for way, open in ways.items() if open], flush=True)
    time.sleep(0.1)
"""


@pytest.fixture
def echo() -> Iterator[EchoServer]:
    made = EchoServer()
    yield made
    made.close()


def test_a_killed_proxy_leaves_no_way_out(host: Host, echo: EchoServer) -> None:
    if os.geteuid() != 0:
        pytest.skip("a launcher's proxy is not dumpable: only root finds it")
    tcp = {"hosts": [f"localhost:{echo.port}"], "operations": ["tcp"], "allow_loopback": True}
    host.policy({"py": True, "network": [tcp]})
    words = ["launch", "--", "python3", "-I", "-c", TRIES, str(echo.port)]
    process = host.popen(*words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert {"old", "granted"} <= set(process.stdout.readline().decode().split())
        os.kill(_proxy(process.pid), signal.SIGKILL)
        process.stdout.readline()  # what was tried while it died
        assert [process.stdout.readline() for _ in range(2)] == [b"\n", b"\n"]
        assert process.poll() is None  # the job goes on, without a network
    finally:
        process.terminate()
        process.communicate(timeout=30)
    reasons = [event["detail"].get("reason", "") for event in host.audit() if event["event"] == "egress"]
    assert any("the proxy ended" in reason for reason in reasons), reasons


def _proxy(launcher: int) -> int:
    """The launcher's child in the launcher's own network namespace."""
    with open(f"/proc/{launcher}/task/{launcher}/children", encoding="ascii") as file:
        children = [int(pid) for pid in file.read().split()]
    here = os.readlink(f"/proc/{launcher}/ns/net")
    (found,) = [pid for pid in children if os.readlink(f"/proc/{pid}/ns/net") == here]
    return found


def test_a_killed_launcher_takes_the_proxy_and_the_job_along(host: Host, echo: EchoServer) -> None:
    if os.geteuid() != 0:
        pytest.skip("a launcher's proxy is not dumpable: only root finds it")
    tcp = {"hosts": [f"localhost:{echo.port}"], "operations": ["tcp"], "allow_loopback": True}
    host.policy({"py": True, "network": [tcp]})
    process = host.popen("launch", "--", "python3", "-I", "-c", TRIES, str(echo.port), stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline()
    proxy = _proxy(process.pid)
    process.kill()
    process.communicate(timeout=10)
    end = time.monotonic() + 2
    while os.path.exists(f"/proc/{proxy}") and _state(proxy) != "Z":
        assert time.monotonic() < end, "the proxy outlives its launcher"
        time.sleep(0.02)


def _state(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(") ")[2][:1]
    except OSError:
        return "Z"


# Two ends of one job at each of the given ADDRESS:PORTs: a line each, what came through.
PAIR = """
import socket, sys, threading
def say(listener):
    conn, _ = listener.accept()
    conn.sendall(b'own'); conn.close()
for word in sys.argv[1:]:
    address, _, port = word.rpartition(':')
    try:
        listener = socket.create_server((address, int(port)))
        threading.Thread(target=say, args=(listener,), daemon=True).start()
        print(socket.create_connection((address, int(port)), 5).recv(10).decode())
    except OSError as error: print('refused')
"""


def test_the_jobs_own_loopback_and_a_port_of_the_host(host: Host) -> None:
    """A port of the host is reached by grant alone; the job's own servers are its own, with and without a proxy."""
    with server() as made:
        local = {"hosts": [f"localhost:{made.port}"], "operations": ["http"], "allow_loopback": True}
        for network in ([], [local]):
            host.policy({"py": True, "network": network})
            assert host.python(PAIR, f"127.0.0.1:{made.port + 1}").out == "own\n"
        fetch = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode())"
        assert host.python(fetch, f"http://localhost:{made.port}/").out == "served\n"
        host.policy({"py": True, "network": [{**local, "allow_loopback": False}]})
        ran = host.python(fetch, f"http://localhost:{made.port}/")
        assert ran.status != 0 and made.asked == ["GET /"], ran


def test_without_loopback_there_is_none(host: Host) -> None:
    """Attack: two processes of a job that may not talk to each other there, at addresses and ports of the proxy's too."""
    deny = ["network.loopback"]
    host.policy({"py": True}, deny=deny)
    assert host.python(PAIR, "127.0.0.1:18080").out == "refused\n"
    with server() as made:
        local = {"hosts": [f"localhost:{made.port}"], "operations": ["http"], "allow_loopback": True}
        host.policy({"py": True, "network": [local]}, deny=deny)
        places = [
            f"{address}:{port}" for address in ("127.0.0.1", "127.0.0.2", "5.6.7.8") for port in (18080, 3128, 5353)
        ]
        ran = host.python(PAIR, *places)
        assert ran.out == "refused\n" * len(places), ran
        fetch = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode())"
        assert host.python(fetch, f"http://localhost:{made.port}/").out == "served\n"
