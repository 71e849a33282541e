"""What a job sees, and how its end comes back: exit statuses, signals, limits, output. Real launches."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time

import pytest

from tests.sandboxed import Host

pytestmark = pytest.mark.kernel
SHELL = {"sh": True, "cmd": ["ls", "cat", "id", "true", "sleep", "env", "hostname"]}
PYTHON = {"py": True}


def test_exit_status_is_the_jobs_own(host: Host) -> None:
    host.policy(SHELL)
    ran = host.launch("sh", "-c", "exit 42")
    assert (ran.status, ran.ended_by) == (42, "job"), ran
    assert ran.result["exit_code"] == 42
    assert ran.result["usage"]["wall_us"] > 0


def test_a_signal_is_128_and_its_number(host: Host) -> None:
    host.policy(SHELL)
    ran = host.launch("sh", "-c", "kill -TERM $$")
    assert (ran.status, ran.result["signal"]) == (128 + signal.SIGTERM, signal.SIGTERM), ran


def test_wall_limit(host: Host) -> None:
    host.policy(SHELL, limits={"max_wall_time": 1})
    began = time.monotonic()
    ran = host.launch("sh", "-c", "trap '' TERM INT; sleep 30 & sleep 30")
    assert (ran.status, ran.ended_by, ran.result["limit"]) == (124, "wall", "max_wall_time"), ran
    assert time.monotonic() - began < 10


def test_the_command_line_only_lowers(host: Host) -> None:
    host.policy(SHELL, limits={"max_wall_time": 1})
    ran = host.launch("sleep", "20", options=["--timeout", "1h"])
    assert ran.status == 124, ran


def test_unknown_command_is_127_and_ungranted_is_126(host: Host) -> None:
    host.policy(SHELL)
    assert host.launch("no-such-program").status == 127
    refused = host.launch("rm", "-rf", "/")
    assert (refused.status, refused.ended_by) == (126, "policy"), refused
    assert "cmd: [rm]" in refused.err


def test_no_policy_no_launch(host: Host) -> None:
    refused = host.launch("true")
    assert (refused.status, refused.ended_by) == (126, "policy"), refused
    assert "no policy applies" in refused.err


def test_an_empty_policy_lets_nothing_run_but_applies(host: Host) -> None:
    host.policy({})
    refused = host.launch("true")
    assert refused.status == 126, refused
    host.write("nothing.ml", 'print("hello");\n')
    assert host.launch("nothing.ml").out == "hello\n"


def test_the_view_holds_only_what_is_granted(host: Host) -> None:
    host.write("data/a.csv", "1,2\n")
    host.write("data/b.txt", "no\n")
    host.write("secret/key", "s3cret\n")
    host.policy({**SHELL, "file": [{"patterns": ["data/*.csv"], "operations": ["read"]}]})
    ran = host.launch("sh", "-c", "ls data; cat data/a.csv; cat data/b.txt; ls secret; ls /var/lib /mnt")
    assert ran.out == "a.csv\n1,2\n", ran
    listing = host.launch("ls", "/").out.split()
    assert set(listing) <= {
        "bin",
        "dev",
        "etc",
        "home",
        "lib",
        "lib32",
        "lib64",
        "libx32",
        "proc",
        "root",
        "sbin",
        "srv",
        "tmp",
        "usr",
        "var",
    }, listing


def test_programs_that_are_not_granted_are_not_there(host: Host) -> None:
    host.policy(SHELL)
    ran = host.launch("sh", "-c", "ls /usr/bin /usr/sbin; ls /usr/local/bin")
    names = set(ran.out.split())
    assert {"ls", "cat", "sh"} <= names
    assert not names & {"python3", "perl", "mount", "su", "gcc", "git", "unshare"}, names


def test_identity_inside(host: Host) -> None:
    host.policy(PYTHON)
    ran = host.python(
        "import os, json; print(json.dumps([os.getuid(), os.getpid() != 1, os.getppid(), os.uname().nodename, open('/proc/self/uid_map').read().split(), open('/proc/1/cmdline').read().strip(chr(0))]))"
    )
    uid, not_init, parent, name, uid_map, cmdline = json.loads(ran.out)
    assert uid != 0 and not_init and parent == 1 and name == "mlsandbox" and cmdline == ""
    assert uid_map == [str(uid), str(uid), "1"]


def test_no_capabilities_no_new_privileges_and_a_filter(host: Host) -> None:
    host.policy({**SHELL})
    status = dict(
        line.split(":\t", 1) for line in host.launch("cat", "/proc/self/status").out.splitlines() if ":\t" in line
    )
    for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[kind], 16) == 0, kind
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")


def test_only_loopback(host: Host) -> None:
    host.policy(PYTHON)
    code = """
import socket
s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen()
c = socket.create_connection(s.getsockname()); print('loopback')
for address in (('192.0.2.1', 80), ('10.0.0.1', 22)):
    try: socket.create_connection(address, timeout=2); print('REACHED', address)
    except OSError as error: print(error.errno)
