"""Attacks 80 to 89: floods end at a limit, and the host does not feel them."""

from __future__ import annotations

import os
import subprocess
import time

from tests.attack.report import CAPABILITIES, Report
from tests.sandboxed import Host

PROBE = "resources"


def test_g80_forks_threads_and_zombies(report: Report) -> None:
    report.all("g80", "EAGAIN")
    report.all("g80b", "refused")
    report.all("g80c", "EAGAIN")
    assert subprocess.run(["/bin/true"], check=False).returncode == 0


def test_g80_fork_bomb(attacked: Host) -> None:
    attacked.policy(CAPABILITIES, limits={"max_wall_time": 2, "max_processes": 50})
    code = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"
    began = time.monotonic()
    ran = attacked.python(code)
    assert (ran.status, ran.ended_by) == (124, "wall"), ran
    assert time.monotonic() - began < 6


def test_g81_memory(attacked: Host) -> None:
    """In one process, in many, and in a private file system, which counts as well."""
    attacked.policy(CAPABILITIES, limits={"max_memory": "64MiB", "max_wall_time": 20})
    one = "x = bytearray(1 << 30); print('touched')"
    many = (
        "import os\n"
        "pids = []\n"
        "for _ in range(16):\n"
        "    pid = os.fork()\n"
        "    if pid == 0: x = bytearray(32 << 20); import time; time.sleep(5); os._exit(0)\n"
        "    pids.append(pid)\n"
        "print(sum(os.waitpid(pid, 0)[1] == 9 for pid in pids) > 0)"
    )
    files = "f = open('/dev/shm/x', 'wb')\nfor _ in range(300): f.write(bytes(1 << 20))"
    if attacked.who == "user":
        ran = attacked.python(one)  # nothing is delegated here: refused, never run without the limit
        assert ran.status == 126 or ran.ended_by == "memory", ran
        return
    assert attacked.python(one).ended_by == "memory"
    ran = attacked.python(many)
    assert ran.out == "True\n" or ran.ended_by == "memory", ran
    ran = attacked.python(files)
    assert ran.status != 0, ran


def test_g82_private_file_systems_are_full_at_their_limit(report: Report) -> None:
    report.all("g82", "ENOSPC", "EDQUOT")
    report.all("g82b", "EROFS", "ENOENT", "EACCES")


def test_g82_sparse_file(attacked: Host) -> None:
    """8 TiB apparent size; the commit is bounded by apparent and real size."""
    attacked.policy(CAPABILITIES, limits={"max_disk": "16MiB", "max_wall_time": 20})
    ran = attacked.python("import os\nfd = os.open('out/sparse', os.O_CREAT | os.O_WRONLY)\nos.ftruncate(fd, 8 << 40)")
    path = f"{attacked.workspace}/out/sparse"
    assert not os.path.exists(path) or os.stat(path).st_size <= 16 << 20, ran


def test_g83_descriptors_timers_and_locks(report: Report) -> None:
    report.all("g83", "EMFILE")
    report.all("g83b", "EAGAIN", "EMFILE", "ENOMEM", "EPERM", "ENOSPC", "EACCES")


def test_g84_output_flood(attacked: Host) -> None:
    """One line without end, not UTF-8: capped, and the launcher's memory stays flat."""
    attacked.policy(CAPABILITIES, limits={"max_output": "1MiB", "max_wall_time": 20})
    code = "import os\nfor _ in range(4000): os.write(1, b'\\xff\\x1b]52;c;x' * 8000)"
    ran = attacked.python(code)
    assert len(ran.raw) < (1 << 20) + 1000
    assert ran.result["usage"]["output_dropped"] > 200 << 20


def test_g85_idle_stopped_and_spinning(attacked: Host) -> None:
    attacked.policy(CAPABILITIES, limits={"max_wall_time": 1})
    for code in (
        "import time; time.sleep(60)",
        "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)",
        "while True: pass",
    ):
        ran = attacked.python(code)
        assert (ran.status, ran.ended_by) == (124, "wall"), ran


def test_g85_processor_time(attacked: Host) -> None:
    """Spent by many children: counted for the whole tree where there is a control group."""
    attacked.policy(CAPABILITIES, limits={"max_cpu_time": 1, "max_wall_time": 40})
    code = (
        "import os\nfor _ in range(2):\n    if os.fork() == 0:\n        while True: pass\nfor _ in range(2): os.wait()"
    )
    options = [] if attacked.who == "root" else ["--allow-degraded"]
    ran = attacked.python(code, options=options)
    if attacked.who == "root":
        assert ran.result["limit"] == "max_cpu_time", ran
    else:  # each process by RLIMIT_CPU
        assert ran.status == 0 and ran.result["usage"]["wall_us"] < 39_000_000, ran


def test_g87_long_deep_and_linked(report: Report) -> None:
    report.all("g87", "E2BIG")
    report.all("g87b", "ENOSPC", "ENAMETOOLONG")
    report.all("g87c", "ELOOP")


def test_g87_deep_staged_directories(attacked: Host) -> None:
    """The commit walks what the job made, by descriptor; it neither recurses without bound nor hangs."""
    attacked.policy(CAPABILITIES, limits={"max_wall_time": 30, "max_files": 20000, "max_disk": "64MiB"})
    code = "import os\nos.chdir('out')\nfor _ in range(3000): os.mkdir('d'); os.chdir('d')\nopen('f', 'w').write('x')"
    ran = attacked.python(code, timeout=100)
    assert "Traceback" not in ran.err and "internal error" not in ran.err, ran
    subprocess.run(["rm", "-rf", f"{attacked.workspace}/out/d"], check=False)


def test_g89_leaves_no_groups(attacked: Host) -> None:
    """A fast forker inside its group; afterwards no group of ours is left."""
    attacked.policy(CAPABILITIES, limits={"max_wall_time": 1, "max_processes": 30})
    attacked.python("import os\nwhile True:\n    try:\n        if os.fork(): os._exit(0)\n    except OSError: pass")
    ran = attacked.python("print('next')")
    assert ran.out == "next\n", ran
    assert ran.result["job"] not in str(subprocess.run(["find", "/sys/fs/cgroup", "-maxdepth", "4", "-name", f"mlsandbox-{ran.result['job']}"], capture_output=True, check=False).stdout)  # fmt: skip


def test_g88_scratch_costs_no_disk(attacked: Host) -> None:
    """No io controller is used. What a job writes and syncs while it runs is memory, bounded by max_disk; the disk is
    touched once, by the commit, and by no more than that. (A `live` tree is the host's, and so is its traffic.)"""
    attacked.policy(CAPABILITIES, limits={"max_disk": "16MiB", "max_wall_time": 60})
    code = (
        "import os\n"
        "written = 0\n"
        "for where in ('/tmp/hog', 'out/hog'):\n"
        "    fd = os.open(where, os.O_CREAT | os.O_WRONLY)\n"
        "    try:\n"
        "        while True: written += os.write(fd, bytes(1 << 20)); os.fsync(fd)\n"
        "    except OSError as error: print(where, error.errno)\n"
        "    os.unlink(where)\n"
        "print(written > 8 << 20, open('/proc/self/io').read().split('write_bytes: ')[1].split()[0])\n"
    )
    ran = attacked.python(code)
    assert ran.out == "/tmp/hog 28\nout/hog 28\nTrue 0\n", ran
