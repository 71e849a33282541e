"""Jobs through a running service: as the tenant who the kernel says is calling, and with his rights."""

from __future__ import annotations

import fcntl
import json
import os
import pwd
import select
import signal
import struct
import subprocess
import termios
import time
from typing import TYPE_CHECKING, Any

import pytest

from launcher.errors import SandboxError
from launcher.service.remote import Remote, message_of
from launcher.service.request import Request
from tests.serving import Bed, as_user

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the service is root's")
GRANTS = {
    "cmd": ["id", "true", "sleep", "cat", "env", "stty"],
    "sh": True,
    "file": [
        {"patterns": ["@base/out/**"], "operations": ["read", "write"]},
        {"patterns": ["@base/*.txt"], "operations": ["read"]},
    ],
    "path": [{"patterns": ["@base/**"], "operations": ["read", "write"]}],
    "env": ["GIVEN"],
}


@pytest.fixture(scope="module")
def bed(installation: str) -> Iterator[Bed]:
    made = Bed(installation)
    made.policy(GRANTS)
    made.start()
    yield made
    print(made.log())
    made.remove()


def put(bed: Bed, user: pwd.struct_passwd, name: str, text: str, mode: int = 0o644) -> str:
    path = f"{bed.workspace(user)}/{name}"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(path, mode)
    for made in (path, os.path.dirname(path)):
        os.chown(made, user.pw_uid, user.pw_gid)
    return path


def launched(bed: Bed, user: pwd.struct_passwd, *command: str) -> tuple[dict[str, Any], bytes]:
    """The result of a job by the raw protocol, and what it printed."""

    def run() -> tuple[dict[str, Any], bytes]:
        reading, writing = os.pipe()
        request = Request()
        request.cwd, request.command = bed.workspace(user), list(command)
        request.stdio = (os.open("/dev/null", os.O_RDONLY), writing, writing)
        result = Remote(bed.client(), request).wait()
        os.close(writing)
        return result, os.read(reading, 1 << 16)

    made: tuple[dict[str, Any], bytes] = as_user(user, run)
    return made


