"""The observer alone: one listener for names and for `once`, what dies with it, and what it looks at on the host."""

from __future__ import annotations

import os
import signal
import stat
from pathlib import Path
from typing import Any

import pytest

from launcher.capability.limits import Limits
from launcher.capability.permissions import Permissions
from launcher.capability.scope import Scope
from launcher.enforce.namespace.channel import pair
from launcher.enforce.namespace.hostview import HostView
from launcher.enforce.namespace.observer import Observer
from launcher.kernel import filter as seccomp
from launcher.kernel import libc
from launcher.kernel.abi import PR_SET_NO_NEW_PRIVS
from launcher.kernel.seccomp import filter_bytes

PYTHON = "/usr/bin/python3"
# Every way to start another image, by name and by number, and what each was answered.
EXECS = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
argv = (ctypes.c_char_p * 2)(b"true", None)
def told(result): print(result, ctypes.get_errno(), flush=True)
for name in (b"/bin/true", b"/usr/bin/id", b"/proc/self/exe", b"/nowhere"):
    told(libc.execve(name, argv, None))
fd = os.open("/bin/true", os.O_RDONLY)
told(libc.syscall(322, fd, b"", argv, None, 0x1000))
if os.fork() == 0:
    told(libc.execve(b"/bin/true", argv, None)); os._exit(0)
os.wait()
print("end")
"""


def profile() -> dict[str, Any]:
    permissions = Permissions((), (), Limits(), Scope("/", "/"))
    return {
        "workspace": "/srv",
        "user": {"home": "/root"},
        "permissions": permissions.to_data(),
        "commands": {"path": ["/usr/bin"], "rules": [], "interpreters": {}, "js": False, "py": False, "sh": False},
    }


def started(observer: Observer, code: str, out: int) -> tuple[int, int]:
    """A process with the observing filter and the job's own over it, and the listener."""
    ours, theirs = pair()
    program = filter_bytes("default", {"exec": "trace"}, None)
    pid = os.fork()
    if pid == 0:
        try:
            os.dup2(out, 1)
            libc.prctl(PR_SET_NO_NEW_PRIVS, 1)
            listener = seccomp.install_observer(observer.program)
            theirs.send("listener", (), (listener,))
            seccomp.install(program)
            os.execve(PYTHON, ["python3", "-I", "-S", "-c", code], {})
        finally:
            os._exit(99)
    listener = ours.receive()[2][0]
    ours.close()
    theirs.close()
    return pid, listener


@pytest.mark.kernel
def test_only_the_first_exec_goes_on() -> None:
    """Attacks 16, 17: later execs are answered ENOSYS by number, so racing the path in memory changes nothing."""
    reader, writer = os.pipe()
    observer = Observer(profile(), None, once=True, traced=False)
    pid, listener = started(observer, EXECS, writer)
    observer.start(listener)
    os.close(writer)
    with open(reader, encoding="utf-8") as pipe:
        lines = pipe.read().splitlines()
    assert os.waitpid(pid, 0)[1] == 0, lines
    observer.stop()
    assert lines == ["-1 38"] * 6 + ["end"]


@pytest.mark.kernel
def test_when_the_observer_dies_nothing_opens() -> None:
    """The kernel answers ENOSYS to every call with a name: the job breaks, and starts nothing."""
    reader, writer = os.pipe()
    ready, go = os.pipe()
    os.set_inheritable(ready, True)
    observer = Observer(profile(), None, once=True, traced=False)
    code = f"""
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
print("up", flush=True)
os.read({ready}, 1)
argv = (ctypes.c_char_p * 2)(b"true", None)
print(libc.execve(b"/bin/true", argv, None), ctypes.get_errno())
print(libc.access(b"/", 0), ctypes.get_errno())
"""
    pid, listener = started(observer, code, writer)
    observer.start(listener)
    os.close(writer)
    with open(reader, encoding="utf-8") as pipe:
        assert pipe.readline() == "up\n"
        os.kill(observer._pid, signal.SIGKILL)
        os.waitid(os.P_PID, observer._pid, os.WEXITED | os.WNOWAIT)
        os.write(go, b"x")
        assert pipe.read().splitlines() == ["-1 38", "-1 38"]
    assert os.waitpid(pid, 0)[1] == 0
    observer.stop()


def test_looking_never_leaves_the_hosts_own_disks(tmp_path: Path) -> None:
    """A job's choice of a name below an automount point would make the host mount from a server of its choice."""
    (tmp_path / "data").mkdir()
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "server").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "net" / "server")
    (tmp_path / "data" / "up").symlink_to("../data")
    mounts = f"36 35 98:0 / {tmp_path}/net rw,noatime shared:1 - autofs /etc/auto.net rw,fd=7\n"
    host = HostView(mounts)
    assert host.look(f"{tmp_path}/net/server") is None
    assert host.look(f"{tmp_path}/data/../net/server") is None
    assert host.look(f"{tmp_path}/link") is None
    found = host.look(f"{tmp_path}/data/up/up/.")
    assert found is not None and found.path == f"{tmp_path}/data" and stat.S_ISDIR(found.mode)
    assert HostView("").look(f"{tmp_path}/link").path == f"{tmp_path}/net/server"  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "fuse.sshfs", "9p", "autofs", "proc"])
def test_file_systems_that_ask_others_are_left_alone(kind: str, tmp_path: Path) -> None:
    place = tmp_path / "a b"
    place.mkdir()
    escaped = str(place).replace(" ", "\\040")
    assert HostView(f"1 0 0:1 / {escaped} rw - {kind} x rw\n").look(str(place)) is None
    assert HostView(f"1 0 0:1 / {escaped} rw - ext4 x rw\n").look(str(place)) is not None


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert HostView("").look(f"{tmp_path}/a") is None
