"""--trace-denials through real launches: what it sees, that it changes no verdict, and that a job cannot use it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import Any

import pytest

from tests.sandboxed import Host, Ran

pytestmark = pytest.mark.kernel
TRACE = ("--trace-denials",)


def observed(ran: Ran) -> set[tuple[str, str, str]]:
    return {(row["capability"], row["operation"], row["resource"]) for row in ran.result["observed"]}


def test_what_is_not_in_view_is_observed_with_the_grant(host: Host) -> None:
    host.policy({"sh": True, "cmd": ["cat", "ls"], "file": [{"patterns": ["data/*.csv"], "operations": ["read"]}]})
    host.write("data/a.csv", "a\n")
    host.write("notes.txt", "n\n")
    host.write("out/.keep", "")
    ran = host.launch(
        "sh", "-c", "cat data/a.csv; cat notes.txt; git status; echo x >out/new; cat absent", options=TRACE
    )
    assert ran.out == "a\n", ran
    rows = observed(ran)
    assert ("file", "read", f"{host.workspace}/notes.txt") in rows
    assert ("file", "write", f"{host.workspace}/out/new") in rows
    assert ("cmd", "execute", "git") in rows
    assert not [row for row in rows if "a.csv" in row[2] or "absent" in row[2]], rows
    for line in ("ask for: file.read:@base/notes.txt", "ask for: file.write:@base/out/new", "ask for: cmd:git"):
        assert f"mlsandbox: {line}\n" in ran.err, ran
    assert ran.result["observing"]["calls"] > 10


@pytest.mark.full_as("root")
def test_every_grant_to_ask_for_is_one_that_a_policy_takes(host: Host) -> None:
    host.policy({"sh": True, "cmd": ["cat", "id -u"]})
    host.write("a [b]*?.txt", "odd")
    host.write("ü\n.txt", "odd")
    ran = host.launch("sh", "-c", "cat 'a [b]*?.txt'; cat ü*; cat ~root/x; id -g; make 'a b'; ls", options=TRACE)
    grants = [row["grant"] for row in ran.result["denials"] if row["grant"]]
    assert r"file.read:@base/a \[b]\*\?.txt" in grants, ran
    host.policy({"allow": [*grants, "sh", "cmd:cat"]}, name="test")
    again = host.launch("sh", "-c", "cat 'a [b]*?.txt'; id -g")
    assert again.out.startswith("odd"), again
    assert again.status == 0, again


@pytest.mark.full_as("user")
def test_they_are_claims_in_the_audit(host: Host) -> None:
    host.policy({"cmd": ["cat"]})
    host.write("notes.txt", "n")
    host.launch("cat", "notes.txt", options=TRACE)
    (seen,) = [e for e in host.audit() if e["event"] == "observed" and "notes" in e["resource"]]
    assert (seen["layer"], seen["outcome"]) == ("runtime", "DENIED")
    assert (seen["capability"], seen["operation"]) == ("file", "read")
    assert seen["detail"]["canonical"] == f"{host.workspace}/notes.txt"


def test_the_rules_about_later_execs_hold_under_it(host: Host) -> None:
    """Attacks 16 and 17: USER_NOTIF outranks TRACE, so an observer of execve would let an exec pass its check."""
    host.policy({"sh": True, "cmd": ["id -u"]})
    ran = host.launch("sh", "-c", "id -u; id -g; echo $?", options=TRACE)
    assert [row["command"] for row in ran.result["refused_execs"]] == ["id -g"], ran
    assert ran.out.splitlines()[1:] == ["137"]


@pytest.mark.full_as("root")
def test_an_ml_program_under_it(host: Host) -> None:
    """It may execute nothing after its image: the one listener that a process can have holds that rule as well."""
    host.policy({})
    host.write("job.ml", 'print("ran");\n')
    ran = host.launch("job.ml", options=TRACE)
    assert ran.out == "ran\n", ran
    assert ran.result["observing"]["calls"] > 0


def test_a_refused_call_stays_refused(host: Host) -> None:
    """ERRNO and KILL of the job's filter come before the observer's USER_NOTIF."""
    host.policy({"py": True})
    code = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
os.mkdir("/tmp/d")
print(libc.chmod(b"/tmp/d", 0o4755), ctypes.get_errno())
print(libc.mkdirat(-100, b"/tmp/e", 0o2755), ctypes.get_errno())
print(libc.syscall(437, -100, b"/tmp", ctypes.create_string_buffer(24), 24), ctypes.get_errno())
"""
    assert host.python(code, options=TRACE).out == host.python(code).out


@pytest.mark.full_as("user")
def test_staged_writes_are_told_by_the_commit_and_not_twice(host: Host) -> None:
    host.policy({"py": True, "file": [{"patterns": ["out/*.txt"], "operations": ["read", "write"]}]})
    host.write("out/a.txt", "a")
    ran = host.python("open('out/b.txt','w').write('b'); open('out/c.md','w').write('c')", options=TRACE)
    assert ran.status == 0, ran
    assert not [row for row in observed(ran) if row[1] == "write"], ran
    assert [row["grant"] for row in ran.result["denials"] if row["layer"] == "commit"] == [
        "file.write:@base/out/c.md"
    ], ran