def processes(marker: str) -> list[int]:
    """Processes of the host whose command line holds `marker`."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
        except OSError:
            continue
        found += [int(name)] if words[:2] == [b"sleep", marker.encode()] else []
    return found


def wait_for(condition: Any, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_tenant_launches_as_himself(bed: Bed) -> None:
    for user in (bed.alice, bed.bob):
        result, out = launched(bed, user, "id", "-u")
        assert (result["exit_code"], result["ended_by"]) == (0, "job")
        assert out.decode().strip() == str(user.pw_uid)
    ended = [event for event in bed.audit() if event["event"] == "job.ended"]
    assert [event["user"] for event in ended][-2:] == [bed.alice.pw_name, bed.bob.pw_name]


def test_a_tenant_cannot_launch_for_another(bed: Bed) -> None:
    def run() -> None:
        bed.client().call("launch", {"command": ["true"], "cwd": "/", "user": bed.bob.pw_name})

    with pytest.raises(SandboxError, match="may not launch for") as caught:
        as_user(bed.alice, run)
    assert caught.value.status == 126


def test_an_operator_launches_for_a_tenant_with_the_tenants_rights(bed: Bed) -> None:
    private = put(bed, bed.bob, "private.txt", "bob's\n", 0o600)
    put(bed, bed.alice, "a.txt", "alice's\n", 0o600)
    words = bed.command("launch", "--user", bed.alice.pw_name, "--", "sh", "-c", f"cat a.txt; cat {private}")
    ran = subprocess.run(
        words, capture_output=True, check=False, cwd=bed.workspace(bed.alice), stdin=subprocess.DEVNULL
    )
    assert ran.stdout == b"alice's\n", ran
    assert ran.returncode != 0


def test_the_command_line_is_the_same_with_the_service(bed: Bed) -> None:
    ran = bed.run(bed.alice, "launch", "--", "sh", "-c", "cat; echo err >&2; exit 7", input=b"given\n")
    assert (ran.returncode, ran.stdout, ran.stderr) == (7, b"given\n", b"err\nended_by: job\n")
    missing = bed.run(bed.alice, "launch", "--", "nothing-of-this-name")
    assert missing.returncode == 127
    assert b"command not found" in missing.stderr
    refused = bed.run(bed.alice, "launch", "--", "ls")
    assert refused.returncode == 126
    assert refused.stderr.endswith(b"ended_by: policy\n")
    slow = bed.run(bed.alice, "launch", "--timeout", "1s", "--", "sleep", "60")
    assert (slow.returncode, slow.stderr.splitlines()[-1]) == (124, b"ended_by: wall")


def test_the_result_is_written_by_the_client(bed: Bed) -> None:
    path = f"{bed.workspace(bed.alice)}/result.json"
    assert bed.run(bed.alice, "launch", "--result", path, "--", "true").returncode == 0
    with open(path, encoding="utf-8") as file:
        assert json.load(file)["ended_by"] == "job"
    assert os.stat(path).st_uid == bed.alice.pw_uid


def test_check_explain_and_dry_run_ask_the_service(bed: Bed) -> None:
    """The tenant cannot read a policy: what is printed can come from the service alone."""
    os.chmod(f"{bed.root}/policies", 0o700)
    assert bed.run(bed.alice, "check", "--", "id").returncode == 0
    assert bed.run(bed.alice, "check", "--", "ls").returncode == 126
    shown = bed.run(bed.alice, "explain", "--json", "--", "id")
    assert json.loads(shown.stdout)["profile"]["user"]["name"] == bed.alice.pw_name
    plan = bed.run(bed.alice, "launch", "--dry-run", "--", "id").stdout.decode()
    assert f"run /usr/bin/id as uid {bed.alice.pw_uid}" in plan
    assert bed.run(bed.alice, "explain", "--embedded", "--", "id").returncode == 125


def test_an_ml_program_is_read_by_its_owner(bed: Bed) -> None:
    put(bed, bed.alice, "job.ml", 'print("hello");\nresult = 6 * 7;\n', 0o600)
    assert bed.run(bed.alice, "launch", "job.ml").stdout == b"hello\n"
    path = put(bed, bed.bob, "secret.ml", 'print("bob\'s program");\n', 0o600)
    ran = bed.run(bed.alice, "launch", path)
    assert ran.returncode == 127
    assert b"bob" not in ran.stdout


def test_a_program_that_only_the_service_could_read_is_not_read(bed: Bed) -> None:
    """Through the raw protocol nobody passes a descriptor: the path is then opened with the tenant's ids."""
    path = put(bed, bed.bob, "hidden.ml", 'print("bob\'s program");\n', 0o600)

    def run() -> None:
        request = Request()
        request.cwd, request.program = "/", path
        bed.client().call("check", message_of(request))

    with pytest.raises(SandboxError, match="cannot read the program"):
        as_user(bed.alice, run)


def test_writes_are_committed_with_the_tenants_ids(bed: Bed) -> None:
    os.makedirs(f"{bed.workspace(bed.alice)}/out", exist_ok=True)
    os.chown(f"{bed.workspace(bed.alice)}/out", bed.alice.pw_uid, bed.alice.pw_gid)
    ran = bed.run(bed.alice, "launch", "--", "sh", "-c", "echo one > out/new; echo two > no")
    assert ran.returncode in {0, 1, 2}, ran
    found = os.stat(f"{bed.workspace(bed.alice)}/out/new")
    assert (found.st_uid, found.st_gid) == (bed.alice.pw_uid, bed.alice.pw_gid)
    assert not os.path.exists(f"{bed.workspace(bed.alice)}/no")


def test_only_granted_variables_pass(bed: Bed) -> None:
    options = bed.drop(bed.alice)
    options["env"] = {**options["env"], "GIVEN": "yes", "SECRET": "no"}
    words = bed.command("launch", "--", "env")
    out = subprocess.run(words, capture_output=True, check=True, stdin=subprocess.DEVNULL, **options).stdout
    assert b"GIVEN=yes\n" in out
    assert b"SECRET" not in out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP])
