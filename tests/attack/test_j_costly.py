"""Attacks on what all tenants share, the service's loop, memory and descriptors, by messages that cost more than they weigh."""

from __future__ import annotations

import _socket
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from launcher.errors import SandboxError
from launcher.service.wire import MAGIC, encode
from tests.attack.test_j_service import children
from tests.serving import Bed, as_user

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the service is root's")
WORST = 0.6  # seconds that another tenant may hold the service up, on a machine that is busy with other tests


@pytest.fixture(scope="module")
def bed(installation: str) -> Iterator[Bed]:
    made = Bed(installation)
    made.policy({"cmd": ["true", "cat", "id"], "sh": True})
    made.config("queue: {max_jobs: 1}\n")
    made.start()
    yield made
    print(made.log())
    made.remove()


def slowest_ping(bed: Bed, until: threading.Event) -> float:
    """Of alice's, in seconds, while something else goes on."""
    client, worst = bed.client(), 0.0
    while not until.is_set():
        began = time.perf_counter()
        client.call("ping", {})
        worst = max(worst, time.perf_counter() - began)
        time.sleep(0.005)
    client.close()
    return worst


def during(bed: Bed, attack: Any) -> float:
    done = threading.Event()
    found: list[float] = []
    thread = threading.Thread(target=lambda: found.append(slowest_ping(bed, done)))
    thread.start()
    try:
        as_user(bed.bob, attack)
    finally:
        done.set()
        thread.join()
    return found[0]


def request(bed: Bed, *words: str) -> dict[str, Any]:
    return {"command": list(words), "program": "", "cwd": bed.workspace(bed.bob), "limits": {}}


def test_a_listing_of_jobs_with_long_commands_does_not_hold_others_up(bed: Bed) -> None:
    """An array shares one command, which each row of a page would read again: of 3 MiB, 2.3 s for a page."""

    def attack() -> None:
        client = bed.client()
        with pytest.raises(SandboxError, match="words"):
            client.call("submit", {"request": request(bed, "true", "x" * (3 << 20)), "array": [0, 99, 1]})
        made = {"request": request(bed, "true"), "members": [{"arguments": ["x" * (3 << 19)]}] * 2}
        with pytest.raises(SandboxError, match="words"):
            client.call("submit", made)
        with pytest.raises(SandboxError, match="variables"):
            client.call("submit", {"request": {**request(bed, "true"), "environment": {"A": "x" * (3 << 20)}}})
        client.call("submit", {"request": request(bed, "true", "x" * (120 << 10)), "array": [0, 99, 1]})
        assert len(client.call("jobs", {})["jobs"]) == 100
        client.call("cancel", {"all": True})
        client.close()

    assert during(bed, attack) < WORST


def test_waiting_for_very_many_jobs_by_name_does_not_hold_others_up(bed: Bed) -> None:
    """Each that ended would have all of them looked up again."""

    def attack() -> None:
        client = bed.client()
        made = client.call("submit", {"request": request(bed, "true"), "array": [0, 1999, 1]})
        names = [f"{made['submission']}.{index}" for index in range(2000)]
        with pytest.raises(SandboxError, match="at most"):
            client.call("wait", {"jobs": names})
        other = bed.client()
        for _ in range(8):
            other.begin("wait", {"jobs": names[-500:]})
        last = other.begin("wait", {"jobs": names[:2]})
        while not other.next(last)[0]:
            pass
        time.sleep(1)
        client.call("cancel", {"all": True})
        client.close()
        other.close()

    assert during(bed, attack) < WORST


