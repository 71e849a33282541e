"""Egress through a running service: the same proxy for each job, in a process that has many jobs and goes on."""

from __future__ import annotations

import json
import os
import pwd
import signal
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.service.local_servers import COMPANY, EchoServer, private_file, server
from tests.serving import Bed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(os.geteuid() != 0, reason="the service is root's")]
CANARY = "canary-5c0b7e91-secret"
SOON = 15.0

FETCH = """
import os, sys, urllib.error, urllib.request
for url in sys.argv[1:]:
    try: print(urllib.request.urlopen(url, timeout=10).read().decode())
    except urllib.error.HTTPError as error: print(error.code)
    except OSError as error: print('no')
"""
# Says each tenth of a second which of its tunnels still carry a byte there and back.
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
OWN_LOOPBACK = """
import socket
try:
    listener = socket.create_server(('127.0.0.1', 18080))
    socket.create_connection(('127.0.0.1', 18080), 5)
    print('own')
except OSError: print('refused')
"""


@pytest.fixture(scope="module")
def bed(installation: str) -> Iterator[Bed]:
    made = Bed(installation)
    secret = private_file(f"{made.root}/secret", CANARY + "\n", 0, 0)
    with open(f"{made.root}/company.pem", "wb") as file:
        file.write(COMPANY.certificate)
    secrets = {"github-token": {"file": secret}}
    made.config(json.dumps({"egress": {"secrets": secrets, "trust": f"{made.root}/company.pem"}}))
    made.policy({"py": True})
    made.start()
    yield made
    print(made.log())
    made.remove()


@pytest.fixture
def echo() -> Iterator[tuple[int, int]]:
    first, second = EchoServer(), EchoServer()
    yield first.port, second.port
    first.close()
    second.close()


def tcp(*ports: int, **more: Any) -> dict[str, Any]:
    network = [{"hosts": [f"localhost:{port}"], "operations": ["tcp"], "allow_loopback": True} for port in ports]
    return {"py": True, "network": network, **more}


def local(port: int, operation: str = "http", **more: Any) -> dict[str, Any]:
    grant = {"hosts": [f"localhost:{port}"], "operations": [operation], "allow_loopback": True, **more}
    return {"py": True, "network": [grant]}


def python(bed: Bed, user: pwd.struct_passwd, code: str, *words: str) -> tuple[str, dict[str, Any]]:
    """What a job printed, and its result."""
    result = f"{bed.workspace(user)}/result.json"
    ran = bed.run(user, "launch", "--result", result, "--", "python3", "-I", "-c", code, *words)
    assert os.path.exists(result), ran
    with open(result, encoding="utf-8") as file:
        found = json.load(file)
    os.unlink(result)
    return ran.stdout.decode(), found


@contextmanager
def tunnels(
    bed: Bed, user: pwd.struct_passwd, *ports: int, operator: bool = False
) -> Iterator[subprocess.Popen[bytes]]:
    """A job with open tunnels, of the tenant's own or launched for him by root."""
    options = ["--user", user.pw_name] if operator else []
    words = bed.command("launch", *options, "--", "python3", "-I", "-c", TUNNELS, *map(str, ports))
    who: dict[str, Any] = {"cwd": bed.workspace(user)} if operator else bed.drop(user)
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **who)
    try:
        until(process, set(map(str, ports)))
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=30)


def until(process: subprocess.Popen[bytes], wanted: set[str]) -> None:
    """Reads what the job says until just these tunnels live."""
    assert process.stdout is not None and process.stderr is not None
    end, said = time.monotonic() + SOON, set[str]()
    while time.monotonic() < end:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        said = set(line.decode().split())
        if said == wanted:
            return
    raise AssertionError((wanted, said))


