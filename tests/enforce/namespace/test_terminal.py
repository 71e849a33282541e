"""The job's own terminal: job control works, and nothing can be typed into the caller's (attack 90)."""

from __future__ import annotations

import subprocess
import termios
import time

import pytest

from tests.sandboxed import Host
from tests.terminal import Terminal

pytestmark = pytest.mark.kernel


def test_a_shell_with_job_control(host: Host) -> None:
    host.policy({"sh": True, "cmd": ["sleep", "stty", "id", "tty"]})
    terminal = Terminal(host, "shell")
    terminal.type(b"echo size $(stty size) $(tty)\n")
    terminal.until(b"size 33 101 /dev/pts/0")
    terminal.type(b"sleep 100\n")
    time.sleep(0.5)
    terminal.type(b"\x1a")  # Ctrl-Z
    terminal.until(b"Stopped")
    terminal.type(b"kill %1; wait; sleep 100\n")
    time.sleep(0.5)
    terminal.type(b"\x03")  # Ctrl-C
    terminal.type(b"echo after=$?\n")
    terminal.until(b"after=130")
    terminal.type(b"exit 5\n")
    assert terminal.close() == 5


def test_the_terminal_is_given_back(host: Host) -> None:
    host.policy({"sh": True})
    terminal = Terminal(host, "launch", "--", "sh", "-c", "exit 3")
    assert terminal.process.wait(timeout=20) == 3
    assert termios.tcgetattr(terminal.slave) == terminal.before
    terminal.close()


def test_nothing_is_typed_into_the_callers_terminal(host: Host) -> None:
    """Attack 90: TIOCSTI, also with bits above 32 (CVE-2019-10063); TIOCLINUX."""
    host.policy({"py": True})
    code = (
        "import fcntl\n"
        "for request in (0x5412, 0x541C, 0x5412 | 1 << 31):\n"
        "    try: fcntl.ioctl(0, request, b'X'); print('TYPED')\n"
        "    except OSError as error: print('errno', error.errno)\n"
        "print('done')"
    )
    terminal = Terminal(host, "launch", "--", "python3", "-I", "-c", code)
    seen = terminal.until(b"done")
    assert b"TYPED" not in seen
    terminal.close()


def test_shell_without_a_terminal_is_an_error(host: Host) -> None:
    host.policy({"sh": True})
    ran = host.run("shell", stdin=subprocess.DEVNULL)
    assert ran.returncode == 2
    assert b"terminal" in ran.stderr