def resident(pid: int) -> int:
    """Bytes."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith("VmRSS"))


def raw(bed: Bed) -> _socket.socket:
    socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    socket.connect(bed.locations.socket)
    socket.setblocking(False)
    return socket


def pour(socket: _socket.socket, message: dict[str, Any], count: int, seconds: float) -> int:
    """Says a message again and again and reads no answer; how many bytes were taken."""
    body = encode(message)
    data = (MAGIC + len(body).to_bytes(4, "little") + bytes(4) + body) * count
    until, at = time.monotonic() + seconds, 0
    while at < len(data) and time.monotonic() < until:
        try:
            at += socket.send(data[at : at + (1 << 16)])
        except BlockingIOError:
            time.sleep(0.005)
        except OSError:
            break
    return at


def test_descriptors_of_answers_that_nobody_reads_are_not_collected(bed: Bed) -> None:
    """`logs` gives two of each attempt; the service held its copies until they were read."""
    assert bed.process
    most = 0

    def attack() -> None:
        client = bed.client()
        number = str(client.call("submit", {"request": request(bed, "true")})["submission"])
        client.call("wait", {"jobs": [number]})
        client.close()
        sockets = [raw(bed) for _ in range(8)]
        for socket in sockets:
            pour(socket, {"verb": "logs", "job": number, "call": 7}, 3000, 0.5)
        time.sleep(1)
        for socket in sockets:
            socket.close()

    done = threading.Event()

    def watch() -> None:
        nonlocal most
        while not done.is_set():
            most = max(most, len(os.listdir(f"/proc/{bed.process.pid}/fd")))  # type: ignore[union-attr]
            time.sleep(0.01)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        assert during(bed, attack) < WORST
    finally:
        done.set()
        thread.join()
    assert most < 300


def test_launches_that_wait_for_descriptors_do_not_fill_the_memory(bed: Bed) -> None:
    """A launch of 3 MiB of variables whose client never passes its descriptors is kept until then, a thousand times."""
    assert bed.process

    def attack() -> str:
        clients = [bed.client() for _ in range(2)]
        message = {**request(bed, "true"), "environment": {"A": "x" * (3 << 20)}}
        begun = [(client, client.begin("launch", message)) for client in clients for _ in range(30)]
        said = ""
        for client, number in begun[-10:]:
            try:
                client.next(number)
            except SandboxError as error:
                said = error.message
        for client in clients:
            client.close()
        return said

    before = resident(bed.process.pid)
    assert "too many bytes" in as_user(bed.bob, attack)
    assert resident(bed.process.pid) - before < 400 << 20
    assert bed.run(bed.bob, "launch", "--", "true").returncode == 0  # what they took is given back


def test_signals_for_a_process_that_does_not_read_are_not_collected(bed: Bed) -> None:
    assert bed.process
    pid, answering, asking = bed.process.pid, os.pipe(), os.pipe()

    def attack() -> int:
        client = bed.client()
        client.begin("launch", request(bed, "true"))
        client.next(1)
        os.write(answering[1], b".")
        os.read(asking[0], 1)
        client.connection.socket.setblocking(False)
        taken = pour(client.connection.socket, {"to": 1, "signal": int(signal.SIGUSR1)}, 100_000, 6)
        client.close()
        return taken

    stopped: list[int] = []

    def stop() -> None:
        os.read(answering[0], 1)
        zygote = next(one for one in children(pid) if children(one))
        stopped.extend(one for one in children(zygote) if os.stat(f"/proc/{one}").st_uid == 0)
        for one in stopped:
            os.kill(one, signal.SIGSTOP)
        os.write(asking[1], b".")

    thread = threading.Thread(target=stop)
    thread.start()
    before = resident(pid)
    try:
        assert during(bed, attack) < WORST
        assert stopped
        assert resident(pid) - before < 8 << 20
    finally:
        thread.join()
        for one in stopped:
            os.kill(one, signal.SIGCONT)
        for fd in (*answering, *asking):
            os.close(fd)


def test_a_job_whose_refusal_is_no_utf8_gives_its_place_back(bed: Bed) -> None:
    """The end of a job that could not be written down was none: each held one of all tenants' places for good."""

    def attack() -> list[str]:
        client = bed.client()
        made = client.call("submit", {"request": request(bed, "\udcff"), "array": [0, 3, 1]})
        client.call("wait", {"jobs": [str(made["submission"])]})
        states = [job["state"] for job in client.call("jobs", {"jobs": [str(made["submission"])]})["jobs"]]
        client.close()
        return states

    assert as_user(bed.bob, attack) == ["refused"] * 4
    submitted = bed.run(bed.alice, "submit", "--", "true")
    assert bed.run(bed.alice, "wait", submitted.stdout.decode().split()[-1], timeout=20).returncode == 0


def test_odd_values_are_errors_of_who_sent_them_and_not_in_the_services_log(bed: Bed) -> None:
    """A traceback for each message would fill the journal."""
    big, deep = 1 << 70, "9" * 5000
    plain = request(bed, "true")
    odd: list[tuple[str, dict[str, Any]]] = [
        ("jobs", {"after": [big, 0]}), ("jobs", {"jobs": ["1"], "after": [0, big]}), ("jobs", {"states": [[]]}),
        ("results", {"jobs": ["1"], "after": [big, big]}), ("jobs", {"jobs": ["9" * 19]}), ("jobs", {"jobs": ["9" * 18]}),
        ("jobs", {"jobs": ["1." + "9" * 18]}), ("wait", {"jobs": []}), ("logs", {"job": []}), ("cancel", {"jobs": "x"}),
        ("logs", {"job": "1", "attempt": 1 << 19}), ("ps", {"all": []}), ("submit", {"request": {"command": 5}}),
        ("submit", {"request": {**plain, "limits": {"cpus": deep}}}), ("check", {**plain, "limits": {"max_memory": deep}}),
        ("submit", {"request": {**plain, "environment": 5}}), ("submit", {"request": {**plain, "inherited": []}}),
        ("submit", {"request": plain, "members": [{"environment": 7}]}), ("submit", {"request": {**plain, "zz": big}}),
        ("submit", {"request": plain, "members": [{"workspace": 7}]}),
        ("submit", {"request": plain, "needs": [{"job": "9" * 18}]}),
        ("check", {**plain, "source": 5}), ("explain", {**plain, "workspace": "/proc/self/fd/0"}),
        ("plan", {**plain, "limits": {"cpus": "1e999999999"}}), ("submit", {"request": {**plain, "cwd": "/" * 70000}}),
        ("check", {**plain, "inherited": {"\udcff": "\udcff"}}), ("check", {**plain, "command": ["\udcff"]}),
        ("submit", {"request": {**plain, "command": ["\udcff"], "environment": {"\udcff": "\udcff"}}}),
    ]  # fmt: skip

    def attack() -> list[str]:
        client, found = bed.client(), []
        for verb, message in odd:
            try:
                client.call(verb, message)
            except SandboxError as error:
                found += [f"{verb} {str(message)[:80]}: {error.message}"] if "internal" in error.message else []
        number = client.begin("launch", plain)
        values: tuple[Any, ...] = ([], {}, big, -1, None, "9", True)
        for value in values:
            client.more(number, {"signal": value})
        client.next(number)
        client.call("ping", {})
        client.call("cancel", {"all": True})
        client.close()
        return found

    assert as_user(bed.bob, attack) == []
    assert "Traceback" not in bed.log()