def wait_for(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def children(pid: int) -> list[int]:
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return [int(word) for word in file.read().split()]
    except OSError:
        return []


def below(pid: int) -> list[int]:
    return [found for child in children(pid) for found in (child, *below(child))]


def proxies(bed: Bed) -> dict[int, int]:
    """The proxies of all jobs, each with its parent: what is not root's in the host's network namespace below the
    service (fork servers and sandboxes are in namespaces or are root's still).
    """
    assert bed.process is not None
    here = os.readlink("/proc/self/ns/net")
    found = {}
    for pid in below(bed.process.pid):
        try:
            with open(f"/proc/{pid}/status", encoding="ascii") as file:
                fields = dict(line.split(":\t", 1) for line in file if ":\t" in line)
            if os.readlink(f"/proc/{pid}/ns/net") == here and fields["Seccomp"].strip() == "2":
                found[pid] = int(fields["PPid"])
        except OSError:
            continue
    return found


def inodes(pid: int) -> set[str]:
    """The sockets and pipes that a process holds."""
    targets = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
    return {target for target in targets if target.startswith(("socket:", "pipe:"))}


def test_a_granted_host_is_reached_and_nothing_else(bed: Bed) -> None:
    """Attacks 61, 63, 64: another name, another port, a literal address; and who asked is who is recorded."""
    with server() as made:
        bed.policy(local(made.port))
        urls = [
            f"http://localhost:{made.port}/x", "http://evil.example.org/", f"http://localhost:{made.port + 1}/",
            f"http://127.0.0.1:{made.port + 1}/", "http://169.254.169.254/latest/",
        ]  # fmt: skip
        out, result = python(bed, bed.bob, FETCH, *urls)
    assert made.asked == ["GET /x"]
    assert out.split()[0] == "served" and "served" not in out.split()[1:]
    totals = result["egress"]["hosts"]["localhost"]
    assert totals["connections"] == 1 and totals["bytes_down"] > 0
    assert {row["capability"] for row in result["denials"]} == {"network"}
    events = [event for event in bed.audit() if event["layer"] == "egress" and event["job"] == result["job"]]
    assert {event["user"] for event in events} == {bed.bob.pw_name}
    assert {event["outcome"] for event in events} == {"ALLOWED", "DENIED"}
    assert any("evil.example.org" in event["resource"] for event in events if event["outcome"] == "DENIED")


def test_a_denied_loopback_is_denied_beside_a_grant(bed: Bed, echo: tuple[int, int]) -> None:
    """Attack: two processes of a job that may not talk to each other, in a namespace that the proxy serves."""
    bed.policy(tcp(echo[0]))
    assert python(bed, bed.alice, OWN_LOOPBACK)[0] == "own\n"
    bed.policy(tcp(echo[0]), deny=["network.loopback"])
    assert python(bed, bed.alice, OWN_LOOPBACK)[0] == "refused\n"


@pytest.mark.parametrize("operator", [False, True], ids=["own", "operator"])
def test_a_revocation_cuts_the_tunnels_of_that_tenant(bed: Bed, echo: tuple[int, int], operator: bool) -> None:
    """And what is not forbidden goes on: another tunnel, and another tenant's job."""
    kept, dropped = echo
    bed.policy(tcp(kept, dropped), bed.alice, name="hers")
    bed.policy(tcp(dropped), bed.bob)
    with tunnels(bed, bed.alice, kept, dropped, operator=operator) as hers, tunnels(bed, bed.bob, dropped) as his:
        bed.policy(tcp(kept), bed.alice, name="hers")
        until(hers, {str(kept)})
        revoked = subprocess.run(
            bed.command("admin", "revoke", "hers", "--user", bed.alice.pw_name), capture_output=True, check=False
        )
        assert revoked.returncode == 0, revoked
        until(hers, set())
        until(his, {str(dropped)})
    granted = subprocess.run(bed.command("admin", "grant", "hers", "--user", bed.alice.pw_name), check=False)
    assert granted.returncode == 0
    reloads = [event for event in bed.audit() if event["event"] == "egress.reload"]
    assert [(event["user"], event["outcome"]) for event in reloads[-2:]] == [
        (bed.alice.pw_name, "ALLOWED"), (bed.alice.pw_name, "DENIED"),
    ]  # fmt: skip
    assert reloads[-1]["actor"] == ("root" if operator else bed.alice.pw_name)
    os.unlink(f"{bed.root}/policies/hers.json")


def test_a_secret_is_added_outside_and_is_in_no_process_but_the_proxy(bed: Bed) -> None:
    with server("localhost") as made:
        bed.policy(local(made.port, "https", inject={"header": "Authorization", "secret": "github-token"}))
        code = FETCH + "print(os.environ['GITHUB_TOKEN'], flush=True)\nsys.stdin.read()\n"
        words = bed.command("launch", "--", "python3", "-I", "-c", code, f"https://localhost:{made.port}/")
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **bed.drop(bed.alice))
        assert process.stdout is not None and bed.process is not None
        assert process.stdout.readline() == b"served\n"
        assert process.stdout.readline().startswith(b"mlsandbox-placeholder-")
        held = set(proxies(bed))
        holders = {pid for pid in (bed.process.pid, *below(bed.process.pid)) if CANARY.encode() in memory(pid)}
        assert len(holders) == 1 and holders <= held
        process.communicate(timeout=20)
    assert made.fields[0]["authorization"] == f"Bearer {CANARY}"
    assert CANARY not in json.dumps(bed.audit())


