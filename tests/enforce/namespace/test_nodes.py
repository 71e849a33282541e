"""Grants of devices and sockets: just what is granted is there, and is what the host has; nothing beside it."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
import tempfile
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.sandboxed import Host

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.kernel
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="makes a device node")

_CONNECT = """
import socket, sys
for name in sys.argv[1:]:
    try:
        made = socket.socket(socket.AF_UNIX)
        made.connect(name if not name.startswith('@') else '\\0' + name[1:])
        made.sendall(b'hello')
        print(made.recv(100).decode())
    except OSError as error:
        print(error.strerror)
"""


class Server:
    """A Unix socket that answers each visitor with its own name."""

    def __init__(self, path: str, uid: int) -> None:
        self.path = path
        self.visitors = 0
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(path if not path.startswith("@") else "\0" + path[1:])
        if not path.startswith("@"):
            os.chmod(path, 0o777)
            os.chown(path, uid, -1)
        self._socket.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                visitor = self._socket.accept()[0]
            except OSError:
                return
            self.visitors += 1
            with visitor:
                visitor.recv(100)
                visitor.sendall(f"this is {self.path}".encode())

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._socket.close()


@pytest.fixture
def place(host: Host) -> Iterator[str]:
    """A directory of the user for sockets, where nothing else is granted."""
    base = tempfile.mkdtemp(prefix="mls-", dir="/var/tmp")
    os.chown(base, host.uid, host.gid)
    yield base
    shutil.rmtree(base, ignore_errors=True)


def test_a_granted_socket_is_reached_and_no_other(host: Host, place: str) -> None:
    """Attacks 74 and 75 with AF_UNIX allowed: a socket beside it, one in a granted tree, one that comes later, one in
    a staged directory, an abstract one."""
    servers = [Server(f"{place}/{name}", host.uid) for name in ("yes", "beside")]
    for directory in ("tree", "out"):
        host.write(f"{directory}/file", "text")
        servers.append(Server(f"{host.workspace}/{directory}/s", host.uid))
    servers.append(Server("@mls-abstract-test", host.uid))
    reads = [{"patterns": ["tree/**", "out/**"], "operations": ["read"]}]
    writes = [{"patterns": ["out/**"], "operations": ["write"]}]
    host.policy({"py": True, "file": reads + writes, "socket": [f"{place}/yes"]})
    names = [server.path for server in servers]
    code = _CONNECT + "print(open('tree/file').read())"
    ran = host.python(code, *names)
    told = ran.out.splitlines()
    assert told.pop(3) in {"Connection refused", "No such file or directory"}, "an overlay, or a snapshot"
    missing = "No such file or directory"
    assert told == [f"this is {place}/yes", missing, missing, "Connection refused", "text"], ran
    assert [server.visitors for server in servers] == [1, 0, 0, 0, 0]
    for server in servers:
        server.close()


def test_a_socket_that_is_not_granted_is_refused_by_the_filter(host: Host, place: str) -> None:
    server = Server(f"{place}/s", host.uid)
    host.policy({"py": True, "socket": [f"{place}/other"]})
    assert host.python(_CONNECT, server.path).out == "Operation not permitted\n", "no granted socket, no AF_UNIX"
    server.close()


def test_a_deny_beats_and_patterns_match_names(host: Host, place: str) -> None:
    servers = [Server(f"{place}/{name}", host.uid) for name in ("a.1", "a.2", "b.1")]
    host.policy({"py": True, "socket": [f"{place}/a.*"]}, deny=[f"socket.connect:{place}/a.2"])
    ran = host.python(_CONNECT, *[server.path for server in servers])
    assert ran.out.splitlines() == [f"this is {place}/a.1"] + ["No such file or directory"] * 2, ran
    for server in servers:
        server.close()


def test_a_socket_made_anew_is_another(host: Host, place: str) -> None:
    """The bind shows the inode of the launch: whoever may replace the name cannot put another server there."""
    server = Server(f"{place}/s", host.uid)
    host.policy({"py": True, "socket": [f"{place}/s"]})
    code = "import time; print('up', flush=True); input()\n" + _CONNECT
    job = host.popen(
        "launch", "--", "python3", "-I", "-c", code, server.path, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert job.stdout
    assert job.stdout.readline() == b"up\n"
    server.close()
    os.unlink(server.path)
    another = Server(server.path, host.uid)
    told = job.communicate(b"\n", timeout=30)[0]
    assert told == b"Connection refused\n"
    assert another.visitors == 0
    another.close()


def test_what_a_server_hands_over_is_its_decision(host: Host, place: str) -> None:
    """SCM_RIGHTS through a granted socket works, and is documented: the server's word is the server's to keep."""
    path = f"{place}/s"
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    os.chmod(path, 0o777)
    server.listen()

    def hand_over() -> None:
        visitor = server.accept()[0]
        with visitor, open("/etc/hostname", "rb") as file:
            socket.send_fds(visitor, [b"x"], [file.fileno()])

    thread = threading.Thread(target=hand_over)
    thread.start()
    host.policy({"py": True, "socket": [path]})
    code = (
        "import socket, os, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]);"
        "print(len(socket.recv_fds(s, 1, 1)[1]))"
    )
    assert host.python(code, path).out == "1\n"
    thread.join()
    server.close()


@pytest.mark.parametrize(
    ("socket", "file", "says"),
    [
        ("{place}/link", [], "leads through a symbolic link"),
        ("/**", [], "looked for on all of the host"),
        ("{workspace}/out/s", [{"patterns": ["out/**"], "operations": ["write"]}], "which the job writes to"),
        ("{place}/s", [{"patterns": ["out/**"], "operations": ["write"], "live": True}], "is live"),
    ],
)
def test_what_cannot_be_held_is_refused(
    host: Host, place: str, socket: str, file: list[dict[str, object]], says: str
) -> None:
    host.write("out/f", "")
    servers = [Server(f"{place}/s", host.uid), Server(f"{host.workspace}/out/s", host.uid)]
    os.symlink("s", f"{place}/link")
    granted = socket.format(place=place, workspace=host.workspace)
    host.policy({"py": True, "socket": [granted], "file": file})
    ran = host.python("print('ran')")
    assert ran.status in {125, 126}, ran
    assert not ran.out
    assert says in ran.err
    for server in servers:
        server.close()


def test_an_ssh_agent(host: Host, place: str) -> None:
    """The agent asks who connects: for root's own jobs, which have an id of the range, it is not the same user."""
    path = f"{place}/agent"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL, **host.drop())
    key = f"{place}/key"
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "a-test-key", "-f", key], check=True, **host.drop()
    )
    drop = host.drop()
    drop["env"]["SSH_AUTH_SOCK"] = path
    while not os.path.exists(path):
        time.sleep(0.01)
    subprocess.run(["ssh-add", "-q", key], check=True, **drop)
    host.policy({"cmd": ["ssh-add"], "socket": [f"{place}/agen?"], "env": ["SSH_AUTH_SOCK"]})
    ran = host.launch("ssh-add", "-l", options=["--env", f"SSH_AUTH_SOCK={path}"])
    agent.terminate()
    agent.wait()
    if host.who == "root":
        assert ran.status in {1, 141}, ran  # the agent hangs up, before or after it was written to
    else:
        assert ran.status == 0, ran
        assert "a-test-key" in ran.out