def test_signals_reach_the_job(bed: Bed, number: int) -> None:
    job = "trap 'echo got; exit 9' INT TERM QUIT HUP; echo ready; while :; do sleep 0.05; done"
    started = subprocess.Popen(
        bed.command("launch", "--", "sh", "-c", job), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, **bed.drop(bed.alice),
    )  # fmt: skip
    assert started.stdout
    assert started.stdout.readline() == b"ready\n"
    started.send_signal(number)
    out, err = started.communicate(timeout=20)
    assert (started.returncode, out) == (9, b"got\n"), err


def test_a_stopped_client_stops_its_job_and_both_go_on(bed: Bed) -> None:
    started = subprocess.Popen(
        bed.command("launch", "--", "sh", "-c", "echo ready; exec sleep 617"), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, **bed.drop(bed.alice),
    )  # fmt: skip
    assert started.stdout
    assert started.stdout.readline() == b"ready\n"
    wait_for(lambda: processes("617"))
    (job,) = processes("617")

    def state() -> str:
        with open(f"/proc/{job}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0]

    started.send_signal(signal.SIGTSTP)
    wait_for(lambda: state() in {"T", "t"})  # t: it is traced, too
    started.send_signal(signal.SIGCONT)
    wait_for(lambda: state() == "S")
    started.send_signal(signal.SIGTERM)
    assert started.wait(20) == 143
    started.stdout.close()


def test_a_client_that_is_killed_takes_its_job_along(bed: Bed) -> None:
    words = bed.command("launch", "--", "sleep", "613")
    started = subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **bed.drop(bed.alice))
    wait_for(lambda: processes("613"))
    started.kill()
    started.wait()
    wait_for(lambda: not processes("613"), 5)
    ended = [event for event in bed.audit() if event["event"] == "job.ended"]
    assert ended[-1]["detail"]["exit_code"] == 137


def test_a_client_that_leaves_before_it_passed_descriptors_leaves_nothing(bed: Bed) -> None:
    def run() -> None:
        for _ in range(20):
            client = bed.client()
            client.begin("launch", {"command": ["true"], "cwd": bed.workspace(bed.alice)})
            client.close()

    as_user(bed.alice, run)
    assert launched(bed, bed.alice, "true")[0]["exit_code"] == 0


@pytest.mark.parametrize("kind", ["directory", "path", "closed", "reading", "two", "five"])
def test_descriptors_that_are_no_streams_are_refused(bed: Bed, kind: str) -> None:
    def run() -> None:
        null = os.open("/dev/null", os.O_RDWR)
        odd = {
            "directory": lambda: os.open("/", os.O_RDONLY),
            "path": lambda: os.open("/dev/null", os.O_PATH),
            "closed": lambda: os.open("/dev/null", os.O_RDONLY),
            "reading": lambda: os.open("/etc/passwd", os.O_RDONLY),
        }.get(kind, lambda: null)()
        request = Request()
        request.cwd, request.command = "/", ["true"]
        fds = {"two": [null, null], "five": [null] * 4}.get(kind, [null, odd, null])
        request.stdio = tuple(fds)  # type: ignore[assignment]
        Remote(bed.client(), request).wait()

    with pytest.raises(SandboxError, match=r"launch passes standard|none that a stream"):
        as_user(bed.alice, run)


def test_a_terminal_that_is_none_is_refused(bed: Bed) -> None:
    def run() -> None:
        request = Request()
        request.cwd, request.command, request.terminal = "/", ["true"], True
        null = os.open("/dev/null", os.O_RDWR)
        request.stdio = (null, null, null)
        Remote(bed.client(), request).wait()

    with pytest.raises(SandboxError, match="terminal"):
        as_user(bed.alice, run)


def test_output_may_go_to_a_file_and_input_come_from_one(bed: Bed) -> None:
    given = put(bed, bed.alice, "in.txt", "from a file\n")
    taken = put(bed, bed.alice, "taken", "")
    with open(given, "rb") as source, open(taken, "wb") as sink:
        words = bed.command("launch", "--", "cat")
        subprocess.run(words, stdin=source, stdout=sink, stderr=subprocess.DEVNULL, check=True, **bed.drop(bed.alice))
    with open(taken, encoding="utf-8") as file:
        assert file.read() == "from a file\n"