print(sorted(name for _, name in socket.if_nameindex()))
"""
    ran = host.python(code)
    assert ran.out == "loopback\n101\n101\n['lo']\n", ran


def test_environment_is_clean(host: Host) -> None:
    host.policy({**SHELL, "env": ["GREETING"]})
    environment = {**host.drop()["env"], "GREETING": "hi", "AWS_SECRET_ACCESS_KEY": "leak", "LD_PRELOAD": "/x.so"}
    ran = subprocess.run(
        host.command("launch", "--", "env"),
        capture_output=True,
        cwd=host.workspace,
        **{**host.drop(), "env": environment},
        check=False,
    )
    lines = dict(line.split("=", 1) for line in ran.stdout.decode().splitlines())
    assert lines["GREETING"] == "hi"
    assert not set(lines) & {"AWS_SECRET_ACCESS_KEY", "LD_PRELOAD", "MLSANDBOX_ROOT"}


def test_standard_streams_pass_through(host: Host) -> None:
    host.policy({**SHELL})
    data = os.urandom(3_000_000)
    ran = host.launch("cat", input=data)
    assert ran.raw == data, ran.status


def test_a_caller_with_non_blocking_descriptors(host: Host) -> None:
    """As Node hands them to its children: a full pipe is no error, and an empty one is not the end."""
    host.policy(SHELL)
    given, feed = os.pipe()
    seen, out = os.pipe()
    for fd in (given, out):
        os.set_blocking(fd, False)
    process = host.popen("launch", "--", "cat", stdin=given, stdout=out, stderr=subprocess.DEVNULL)
    os.close(given)
    os.close(out)
    data = os.urandom(300_000)
    writer = os.fork()
    if writer == 0:
        with os.fdopen(feed, "wb") as file:
            file.write(data)
        os._exit(0)
    os.close(feed)
    time.sleep(1)  # the pipe to us is full by now
    with os.fdopen(seen, "rb") as file:
        assert file.read() == data
    os.waitpid(writer, 0)
    assert process.wait(timeout=20) == 0


def test_output_is_capped_with_a_marker(host: Host) -> None:
    host.policy(PYTHON, limits={"max_output": 100_000})
    ran = host.python("import sys\nfor _ in range(1000): sys.stdout.write('x' * 1000)")
    assert ran.status == 0
    assert 100_000 <= len(ran.out) < 100_200
    assert "output limit" in ran.out
    assert ran.result["usage"]["output_dropped"] == 900_000


def test_fork_bomb_stops_at_the_limit(host: Host) -> None:
    host.policy(PYTHON, limits={"max_processes": 20})
    code = """
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
    ran = host.python(code)
    assert ran.out.strip() == "19", ran


def test_memory_limit(host: Host) -> None:
    host.policy(PYTHON, limits={"max_memory": "64MiB"})
    ran = host.python("x = bytearray(500_000_000); print(len(x))")
    if host.who == "root":
        assert (ran.status, ran.ended_by) == (137, "memory"), ran
    else:  # nothing is delegated to a plain user here: the launch is refused, with what to do about it
        assert (ran.status, ran.ended_by) == (126, "policy"), ran
        assert "--allow-degraded" in ran.err
        degraded = host.python("print('ran')", options=["--allow-degraded"])
        assert degraded.out == "ran\n" and "limits.max_memory" in degraded.err, degraded


def test_processor_time(host: Host) -> None:
    """Attack 85: spinning is told apart from waiting; of the whole tree where there is a cgroup."""
    host.policy(PYTHON, limits={"max_cpu_time": 1, "max_wall_time": 60})
    ran = host.python("while True: pass", options=["--allow-degraded"])
    assert ran.result["limit"] == "max_cpu_time", ran
    if host.who == "root":
        tree = "import os\nfor _ in range(4):\n    if os.fork() == 0:\n        while True: pass\nos.wait()"
        assert host.python(tree).result["limit"] == "max_cpu_time"


def test_file_size(host: Host) -> None:
    host.policy({"sh": True, "cmd": ["head"]}, limits={"max_file_size": "1MiB"})
    ran = host.launch("head", "-c", "5000000", "/dev/zero")
    assert ran.status == 0
    ran = host.launch("sh", "-c", "exec head -c 5000000 /dev/zero > /tmp/x")
    assert (ran.result["limit"], ran.result["signal"]) == ("max_file_size", signal.SIGXFSZ), ran


def test_stray_processes_end_with_the_job(host: Host) -> None:
    host.policy(PYTHON)
    marker = f"stray-{os.urandom(6).hex()}"
    code = f"import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0: time.sleep(60)\n    os._exit(0)\nprint('{marker}')"
    ran = host.python(code)
    assert marker in ran.out
    assert not processes_with(marker)


def processes_with(marker: str) -> list[str]:
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                if marker.encode() in file.read() and int(pid) != os.getpid():
                    found.append(pid)
        except OSError:
            continue
    return found


def test_signals_reach_the_job(host: Host) -> None:
    host.policy({**SHELL})
    process = host.popen(
        "launch",
        "--",
        "sh",
        "-c",
        "trap 'echo got it; exit 7' TERM; echo ready; while :; do sleep 0.1; done",
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=20)
    assert (out, process.returncode) == (b"got it\n", 7)


def test_nothing_is_left_when_the_launcher_is_killed(host: Host) -> None:
    """Attack 30: SIGKILL of the launcher while the job runs."""
    host.policy(PYTHON)
    marker = f"orphan-{os.urandom(6).hex()}"
    process = host.popen(
        "launch",
        "--",
        "python3",
        "-I",
        "-c",
        f"import time; print('up', flush=True); time.sleep(60)  # {marker}",
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    assert processes_with(marker)
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 1
    while processes_with(marker) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not processes_with(marker)


def test_dry_run_changes_nothing_and_names_what_would_be_done(host: Host) -> None:
    host.policy({**SHELL, "file": [{"patterns": ["data/**"], "operations": ["read"]}]})
    host.write("data/x", "x")
    shown = host.run("launch", "--dry-run", "--json", "--", "ls")
    plan = json.loads(shown.stdout)
    again = json.loads(host.run("launch", "--dry-run", "--json", "--", "ls").stdout)
    assert plan == again
    binds = [row["target"] for row in plan["plan"]["operations"] if row["op"] in {"bind", "tree"}]
    assert f"{host.workspace}/data" in binds
