"""Attacks 24 to 33: pid 1, the supervisor and other people's processes; and their end."""

from __future__ import annotations

import os
import signal
import subprocess
import time

from tests.attack.report import CAPABILITIES, Report
from tests.sandboxed import Host

PROBE = "processes"


def test_b24_ptrace(report: Report) -> None:
    report.all("b24", "EPERM", "ENOSYS", "ESRCH")


def test_b25_memory_and_descriptors_of_others(report: Report) -> None:
    report.all("b25", "EPERM", "EACCES", "ESRCH")


def test_b26_pid_1_tells_nothing(report: Report) -> None:
    report.all("b26", "EACCES", "nothing")


def test_b27_signals_to_pid_1(report: Report) -> None:
    report.all("b27", "runs on")


def test_b27_signals_to_the_host(report: Report) -> None:
    report.all("b27b", "ESRCH")
    assert report["b27c.kill_all"] in {"own processes", "nobody"}


def test_b28_signals_by_descriptors_and_timers(report: Report) -> None:
    report.all("b28", "ESRCH", "set to nobody")
    report.all("b28b", "EINVAL")


def test_b33_priorities_and_limits(report: Report) -> None:
    report.all("b33", "EACCES", "EPERM", "ENOSYS")
    report.all("b33b", "ValueError: not allowed to raise maximum limit")


def marked(marker: str) -> list[int]:
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/cmdline", "rb") as file:
                words = file.read()
        except OSError:
            continue
        if marker.encode() in words and b"mlsandbox" not in words and int(name) != os.getpid():
            found.append(int(name))
    return found


def gone(marker: str, seconds: float = 1) -> bool:
    deadline = time.monotonic() + seconds
    while marked(marker) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not marked(marker)


OUTLIVE = """
import ctypes, os, signal, sys, time
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)          # PR_SET_CHILD_SUBREAPER
for number in range(1, 32):
    if number not in (9, 19, 17): signal.signal(number, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 64))
for _ in range(10):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.closerange(0, 64)
            time.sleep(60)
        os._exit(0)
print('up', flush=True)
if len(sys.argv) > 2: time.sleep(60)
"""


def test_b29_daemons_end_with_the_job(attacked: Host) -> None:
    attacked.policy(CAPABILITIES)
    marker = f"outlive-{os.urandom(6).hex()}"
    assert attacked.launch("python3", "-I", "-c", OUTLIVE, marker).out == "up\n"
    assert gone(marker)


def test_b30_daemons_end_with_the_launcher(attacked: Host) -> None:
    attacked.policy(CAPABILITIES)
    marker = f"orphan-{os.urandom(6).hex()}"
    process = attacked.popen(
        "launch",
        "--",
        "python3",
        "-I",
        "-c",
        OUTLIVE,
        marker,
        "stay",
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    assert marked(marker)
    process.kill()
    process.communicate()
    assert gone(marker)


def test_b30_a_stopped_launcher_does_not_stop_the_end(attacked: Host) -> None:
    """SIGSTOP, then SIGKILL: nothing of the launcher runs in between, and pid 1 still ends by itself."""
    attacked.policy(CAPABILITIES)
    marker = f"stopped-{os.urandom(6).hex()}"
    process = attacked.popen(
        "launch",
        "--",
        "python3",
        "-I",
        "-c",
        OUTLIVE,
        marker,
        "stay",
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    process.send_signal(signal.SIGSTOP)
    process.kill()
    process.communicate()
    assert gone(marker)


def test_b31_a_job_that_ignores_every_signal_ends_at_its_limit(attacked: Host) -> None:
    attacked.policy(CAPABILITIES, limits={"max_wall_time": 1})
    marker = f"wall-{os.urandom(6).hex()}"
    began = time.monotonic()
    ran = attacked.launch("python3", "-I", "-c", OUTLIVE, marker, "stay")
    assert (ran.status, ran.ended_by) == (124, "wall"), ran
    assert time.monotonic() - began < 4
    assert gone(marker)


def test_b31_a_job_that_attacks_its_init_keeps_its_limit(attacked: Host) -> None:
    code = (
        "import os, signal, time\n"
        "for n in range(1, 65):\n"
        "    try: os.kill(1, n)\n"
        "    except OSError: pass\n"
        "os.kill(os.getpid(), signal.SIGSTOP)\n"
        "time.sleep(60)"
    )
    attacked.policy(CAPABILITIES, limits={"max_wall_time": 1})
    ran = attacked.python(code)
    assert (ran.status, ran.ended_by) == (124, "wall"), ran
