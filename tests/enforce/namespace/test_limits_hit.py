"""`limits_hit`: every limit that a job ran into is told, also where the job lived on and where it hid it from its status.

What is counted is counted outside of the job (control group, file system, supervisor), so the job's code cannot unsay it.
"""

from __future__ import annotations

import os

import pytest

from tests.sandboxed import Host, Ran

pytestmark = pytest.mark.kernel
PYTHON = {"py": True}
GROUP = {"root"}  # nothing is delegated to an ordinary user of the machines that this runs on


def events(host: Host, limit: str) -> list[tuple[object, ...]]:
    return [
        (e["layer"], e["outcome"], e["operation"], e["detail"]["ended_job"])
        for e in host.audit()
        if e["event"] == "limit" and e["operation"] == limit
    ]


def told(host: Host, ran: Ran, limit: str, text: str) -> None:
    assert (ran.result["limits_hit"], ran.result["limit"]) == ([limit], None), ran
    assert ran.ended_by == "job"
    assert f"mlsandbox: limit: the job ran into {limit} ({text})\n" in ran.err, ran
    assert events(host, limit) == [("kernel", "DENIED", limit, False)]
    (row,) = [row for row in ran.result["denials"] if row["operation"] == limit]
    assert row["grant"].startswith(f"limits: {{{limit}: ")


def test_a_child_that_was_killed_for_its_memory(host: Host) -> None:
    if host.who not in GROUP:
        host.policy(PYTHON, limits={"max_memory": "64MiB"})
        degraded = host.python("print('ran')", options=["--allow-degraded"])
        assert (degraded.out, degraded.result["limits_hit"]) == ("ran\n", []), degraded
        return
    host.policy(PYTHON, limits={"max_memory": "64MiB"})
    code = """
import os
pid = os.fork()
if pid == 0:
    x = bytearray(500_000_000)
print(os.waitpid(pid, 0)[1])
"""
    ran = host.python(code)
    assert (ran.out, ran.status) == ("9\n", 0), ran
    told(host, ran, "max_memory", "a process was killed")


def test_what_ended_the_job_is_among_them(host: Host) -> None:
    host.policy(PYTHON, limits={"max_wall_time": 1, "max_output": 10})
    ran = host.python("print('x' * 100, flush=True)\nimport time; time.sleep(60)")
    assert (ran.status, ran.result["limit"]) == (124, "max_wall_time"), ran
    assert sorted(ran.result["limits_hit"]) == ["max_output", "max_wall_time"]
    assert events(host, "max_wall_time") == [("kernel", "DENIED", "max_wall_time", True)]
    assert "limit: the job ran into max_output (the rest was dropped)\n" in ran.err, ran


def test_refused_forks(host: Host) -> None:
    host.policy(PYTHON, limits={"max_processes": 20})
    code = """
import os
r, w = os.pipe()
made = 0
try:
    while made < 100:
        if os.fork() == 0: os.read(r, 1); os._exit(0)
        made += 1
except BlockingIOError: pass
print(made)
"""
    ran = host.python(code)
    assert (ran.out, ran.status) == ("19\n", 0), ran
    if host.who in GROUP:
        told(host, ran, "max_processes", "new processes were refused")
    else:  # RLIMIT_NPROC refuses as exactly, and counts nothing
        assert ran.result["limits_hit"] == []


FULL = {
    "the private file system": ("/tmp/big", "/tmp/n", {}),
    "scratch": ("out/big", "out/n", {"file": [{"patterns": ["out/*"], "operations": ["read", "write"]}]}),
}


@pytest.mark.parametrize("place", FULL)
def test_no_room_left(host: Host, place: str) -> None:
    big, small, capabilities = FULL[place]
    host.write("out/.keep", "")
    host.policy({**PYTHON, **capabilities}, limits={"max_disk": "4MiB", "max_files": 200})
    disk = f"try: open({big!r}, 'wb').write(bytes(20_000_000))\nexcept OSError as error: print(error.errno)"
    ran = host.python(disk)
    assert ran.out == "28\n", ran
    told(host, ran, "max_disk", "no room was left")
    if os.path.exists(f"{host.workspace}/{big}"):  # committed as far as it came, it would be in scratch again
        os.unlink(f"{host.workspace}/{big}")
    files = f"try:\n for n in range(1000): open({small!r} + str(n), 'w').close()\nexcept OSError as error: print(error.errno)"
    ran = host.python(files)
    assert ran.out == "28\n", ran
    assert ran.result["limits_hit"] == ["max_files"], ran


def test_a_file_system_that_the_base_profile_bounds_is_no_limit_of_the_job(host: Host) -> None:
    """Asking for a higher limit would not help: /tmp of the default base profile has a size of its own."""
    host.policy(PYTHON, limits={"max_disk": "100GiB", "max_files": 1 << 30})
    ran = host.python(
        "import os\ntry:\n for n in range(10**6): os.mkfifo(f'/tmp/{n}')\nexcept OSError as error: print(error.errno)"
    )
    assert ran.out == "28\n", ran
    assert ran.result["limits_hit"] == []


def test_dropped_output(host: Host) -> None:
    host.policy(PYTHON, limits={"max_output": 1000})
    ran = host.python("print('x' * 5000)")
    assert ran.status == 0
    told(host, ran, "max_output", "the rest was dropped")


def test_a_job_within_its_limits_is_told_nothing(host: Host) -> None:
    host.policy(PYTHON, limits={"max_processes": 20, "max_disk": "4MiB", "max_files": 200, "max_output": 1000})
    ran = host.python("open('/tmp/x', 'wb').write(bytes(1_000_000))\nprint('x')")
    assert (ran.result["limits_hit"], ran.err) == ([], "ended_by: job\n"), ran
    assert [e for e in host.audit() if e["event"] == "limit"] == []