def memory(pid: int) -> bytes:
    """What of a process is its own: private pages that can be written."""
    found = []
    with open(f"/proc/{pid}/maps", encoding="utf-8") as maps, open(f"/proc/{pid}/mem", "rb", 0) as file:
        for line in maps:
            low, high = (int(part, 16) for part in line.split()[0].split("-"))
            if line.split()[1].startswith("rw") and high - low < 1 << 28:
                try:
                    file.seek(low)
                    found.append(file.read(high - low))
                except OSError:
                    continue
    return b"".join(found)


def test_each_job_has_a_proxy_of_its_own_that_ends_with_it(bed: Bed, echo: tuple[int, int]) -> None:
    """Attack: a job that breaks into its proxy finds there no line, event pipe or connection of another's."""
    bed.policy(tcp(*echo))
    assert not proxies(bed)
    with tunnels(bed, bed.alice, echo[0]), tunnels(bed, bed.alice, echo[1]):
        first, second = proxies(bed)
        assert not inodes(first) & inodes(second)
        assert len(inodes(first)) > 2
    wait_for(lambda: not proxies(bed))


@pytest.mark.parametrize("words", [["launch", "--", "ls"], ["launch", "--dry-run", "--", "python3"]], ids=" ".join)
def test_what_does_not_run_leaves_no_proxy(bed: Bed, words: list[str]) -> None:
    """Attack: a tenant asks for a thousand launches that are refused after the proxy of the authority was started."""
    bed.policy(local(1, "https", inject={"header": "Authorization", "secret": "github-token"}))
    assert python(bed, bed.alice, "pass")[1]["exit_code"] == 0  # his process is there now
    wait_for(lambda: not proxies(bed))
    assert bed.process is not None
    before = {pid: descriptors(pid) for pid in below(bed.process.pid)}
    for _ in range(3):
        bed.run(bed.alice, *words)
    assert not proxies(bed)
    left = [pid for pid in below(bed.process.pid) if state(pid) == "Z"]
    assert not left
    grown = {pid: descriptors(pid) - count for pid, count in before.items() if state(pid) not in {"Z", "X"}}
    assert max(grown.values()) <= 0, grown


def descriptors(pid: int) -> int:
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0


def state(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(") ")[2][:1]
    except OSError:
        return "X"


def test_a_killed_service_takes_proxies_and_jobs_along(bed: Bed, echo: tuple[int, int]) -> None:
    bed.policy(tcp(*echo))
    with tunnels(bed, bed.alice, echo[0]) as process:
        assert bed.process is not None
        everything = below(bed.process.pid)
        assert set(proxies(bed)) <= set(everything)
        bed.stop(signal.SIGKILL)
        wait_for(lambda: all(state(pid) in {"Z", "X"} for pid in everything), 2.0)
        assert process.wait(10) == 125
    bed.start()
