"""Attacks 90 to 99: terminals, keyrings, environment, descriptors, shared memory, time."""

from __future__ import annotations

import ctypes
import os
import pty
import select
import subprocess
import time

import pytest

from tests.attack.report import CAPABILITIES, Report, program
from tests.sandboxed import Host

PROBE = "resources"
CANARY = "canary-of-the-launcher"
IPC_CREAT, IPC_RMID = 0o1000, 0


@pytest.fixture(scope="module")
def report(attacked: Host) -> Report:
    """The launcher has secrets in its environment, its descriptors, and in objects of the host's IPC."""
    attacked.policy(CAPABILITIES)
    held = []
    for _ in range(12):
        fd = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
        os.set_inheritable(fd, True)
        held.append(fd)
    secret = os.memfd_create("secret", 0)
    os.write(secret, CANARY.encode())
    held.append(secret)
    names = ("PROBE_SECRET", "AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "SSH_AUTH_SOCK", "MLSANDBOX_TOKEN_FILE")
    drop = attacked.drop()
    drop["env"] = {**drop["env"], **dict.fromkeys(names, CANARY), "PYTHONPATH": "/tmp", "LD_PRELOAD": ""}
    libc = ctypes.CDLL(None, use_errno=True)
    segment = libc.shmget(0x6D6C7362, 4096, IPC_CREAT | 0o666)
    shared = "/dev/shm/mlsandbox-attack"
    with open(shared, "w", encoding="ascii") as file:
        file.write(CANARY)
    try:
        ran = subprocess.run(
            attacked.command("launch", "--", *program(PROBE, "h9")),
            stdin=subprocess.DEVNULL, capture_output=True, cwd=attacked.workspace, check=False, timeout=60, pass_fds=held, **drop,
        )  # fmt: skip
    finally:
        libc.shmctl(segment, IPC_RMID, None)
        os.unlink(shared)
        for fd in held:
            os.close(fd)
    from tests.sandboxed import Ran

    return Report(Ran(ran, {}))


def test_h92_keyrings(report: Report) -> None:
    report.all("h92", "EPERM", "ENOSYS")


def test_h93_environment(report: Report) -> None:
    report.all("h93", "none")


def test_h94_descriptors(report: Report) -> None:
    report.all("h94", "none")


def test_h95_shared_memory(report: Report) -> None:
    report.all("h95", "empty")
    report.all("h95b", "ENOENT", "EACCES")


def test_h96_core_dumps(report: Report, attacked: Host) -> None:
    assert report["h96.core_limit"] == "(0, 0)"
    assert report["h96b.abort"] == "SIGABRT"
    assert report["h96c.cores"] == "none"


def test_h97_identity_of_the_host(report: Report) -> None:
    assert report["h97.identity"] == "mlsandbox 2 users"
    assert report["h97.machine_id"] in {"ENOENT", "0" * 32 + "\\n"}
    assert report["h97.hosts"] == "True"


def test_h99_clocks(report: Report) -> None:
    report.all("h99", "EPERM", "ENOENT")


def test_h98_the_next_job_sees_nothing_of_the_last(attacked: Host) -> None:
    attacked.policy(CAPABILITIES)
    write = "import os\nfor d in ('/tmp', '/dev/shm', '/var/tmp', os.environ['HOME']):\n    try: open(d + '/left', 'w').write('x')\n    except OSError: pass"
    look = "import os\nprint([d for d in ('/tmp', '/dev/shm', '/var/tmp', os.environ['HOME']) if os.path.exists(d + '/left')])"
    attacked.python(write)
    assert attacked.python(look).out == "[]\n"
    assert not os.path.exists("/tmp/left")


class Terminal:
    """A pseudo terminal of the test's, as the operator's; what is typed into it comes back from `typed`."""

    def __init__(self, host: Host, *words: str) -> None:
        self.master, self.slave = pty.openpty()
        os.fchmod(self.slave, 0o666)
        self.name = os.ttyname(self.slave)
        program_of_the_operator = "import fcntl, os, sys, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
        self.process = subprocess.Popen(
            ["/usr/bin/python3", "-c", program_of_the_operator, *host.command("launch", "--", *words)],
            stdin=self.slave, stdout=self.slave, stderr=self.slave, cwd=host.workspace, **host.drop(),
        )  # fmt: skip

    def output(self, seconds: float = 30) -> str:
        data = b""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            ready, _, _ = select.select([self.master], [], [], 0.1)
            if ready:
                data += os.read(self.master, 65536)
            elif self.process.poll() is not None:
                break
        return data.decode("utf-8", "replace").replace("\r\n", "\n")

    def typed(self) -> bytes:
        """What waits to be read from the operator's terminal: a job must not have put anything there."""
        os.set_blocking(self.slave, False)
        try:
            return os.read(self.slave, 100)
        except BlockingIOError:
            return b""

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)


def test_h90_the_operators_terminal(attacked: Host) -> None:
    """CVE-2017-5226: the job has a terminal of its own, and none of its ioctls types into the operator's."""
    attacked.policy(CAPABILITIES)
    terminal = Terminal(attacked, *program(PROBE, "h90"))
    try:
        lines = dict(line.split("\t", 1) for line in terminal.output().splitlines() if "\t" in line)
        assert lines["h90.is_a_terminal"] == "terminal", lines
        assert {told for name, told in lines.items() if name.startswith("h90b")} == {"EPERM"}, lines
        assert terminal.process.wait(10) == 0
        assert terminal.typed() == b""
    finally:
        terminal.close()


def test_h91_escape_sequences_in_names(attacked: Host) -> None:
    """A file name that would set the clipboard (OSC 52) is printed without its escapes when its commit is refused."""
    attacked.policy(CAPABILITIES)
    name = "x\x1b]52;c;ZXZpbA==\x07\nmlsandbox: committed: all"
    code = f"import os; os.symlink('/etc', 'out/' + {name!r}); open('out/ok' + chr(27) + '[2J', 'w').close()"
    ran = attacked.python(code)
    assert "not committed" in ran.err, ran
    assert "\x1b" not in ran.err and "\x07" not in ran.err, ran
    assert "\nmlsandbox: committed: all" not in ran.err, ran