FLOOD = """
import os
for n in range(30000):
    try: os.stat(f"/srv/nothing-{n}")
    except OSError: pass
for n in range(3000):
    try: os.stat(f"many/{n}")
    except OSError: pass
"""


@pytest.mark.full_as("user")
def test_a_flood_is_bounded_and_only_slows_the_job(host: Host) -> None:
    host.policy({"py": True})
    for n in range(1100):
        host.write(f"many/{n}", "")
    ran = host.python(FLOOD, options=TRACE)
    assert ran.status == 0, ran
    assert len(ran.result["observed"]) <= 1000
    assert ran.result["observing"]["dropped"] > 0, ran.result["observing"]
    assert len([e for e in host.audit() if e["event"] == "observed"]) <= 200 + 20 * 60


@pytest.mark.full_as("root")
def test_a_job_in_a_loop_ends_at_its_wall_limit(host: Host) -> None:
    """A stall of the observer would be one of the supervisor's clock."""
    host.policy({"py": True})
    code = "import os\nfor _ in range(4):\n os.fork()\nwhile 1: os.access('/srv', 0)"
    began = time.monotonic()
    ran = host.python(code, options=(*TRACE, "--timeout", "2s"))
    assert ran.ended_by == "wall", ran
    assert time.monotonic() - began < 8


def processes_of(token: str) -> list[int]:
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                if token.encode() in file.read():
                    found.append(int(pid))
        except OSError:
            continue
    return found


def test_the_end_of_the_launcher_ends_the_observer(host: Host) -> None:
    """Attack 30: the observer, forked by the supervisor, must neither outlive it nor keep the sandbox alive."""
    host.policy({"py": True})
    token = f"observed-{os.urandom(4).hex()}"
    code = f"import os\nprint('up', flush=True)\nwhile 1: os.access('/srv/{token}', 0)"
    process = host.popen("launch", *TRACE, "--", "python3", "-I", "-c", code, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    process.stdout.close()
    process.send_signal(signal.SIGKILL)
    process.wait()
    until = time.monotonic() + 2
    while processes_of(token) and time.monotonic() < until:
        time.sleep(0.02)
    assert processes_of(token) == []


def test_memory_that_lies_is_no_fact_and_no_crash(host: Host) -> None:
    """Names at unmapped addresses, without an end, over a page's end, and exchanged by a thread."""
    host.policy({"py": True})
    host.write("real.txt", "x")
    code = """
import ctypes, mmap, os, threading
libc = ctypes.CDLL(None, use_errno=True)
for address in (0, 1, -1 & (1 << 64) - 1, 1 << 47, 0xffff800000000000):
    print(libc.syscall(4, ctypes.c_void_p(address), None), ctypes.get_errno())
page = mmap.mmap(-1, 8192)
page[:] = b"a" * 8192
buffer = (ctypes.c_char * 8192).from_buffer(page)
print(libc.syscall(4, ctypes.byref(buffer), None), ctypes.get_errno())
name = ctypes.create_string_buffer(b"real.txt")
done = False
def flip():
    while not done:
        name.value = b"fake.txt"; name.value = b"real.txt"
thread = threading.Thread(target=flip); thread.start()
for _ in range(2000): libc.syscall(21, name, 0)
done = True
print("end")
"""
    ran = host.python(code, options=TRACE)
    assert ran.status == 0, ran
    assert ran.out.splitlines()[-1] == "end"
    assert [line.split()[1] for line in ran.out.splitlines()[:5]] == ["14"] * 5, ran


@pytest.mark.full_as("user")
def test_sockets_and_devices_outside_are_named(host: Host, tmp_path_factory: Any) -> None:
    import socket

    path = f"{host.top}/s"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        os.chmod(path, 0o777)
        server.listen()
        host.policy({"py": True})
        code = f"""
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
address = b"\\1\\0" + {path!r}.encode() + b"\\0"
print(libc.connect(0, address, len(address)))
try: open("/dev/fuse")
except OSError as error: print(error.errno)
"""
        ran = host.python(code, options=TRACE)
    assert ("socket", "connect", path) in observed(ran), ran
    if host.who == "root" and os.path.exists("/dev/fuse"):
        assert ("device", "use", "/dev/fuse") in observed(ran), ran


COST = """
import os, time
def cpu(n):
    began = time.perf_counter()
    for _ in range(n): os.access("/usr/lib", 0)
    return (time.perf_counter() - began) / n * 1e6
cpu(100)
print(cpu(3000))
"""


@pytest.mark.full_as("root")
def test_the_cost_of_a_call_is_bounded(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    host.policy({"py": True})
    plain = float(host.python(COST).out)
    traced = float(host.python(COST, options=TRACE).out)
    with capsys.disabled():
        print(f" {host.who}: {plain:.1f} us a call, {traced:.1f} us observed", end="")
    assert traced < 2000


@pytest.mark.full_as("root")
def test_without_it_there_is_no_observer(host: Host) -> None:
    host.policy({"cmd": ["cat"]})
    host.write("notes.txt", "n")
    ran = host.launch("cat", "notes.txt")
    assert ran.result["observed"] == [] and ran.result["observing"] == {}
    assert "observed" not in ran.err