def test_a_tenant_cannot_look_at_the_services_files(bed: Bed) -> None:
    assert launched(bed, bed.alice, "true")[0]["exit_code"] == 0

    def readable() -> list[str]:
        found = []
        for name in ("state", "cache", "log"):
            for top, _directories, files in os.walk(f"{bed.root}/{name}"):
                found += [f"{top}/{file}" for file in files if os.access(f"{top}/{file}", os.R_OK)]
        return found

    assert [name for name in ("state", "log") if not os.path.isdir(f"{bed.root}/{name}")] == []
    assert as_user(bed.alice, readable) == []


def test_another_tenants_processes_do_not_hold_up_a_launch(bed: Bed) -> None:
    """bob does not read what his jobs write: alice's do not wait for that."""
    reading, writing = os.pipe()
    words = bed.command("launch", "--", "sh", "-c", "while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done")
    flood = subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=writing, stderr=subprocess.DEVNULL, **bed.drop(bed.bob)
    )
    os.close(writing)
    try:
        assert os.read(reading, 1)
        assert launched(bed, bed.alice, "true")[0]["exit_code"] == 0
        assert launched(bed, bed.bob, "true")[0]["exit_code"] == 0
    finally:
        flood.kill()
        flood.wait()
        os.close(reading)


def test_when_the_service_is_killed_nothing_of_its_jobs_is_left(installation: str) -> None:
    own = Bed(installation)
    own.policy(GRANTS)
    own.start()
    try:
        assert own.process
        words = own.command("launch", "--", "sleep", "619")
        clients = [
            subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, **own.drop(user))
            for user in (own.alice, own.bob)
        ]
        wait_for(lambda: len(processes("619")) == 2)
        family = descendants(own.process.pid)
        assert len(family) >= 7  # the zygote, two tenants' processes, two fork servers, two pid 1, those that wait
        own.stop(signal.SIGKILL)
        began = time.monotonic()
        wait_for(lambda: not any(map(alive, family)), 5)
        assert time.monotonic() - began < 1.5
        for client in clients:
            assert client.wait(10) == 125
            assert client.stderr
            assert b"the service went away" in client.stderr.read()
            client.stderr.close()
        own.start()
        assert launched(own, own.alice, "true")[0]["exit_code"] == 0
    finally:
        own.remove()


def descendants(pid: int) -> list[tuple[int, str]]:
    """All processes below `pid`, each with the time that it started."""
    parents: dict[int, list[int]] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
                parents.setdefault(int(file.read().rpartition(")")[2].split()[1]), []).append(int(name))
        except OSError:
            continue
    found, rest = [], [pid]
    while rest:
        below = parents.get(rest.pop(), [])
        found += below
        rest += below
    return [(process, started(process)) for process in found]