@pytest.fixture
def nodes() -> Iterator[str]:
    """Character devices like /dev/random that no sandbox has by itself, and a block device."""
    base = tempfile.mkdtemp(prefix="mls-nodes-", dir="/dev")
    os.chmod(base, 0o755)
    for name, mode in (("random", 0o666), ("other", 0o666), ("roots", 0o600)):
        os.mknod(f"{base}/{name}", stat.S_IFCHR, os.makedev(1, 8))
        os.chmod(f"{base}/{name}", mode)
    os.mknod(f"{base}/disk", stat.S_IFBLK | 0o666, os.makedev(7, 99))
    os.symlink("random", f"{base}/link")
    yield base
    shutil.rmtree(base)


_USE = """
import fcntl, os, sys
for name in sys.argv[1:]:
    try:
        fd = os.open(name, os.O_RDWR)
        entropy = fcntl.ioctl(fd, 0x80045200, bytes(4))  # RNDGETENTCNT
        print(len(os.read(fd, 4)), len(entropy))
    except OSError as error:
        print(error.strerror)
"""


@as_root
def test_a_granted_device_is_used_and_no_other(host: Host, nodes: str) -> None:
    """Attack 18: with the ioctl right of Landlock; permissions stay the host's, disks are never there."""
    host.policy({"py": True, "device": [f"{nodes}/r*", f"{nodes}/disk"]}, deny=[f"device.use:{nodes}/roots*"])
    names = [f"{nodes}/{name}" for name in ("random", "other", "disk", "link", "roots")]
    ran = host.python(_USE, *names)
    assert ran.out.splitlines() == ["4 4"] + ["No such file or directory"] * 4, ran
    host.policy({"py": True, "device": [f"{nodes}/roots"]})
    ran = host.python(_USE, f"{nodes}/roots")
    if host.who == "user":
        assert ran.out == "Permission denied\n", ran


@as_root
def test_a_device_cannot_be_made_or_reached_otherwise(host: Host, nodes: str) -> None:
    """The node in a granted tree is on a nodev mount; mknod is refused; the plan and explain say what is there."""
    os.mknod(f"{host.workspace}/null", stat.S_IFCHR | 0o666, os.makedev(1, 8))
    host.policy({"py": True, "device": [f"{nodes}/random"], "file": [{"patterns": ["**"], "operations": ["read"]},
                {"patterns": ["@base/**"], "operations": ["read"]}]})  # fmt: skip
    code = (
        "import os, stat\n"
        "for attempt in (lambda: os.open('null', os.O_RDONLY), lambda: os.mknod('/tmp/x', stat.S_IFCHR, 0x108)):\n"
        "    try: attempt(); print('done')\n"
        "    except OSError as error: print(error.strerror)"
    )
    ran = host.python(code)
    assert ran.out.splitlines() == ["Permission denied", "Operation not permitted"], ran
    plan = host.run("launch", "--dry-run", "--", "python3").stdout.decode()
    assert f"bind {nodes}/random ro,nosuid,noexec" in plan, plan
    assert f"landlock {nodes}/random write_file,read_file,ioctl_dev" in plan, plan
    explained = host.run("explain", "--", "python3").stdout.decode()
    assert f"device.use {nodes}/random" in explained


def test_a_device_that_the_host_has(host: Host) -> None:
    path = next((path for path in ("/dev/fuse", "/dev/kvm", "/dev/kmsg") if os.path.exists(path)), "")
    if not path:
        pytest.skip("the host has none of these devices")
    code = "import os, sys; print(oct(os.stat(sys.argv[1]).st_rdev))"
    host.policy({"py": True})
    assert "No such file" in host.python(code, path).err
    host.policy({"py": True, "device": [path]})
    assert host.python(code, path).out == f"{oct(os.stat(path).st_rdev)}\n"
