"""Limits on a host with cgroup v2 and systemd. Runs in the test machine (tests/vm/test_machine.py starts it there), as
root and as alice: in a session of hers, and in scopes that systemd delegates to her.
"""

from __future__ import annotations

import os
import pwd
import re
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from launcher.kernel import places
from tests.sandboxed import Host
from tests.vm.vm import delegated

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.vm

ROOT = os.geteuid() == 0
PYTHON = {"py": True}
FORKS = """
import os
children = 0
r, w = os.pipe()
try:
    while children < 500:
        if os.fork() == 0: os.read(r, 1); os._exit(0)
        children += 1
except BlockingIOError: pass
print(children)
"""


class Delegated(Host):
    """alice, who asks systemd for a scope for each launch."""

    def command(self, *words: str) -> list[str]:
        return delegated(super().command(*words))

    def drop(self) -> dict[str, Any]:
        options = super().drop()
        runtime = f"/run/user/{self.uid}"
        options["env"] |= {"XDG_RUNTIME_DIR": runtime, "DBUS_SESSION_BUS_ADDRESS": f"unix:path={runtime}/bus"}
        return options

    def run(self, *words: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
        return super().run(*words, **{"timeout": 100, **options})


def made(kind: str) -> Host:
    prefix = os.environ["MLSANDBOX_TEST_PREFIX"]
    return Delegated(prefix, "user") if kind == "delegated" else Host(prefix, "root" if ROOT else "user")


@pytest.fixture(params=["root"] if ROOT else ["delegated"])
def limited(request: pytest.FixtureRequest) -> Iterator[Host]:
    """Each caller whose jobs can be limited."""
    host = made(request.param)
    yield host
    assert groups() == []
    host.remove()


@pytest.fixture
def session() -> Iterator[Host]:
    """alice, just logged in."""
    if ROOT:
        pytest.skip("of a user's session")
    host = made("session")
    yield host
    host.remove()


def groups() -> list[str]:
    found = subprocess.run(
        ["find", "/sys/fs/cgroup", "-name", "mlsandbox-*"], capture_output=True, text=True, check=False
    )
    return found.stdout.split()


def test_the_machine_is_what_it_is_for() -> None:
    assert os.path.exists(f"{places.ROOT}/cgroup.controllers"), "not a host of cgroup v2 alone"
    assert pwd.getpwuid(os.geteuid()).pw_name == ("root" if ROOT else "alice")


def test_memory(limited: Host) -> None:
    limited.policy(PYTHON, limits={"max_memory": "64MiB"})
    ran = limited.python("x = bytearray(500_000_000); print(len(x))")
    assert (ran.status, ran.ended_by, ran.result["limit"]) == (137, "memory", "max_memory"), ran
    assert 60 << 20 < ran.result["usage"]["peak_memory"] <= 64 << 20, ran


def test_peak_memory_of_a_job_that_fits(limited: Host) -> None:
    limited.policy(PYTHON, limits={"max_memory": "200MiB"})
    ran = limited.python("x = b'x' * 80_000_000")
    assert ran.status == 0, ran
    assert 80_000_000 < ran.result["usage"]["peak_memory"] < 130_000_000, ran


def test_processes_are_counted_exactly(limited: Host) -> None:
    limited.policy(PYTHON, limits={"max_processes": 20})
    ran = limited.python(FORKS)
    assert ran.out.strip() == "19", ran
    assert (ran.result["limits_hit"], ran.result["limit"]) == (["max_processes"], None), ran


def test_a_child_that_was_killed_for_its_memory_is_told(limited: Host) -> None:
    limited.policy(PYTHON, limits={"max_memory": "64MiB"})
    code = "import os\npid = os.fork()\nif pid == 0: x = bytearray(500_000_000)\nprint(os.waitpid(pid, 0)[1])"
    ran = limited.python(code)
    assert (ran.out, ran.status) == ("9\n", 0), ran
    assert (ran.result["limits_hit"], ran.result["limit"]) == (["max_memory"], None), ran


def test_processors_are_shared_out(limited: Host) -> None:
    limited.policy(PYTHON, limits={"cpus": 0.2})
    code = """
import time
began, used = time.monotonic(), time.process_time()
while time.monotonic() < began + 5: pass
print((time.process_time() - used) / (time.monotonic() - began))
"""
    ran = limited.python(code)
    assert ran.status == 0, ran
    assert float(ran.out) < 0.25, ran


def test_processor_time_of_the_whole_tree(limited: Host) -> None:
    limited.policy(PYTHON, limits={"max_cpu_time": 3, "max_wall_time": 60})
    code = "import os\nfor _ in range(4):\n    if os.fork() == 0:\n        while True: pass\nos.wait()"
    ran = limited.python(code)
    assert ran.result["limit"] == "max_cpu_time", ran


def test_staged_writes_and_the_check_of_programs(limited: Host) -> None:
    limited.policy({"cmd": ["cp"], "file": [{"patterns": ["in.txt", "out.txt"], "operations": ["read", "write"]}]})
    limited.write("in.txt", "content")
    ran = limited.launch("cp", "in.txt", "out.txt")
    assert ran.status == 0, ran
    assert limited.read("out.txt") == "content"
    assert limited.launch("ls").status == 126


def test_nothing_is_left_of_a_launcher_that_was_killed(limited: Host) -> None:
    limited.policy(PYTHON, limits={"max_memory": "100MiB", "max_processes": 20, "cpus": 1})
    process = limited.popen(
        "launch", "--", "python3", "-I", "-c", "import time; print('up', flush=True); time.sleep(600)",
        stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    (job,) = [path for path in groups() if not re.search(r"launcher-\d+$", path)]
    assert os.path.exists(f"{job}/job/memory.max")
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 5
    while os.path.exists(job) and not empty(job) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not os.path.exists(job) or empty(job)
    limited.python("pass")
    assert groups() == []


def empty(group: str) -> bool:
    return "populated 0" in places.read(f"{group}/cgroup.events")


def test_the_limits_of_a_running_job_cannot_be_lifted_from_above(limited: Host) -> None:
    """What systemd does when none of its units needs a controller any more."""
    limited.policy(PYTHON, limits={"max_memory": "100MiB", "max_processes": 20})
    process = limited.popen(
        "launch", "--", "python3", "-I", "-c", "print('up', flush=True); input()",
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    (job,) = [path for path in groups() if not re.search(r"launcher-\d+$", path)]
    above = os.open(f"{os.path.dirname(job)}/cgroup.subtree_control", os.O_WRONLY)
    with pytest.raises(OSError, match="busy"):
        os.write(above, b"-memory")
    os.close(above)
    # a sibling may have made it busy for root; this is what makes it busy for good
    assert set(places.read(f"{job}/cgroup.subtree_control").split()) >= {"memory", "pids"}
    subprocess.run(["systemctl", *([] if ROOT else ["--user"]), "daemon-reload"], check=True, env=limited.drop()["env"])
    assert places.read(f"{job}/job/memory.max") == f"{100 << 20}\n"
    assert places.read(f"{job}/job/pids.max") == "21\n"
    process.communicate(b"\n")


def test_doctor_finds_what_can_be_limited(limited: Host) -> None:
    shown = limited.run("doctor").stdout.decode()
    for row in ("memory limit", "processor quota", "process limit"):
        assert re.search(rf"{row}.*cgroup v2", shown), shown


def test_a_session_is_refused_with_the_way_out(session: Host) -> None:
    session.policy(PYTHON, limits={"max_memory": "64MiB"})
    ran = session.python("print('ran')")
    assert (ran.status, ran.ended_by) == (126, "policy"), ran
    assert "systemd-run --user --scope -p Delegate=yes" in ran.err and "--allow-degraded" in ran.err
    degraded = session.python("print('ran')", options=["--allow-degraded"])
    assert degraded.out == "ran\n" and "limits.max_memory" in degraded.err, degraded


def test_a_session_counts_processes_without_a_group(session: Host) -> None:
    session.policy(PYTHON, limits={"max_processes": 20})
    ran = session.python(FORKS)
    assert ran.out.strip() == "19", ran


def test_with_company_in_the_scope_nobody_is_moved_and_memory_is_held_beside_it(session: Host) -> None:
    """A shell in a delegated scope launches: it stays where it is, and the job's group goes into the user's app.slice."""
    session.policy(PYTHON, limits={"max_memory": "64MiB"})
    launch = " ".join(session.command("launch", "--", "python3", "-I", "-c", "'x = bytearray(500_000_000)'"))
    script = (
        f'before=$(cat /proc/$$/cgroup); {launch}; echo $?; test "$before" = "$(cat /proc/$$/cgroup)" && echo still'
    )
    user = made("delegated")
    done = subprocess.run(
        delegated(["sh", "-c", script]), capture_output=True, text=True, check=False, timeout=100, cwd=session.workspace,
        env=user.drop()["env"],
    )  # fmt: skip
    user.remove()
    assert done.stdout.split() == ["137", "still"], done
    assert groups() == []