def started(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
            return "" if fields[0] == "Z" else fields[19]
    except OSError:
        return ""


def alive(process: tuple[int, str]) -> bool:
    return bool(process[1]) and started(process[0]) == process[1]


@pytest.fixture(scope="module")
def ml(installation: str) -> Iterator[Bed]:
    """Programs that may start no other: they are forked from what is loaded, and no interpreter starts."""
    made = Bed(installation)
    made.policy({"file": [{"patterns": ["@base/*.txt"], "operations": ["read"]}], "env": ["GIVEN"]})
    made.start()
    yield made
    print(made.log())
    made.remove()


def test_a_loaded_program_runs_as_a_started_one(ml: Bed) -> None:
    put(ml, ml.alice, "a.txt", "text\n")
    put(
        ml, ml.alice, "job.ml",
        'import file;\nimport env;\nimport math;\nprint(file.read("a.txt"), env.get("GIVEN"), math.sqrt(16));\n',
    )  # fmt: skip
    options = ml.drop(ml.alice)
    options["env"] = {**options["env"], "GIVEN": "yes", "OTHER": "no"}
    words = ml.command("launch", "job.ml", "one", "two")
    warm = subprocess.run(words, capture_output=True, check=False, stdin=subprocess.DEVNULL, **options)
    assert warm.returncode == 0, warm
    own = sandboxed_output(ml, options)
    assert warm.stdout == own
    put(ml, ml.alice, "bad.ml", 'print("before");\nx = 1 / 0;\n')
    failed = ml.run(ml.alice, "launch", "bad.ml")
    assert (failed.returncode, failed.stdout) == (1, b"before\n"), failed
    assert b"bad.ml:2" in failed.stderr or b"line 2" in failed.stderr
    put(ml, ml.alice, "secret.dat", "nobody granted this\n")
    put(ml, ml.alice, "no.ml", 'import file;\nprint(file.read("secret.dat"));\n')
    assert ml.run(ml.alice, "launch", "no.ml").returncode == 1


def sandboxed_output(bed: Bed, options: dict[str, Any]) -> bytes:
    """What the same program prints where an interpreter is started for it: launched by root, in root's process."""
    words = bed.command("launch", "--embedded", "--user", bed.alice.pw_name, "job.ml", "one", "two")
    ran = subprocess.run(
        words, capture_output=True, check=False, stdin=subprocess.DEVNULL, cwd=options["cwd"], env=options["env"]
    )
    assert ran.returncode == 0, ran
    return ran.stdout


def test_a_loaded_program_has_its_own_descriptors_and_nothing_else(ml: Bed) -> None:
    # until what it says is more than a buffer holds; by then the reader of its source has ended
    put(
        ml,
        ml.alice,
        "spin.ml",
        'n = 0;\nwhile (n < 3000) { print("ready"); n = n + 1; }\nwhile (true) { n = n + 1; }\n',
    )
    running = subprocess.Popen(
        ml.command("launch", "--timeout", "20s", "spin.ml"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, **ml.drop(ml.alice),
    )  # fmt: skip
    try:
        assert ml.process
        assert running.stdout
        assert running.stdout.readline() == b"ready\n"

        def spinning() -> list[int]:
            found = []
            for pid, _began in descendants(ml.process.pid if ml.process else 0):
                try:
                    if "seccomp" in _status(pid) and os.listdir(f"/proc/{pid}/fd"):
                        found.append(pid)
                except OSError:
                    continue
            return found

        wait_for(spinning)
        (job,) = spinning()
        held = {int(fd): os.readlink(f"/proc/{job}/fd/{fd}") for fd in os.listdir(f"/proc/{job}/fd")}
        assert sorted(held) == [0, 1, 2, 5], held  # its streams and the file for its claims; the others it has read
        assert not any("socket" in target for target in held.values()), held
        with open(f"/proc/{job}/environ", "rb") as file:
            assert file.read().strip(b"\0") == b""
    finally:
        running.kill()
        running.communicate()


def _status(pid: int) -> str:
    """ "seccomp" for a process that a filter holds."""
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        return "seccomp" if "Seccomp:\t2" in file.read() else ""


def test_a_terminal_of_its_own_with_the_callers_size_and_ctrl_c(bed: Bed) -> None:
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 77, 0, 0))
    os.fchown(slave, bed.alice.pw_uid, -1)
    before = termios.tcgetattr(slave)
    job = "trap 'echo interrupted; exit 8' INT; stty size; while :; do sleep 0.05; done"
    running = subprocess.Popen(
        bed.command("launch", "--", "sh", "-c", job), stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
        **bed.drop(bed.alice),
    )  # fmt: skip
    said = b""

    def read_until(text: bytes) -> None:
        nonlocal said
        while text not in said:
            assert select.select([master], [], [], 20)[0], said
            said += os.read(master, 4096)

    read_until(b"33 77")
    os.write(master, b"\x03")  # the key: the job's own terminal makes the signal of it
    assert running.wait(20) == 8, said
    read_until(b"interrupted")
    assert termios.tcgetattr(slave) == before
    os.close(master)
    os.close(slave)
