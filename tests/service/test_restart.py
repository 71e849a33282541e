"""Draining, restarting under load with a socket that systemd holds, and what systemd is told."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.serving import Bed

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the service is root's")
# What systemd does: the listening socket is descriptor 3, and the variables name the process that runs the service.
ACTIVATED = 'export LISTEN_FDS=1 LISTEN_PID=$$; exec "$@" 3<&%d'


class Systemd:
    """Holds the socket of a bed's service, and hears what the service says of itself."""

    def __init__(self, bed: Bed) -> None:
        self.bed = bed
        os.makedirs(os.path.dirname(bed.locations.socket), exist_ok=True)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(bed.locations.socket)
        os.chmod(bed.locations.socket, 0o666)
        self.listener.listen(128)
        self.notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notices.bind(f"{bed.top}/notify")
        self.notices.settimeout(30)

    def start(self) -> None:
        with open(f"{self.bed.top}/service.log", "ab") as log:
            words = ["bash", "-c", ACTIVATED % self.listener.fileno(), "sh", *self.bed.command("service", "run")]
            environment = {**os.environ, "NOTIFY_SOCKET": f"{self.bed.top}/notify"}
            self.bed.process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", env=environment,
                pass_fds=(self.listener.fileno(),),
            )  # fmt: skip
        assert self.notices.recv(100) == b"READY=1"

    def restart(self) -> None:
        """As the package's unit does: ExecStop drains, then SIGTERM."""
        subprocess.run(self.bed.command("service", "drain"), check=True, capture_output=True, timeout=60, cwd="/")
        self.bed.stop()
        assert self.notices.recv(100) == b"STOPPING=1"
        self.start()

    def close(self) -> None:
        self.listener.close()
        self.notices.close()


@pytest.fixture
def systemd(installation: str) -> Iterator[Systemd]:
    bed = Bed(installation)
    bed.policy({"sh": True, "cmd": ["sleep"]})
    made = Systemd(bed)
    made.start()
    yield made
    print(bed.log())
    made.close()
    bed.remove()


def test_a_restart_under_load_refuses_no_client_and_ends_no_job(systemd: Systemd) -> None:
    bed = systemd.bed

    def launches(user: int) -> list[tuple[int, bytes, bytes]]:
        who = (bed.alice, bed.bob)[user % 2]
        answers = []
        for number in range(6):
            done = bed.run(who, "launch", "--", "sh", "-c", f"echo {user} {number}", timeout=120)
            answers.append((done.returncode, done.stdout, done.stderr))
        return answers

    with ThreadPoolExecutor(3) as pool:
        clients = [pool.submit(launches, user) for user in range(3)]
        for _ in range(2):
            time.sleep(0.5)
            systemd.restart()
        found = [client.result() for client in clients]
    expected = [[(0, f"{user} {number}\n".encode(), b"ended_by: job\n") for number in range(6)] for user in range(3)]
    assert found == expected


def test_draining_waits_for_what_runs_and_keeps_what_is_queued(systemd: Systemd) -> None:
    bed = systemd.bed
    assert bed.run(bed.alice, "submit", "--", "sh", "-c", "sleep 2").returncode == 0
    deadline = time.monotonic() + 20
    while b"running" not in bed.run(bed.alice, "jobs").stdout:
        assert time.monotonic() < deadline
    drained = subprocess.run(bed.command("service", "drain"), check=True, capture_output=True, timeout=60, cwd="/")
    assert drained.stderr == b"waiting for 1 jobs\n"
    # nobody is served any more, and nobody refused: this one waits for the next service
    waiting = subprocess.Popen(bed.command("submit", "--", "sh", "-c", "true"), stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, **bed.drop(bed.alice))  # fmt: skip
    time.sleep(0.5)
    assert waiting.poll() is None
    bed.stop()
    assert systemd.notices.recv(100) == b"STOPPING=1"
    systemd.start()
    waiting.communicate(timeout=30)
    assert waiting.returncode == 0
    assert bed.run(bed.alice, "wait", "1", "2").returncode == 0


def test_who_stops_asking_takes_it_back(systemd: Systemd) -> None:
    bed = systemd.bed
    job = subprocess.Popen(bed.command("launch", "--", "sh", "-c", "sleep 60"), stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, **bed.drop(bed.alice))  # fmt: skip
    deadline = time.monotonic() + 20
    while b"sleep" not in bed.run(bed.alice, "ps").stdout:
        assert time.monotonic() < deadline
    drain = subprocess.Popen(bed.command("service", "drain"), stderr=subprocess.PIPE, cwd="/")
    assert drain.stderr is not None
    assert drain.stderr.readline() == b"waiting for 1 jobs\n"
    drain.send_signal(signal.SIGINT)
    drain.communicate(timeout=20)
    assert bed.run(bed.bob, "launch", "--", "sh", "-c", "true").returncode == 0
    job.send_signal(signal.SIGTERM)
    job.communicate(timeout=20)


def test_a_tenant_may_not_drain_it(systemd: Systemd) -> None:
    done = systemd.bed.run(systemd.bed.alice, "service", "drain")
    assert done.returncode == 126
    assert b"only an operator" in done.stderr


def test_sighup_takes_the_configuration_anew_and_a_wrong_one_not(systemd: Systemd) -> None:
    bed = systemd.bed
    assert bed.process is not None
    bed.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + 20
    while "taken anew" not in bed.log():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    bed.config("nonsense: 1\n")
    bed.process.send_signal(signal.SIGHUP)
    while "the old configuration holds" not in bed.log():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert bed.process.poll() is None
