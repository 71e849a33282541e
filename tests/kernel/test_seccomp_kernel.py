"""The default filter in the running kernel: rows both ways, attacks, and the programs that jobs run."""

from __future__ import annotations

import ctypes
import errno
import functools
import http.server
import mmap
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pyseccomp
import pytest

from launcher.kernel import seccomp
from launcher.kernel.seccomp.constants import YOUNG_CALLS
from tests.kernel.filtered import NEW_LISTENER, in_child, install, syscall

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.uname().machine != "x86_64", reason="the probes are x86-64 machine code and numbers"),
]
PADDING = 1 << 32
UID = 65534


def program(**variant: Any) -> bytes:
    return seccomp.filter_bytes("default", variant, None)


def nr(name: str) -> int:
    return YOUNG_CALLS.get(name) or int(pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name))


def outcome(result: int) -> str:
    return errno.errorcode[-result] if result < 0 else "0"


# (call, arguments, answer without the filter, answer with it). The first answer shows that the second is the filter's.
PROBES: list[tuple[str, tuple[int | bytes, ...], str, str]] = [
    ("ptrace", (99, 0, 0, 0), "ESRCH", "EPERM"),
    ("process_vm_readv", (0x7FFFFFFF, 0, 0, 0, 0, 0), "0", "EPERM"),
    ("pidfd_getfd", (2**32 - 1, 0, 0), "EBADF", "EPERM"),
    ("kcmp", (0x7FFFFFFF, 0x7FFFFFFF, 0, 0, 0), "ESRCH", "EPERM"),
    ("bpf", (99, 0, 0), "EINVAL", "EPERM"),
    ("userfaultfd", (2**30 | 1,), "EINVAL", "EPERM"),
    ("io_uring_setup", (0, 0), "EFAULT", "EPERM"),
    ("keyctl", (99,), "ENOTSUP", "EPERM"),
    ("open_tree", (2**32 - 100, b"/\0", 99), "EINVAL", "EPERM"),
    ("setns", (2**32 - 1, 0), "EBADF", "EPERM"),
    ("unshare", (0x10000000 | 1,), "EINVAL", "EPERM"),
    ("clone", (0x00020000 | 0x200, 0, 0, 0, 0), "EINVAL", "EPERM"),
    ("clone3", (0, 0), "EINVAL", "ENOSYS"),
    ("openat2", (2**32 - 100, b"/\0", 0, 0), "EINVAL", "ENOSYS"),
    ("cachestat", (2**32 - 1, 0, 0, 0), "EBADF", "ENOSYS"),
    ("fcntl", (4000, 1024, 0), "EBADF", "EPERM"),
    ("fcntl", (4000, 1026 | PADDING, 0), "EBADF", "EPERM"),
    ("fcntl", (4000, 1, 0), "EBADF", "EBADF"),
    ("ioctl", (4000, 0x5412, 0), "EBADF", "EPERM"),
    ("ioctl", (4000, 0x5412 | PADDING, 0), "EBADF", "EPERM"),
    ("ioctl", (4000, 0x541C | PADDING, 0), "EBADF", "EPERM"),
    ("ioctl", (4000, 0x4B34, 0), "EBADF", "EPERM"),
    ("ioctl", (4000, 0x5401, 0), "EBADF", "EBADF"),
    ("socket", (40 | PADDING, 99, 0), "EINVAL", "EPERM"),
    ("socket", (1, 99, 0), "EINVAL", "EPERM"),
    ("socket", (2, 1, 262), "0", "EPERM"),
    ("socket", (2, 1, 0), "0", "0"),
    ("socket", (16, 3, 0), "0", "0"),
    ("socket", (16, 3, 9), "0", "EPERM"),
    ("chmod", (b"/no-such-name\0", 0o4755), "ENOENT", "EPERM"),
    ("chmod", (b"/no-such-name\0", 0o755), "ENOENT", "ENOENT"),
    ("fchmodat", (2**32 - 100, b"/no-such-name\0", 0o2755), "ENOENT", "EPERM"),
    ("fchmodat2", (2**32 - 100, b"/no-such-name\0", 0o4755, 0), "ENOENT", "EPERM"),
    ("openat", (2**32 - 100, b"/no-such-name/x\0", 0o101, 0o4755), "ENOENT", "EPERM"),
    ("openat", (2**32 - 100, b"/no-such-name/x\0", 0, 0o4755), "ENOENT", "ENOENT"),
    ("creat", (b"/no-such-name/x\0", 0o6755), "ENOENT", "EPERM"),
    ("mkdir", (b"/no-such-name/x\0", 0o2755), "ENOENT", "EPERM"),
    ("mknod", (b"/no-such-name/x\0", 0o020666, 0), "ENOENT", "EPERM"),
    ("mknod", (b"/no-such-name/x\0", 0o010666, 0), "ENOENT", "ENOENT"),
    ("setxattr", (b"/no-such-name\0", b"user.x\0", b"v", 1, 0), "ENOENT", "ENOTSUP"),
    ("getxattr", (b"/no-such-name\0", b"user.x\0", 0, 0), "ENOENT", "ENOENT"),
    ("memfd_create", (0, 0), "EFAULT", "EPERM"),
    ("shmat", (2**31 - 1, 0, 0o100000), "EINVAL", "EPERM"),
    ("shmat", (2**31 - 1, 0, 0), "EINVAL", "EINVAL"),
    ("personality", (0x0400000 | PADDING,), "0", "EPERM"),
    ("personality", (0xFFFFFFFF | PADDING,), "0", "0"),
    ("sched_setscheduler", (0x7FFFFFFF, 1, 0), "EINVAL", "EPERM"),
    ("prctl", (59 | PADDING, 99), "EINVAL", "EPERM"),
    ("prctl", (35, 99), "EINVAL", "EPERM"),
    ("prctl", (3,), "0", "0"),
    ("seccomp", (1, 8, 0), "EFAULT", "EPERM"),
    ("seccomp", (1, 0, 0), "EFAULT", "EFAULT"),
    ("inotify_add_watch", (4000, b"/\0", 0x20), "EBADF", "EPERM"),
    ("inotify_add_watch", (4000, b"/\0", 0x2), "EBADF", "EBADF"),
    ("execve", (b"/no-such-name\0", 0, 0), "ENOENT", "ENOENT"),
]


def answers() -> list[str]:
    found = []
    for name, args, _, _ in PROBES:
        result = syscall(nr(name), *args)
        found.append(outcome(min(result, 0)))
    return found


def test_every_probe_gets_the_filter_s_answer() -> None:
    found = in_child(answers, program(), uid=UID)
    assert list(zip(PROBES, found, strict=True)) == [(probe, probe[3]) for probe in PROBES]


def test_without_the_filter_the_answers_are_others() -> None:
    found = in_child(answers, uid=UID)
    assert list(zip(PROBES, found, strict=True)) == [(probe, probe[2]) for probe in PROBES]


def call_i386_getpid() -> int:
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(bytes.fromhex("b814000000 cd80 c3".replace(" ", "")))  # mov eax, 20; int 0x80; ret
    return int(ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))())


def test_attack_50_i386_calls_from_64_bit_code_kill() -> None:
    assert in_child(call_i386_getpid, program()) == f"signal {int(signal.SIGSYS)}"


def test_attack_49_x32_and_unknown_numbers_are_enosys() -> None:
    numbers = [nr("getpid") | 0x40000000, nr("ptrace") | 0x40000000, 9999, 600, 520]
    assert in_child(lambda: [outcome(syscall(number)) for number in numbers], program()) == ["ENOSYS"] * len(numbers)


def test_attack_56_a_second_filter_that_allows_all_allows_nothing_more() -> None:
    allow_all = b"\x06\x00\x00\x00\x00\x00\xff\x7f"

    def body() -> list[str]:
        install(allow_all)
        return [outcome(syscall(nr("ptrace"), 99, 0, 0, 0)), outcome(syscall(nr("clone3"), 0, 0))]

    assert in_child(body, program()) == ["EPERM", "ENOSYS"]


def pair_reaches(path: str, kind: int) -> str:
    try:
        left, _ = socket.socketpair(socket.AF_UNIX, kind)
        left.connect(path)
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    left.send(b"out")
    return "sent"


def test_attack_75_a_datagram_pair_does_not_reach_a_host_socket(tmp_path: Path) -> None:
    """socketpair(AF_UNIX, SOCK_DGRAM) can be connected again, to any path: it is as good as socket(AF_UNIX)."""
    wanted = {socket.SOCK_DGRAM: ("sent", "EPERM"), socket.SOCK_STREAM: ("EISCONN", "EISCONN")}
    for kind, (without, with_filter) in (wanted | {socket.SOCK_SEQPACKET: ("EISCONN", "EISCONN")}).items():
        path = str(tmp_path / f"socket{int(kind)}")
        with socket.socket(socket.AF_UNIX, kind) as server:
            server.bind(path)
            if kind != socket.SOCK_DGRAM:
                server.listen()
            assert in_child(functools.partial(pair_reaches, path, kind)) == without
            assert in_child(functools.partial(pair_reaches, path, kind), program()) == with_filter


def exec_status(path: str) -> str:
    """How a forked process fares that executes `path`."""
    pid = os.fork()
    if pid == 0:
        try:
            os.execv(path, [path])
        except OSError as error:
            os._exit(error.errno or 255)
        os._exit(254)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return errno.errorcode.get(status, "ran" if status == 0 else str(status))


def test_exec_refuse() -> None:
    assert in_child(lambda: exec_status("/usr/bin/true"), program(exec="refuse")) == "EPERM"


def test_exec_once_is_shut_when_the_listener_is_closed() -> None:
    def body() -> str:
        os.close(install(program(exec="once"), NEW_LISTENER))
        return exec_status("/usr/bin/true")

    assert in_child(body) == "ENOSYS"


def test_exec_trace_without_a_tracer_is_enosys() -> None:
    assert in_child(lambda: exec_status("/usr/bin/true"), program(exec="trace")) == "ENOSYS"


NOTIFY_EXEC = (  # ld [nr]; jeq execve -> USER_NOTIF; else ALLOW
    bytes.fromhex("2000000000000000") + bytes.fromhex("150000013b000000") + bytes.fromhex("060000000000c07f")
    + bytes.fromhex("060000000000ff7f")
)  # fmt: skip
NOTIF_RECV, NOTIF_SEND = 0xC0502100, 0xC0182101


def own_listener_lets_exec_through() -> str:
    """The job's child filters itself with a listener, the job answers its execve with CONTINUE."""
    here, there = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        try:
            listener = install(NOTIFY_EXEC, NEW_LISTENER)
        except OSError as error:
            os._exit(error.errno or 255)
        socket.send_fds(there, [b"x"], [listener])
        try:
            os.execv("/usr/bin/true", ["true"])
        except OSError as error:
            os._exit(error.errno or 255)
    there.close()
    _, fds, _, _ = socket.recv_fds(here, 1, 1)
    if fds:
        request = (ctypes.c_char * 80)()
        libc = ctypes.CDLL(None, use_errno=True)
        libc.ioctl(fds[0], ctypes.c_ulong(NOTIF_RECV), request)
        answer = request.raw[:8] + bytes(12) + (1).to_bytes(4, "little")  # id, val, error, FLAG_CONTINUE
        libc.ioctl(fds[0], ctypes.c_ulong(NOTIF_SEND), ctypes.c_char_p(answer))
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return errno.errorcode.get(status, "ran" if status == 0 else str(status))


@pytest.mark.parametrize("mode", ["once", "trace"])
def test_attack_56_a_listener_of_the_job_s_own_does_not_open_exec(mode: str, tmp_path: Path) -> None:
    """SECCOMP_RET_USER_NOTIF outranks RET_TRACE, and the newest of two listeners decides: with CONTINUE an exec runs.

    Run once with the rule taken out of the table, to show that the rule is what stops it.
    """
    shutil.copytree(seccomp.shipped_tables(), tmp_path / "tables")
    table = tmp_path / "tables" / "default.yaml"
    text = table.read_text()
    opened = text.replace(", flags: lacks SECCOMP_FILTER_FLAG_NEW_LISTENER}", "}").replace(
        "      exec=trace: {only: [{op: [SECCOMP_GET_ACTION_AVAIL]}]}\n", "      exec=trace: {}\n"
    )
    assert opened.count("lacks SECCOMP") == 0
    table.write_text(opened)

    def body(weak: bool) -> Callable[[], str]:
        bytes_ = seccomp.filter_bytes("default", {"exec": mode}, None, tables_dir=str(table.parent) if weak else "")

        def run() -> str:
            if mode == "once":
                os.close(install(bytes_, NEW_LISTENER))
            else:
                install(bytes_)
            return own_listener_lets_exec_through()

        return run

    assert in_child(body(weak=True)) == "ran"
    assert in_child(body(weak=False)) == "EPERM"


def run_filtered(argv: list[str], cwd: Path, **variant: Any) -> subprocess.CompletedProcess[str]:
    bytes_ = program(**variant)
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(cwd), "LANG": "C.UTF-8"}
    return subprocess.run(
        argv, cwd=cwd, env=environment, capture_output=True, text=True, timeout=60, check=False,
        preexec_fn=lambda: install(bytes_) and None,
    )  # fmt: skip


PYTHON_JOB = """
import concurrent.futures, getpass, multiprocessing, os, socket, sqlite3, subprocess, tempfile, threading, asyncio, time
with concurrent.futures.ThreadPoolExecutor(4) as pool: assert sum(pool.map(int, range(10))) == 45
with multiprocessing.Pool(2) as pool: assert pool.map(abs, [-1, 2]) == [1, 2]
db = sqlite3.connect("x.db"); db.execute("create table t (a)"); db.commit()
assert subprocess.run(["true"]).returncode == 0
async def main():
    server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()); assert await reader.read() == b""
asyncio.run(main())
socket.getaddrinfo("localhost", 80); tempfile.NamedTemporaryFile().write(b"x"); os.sched_setaffinity(0, os.sched_getaffinity(0))
os.mkdir("d", 0o777); os.rename("d", "e"); os.truncate("x.db", 0); os.utime("x.db"); os.chmod("x.db", 0o600)
print("done")
"""
BASH_JOB = """
set -e; mkdir d; echo hi > d/f; ls -la d | grep f > /dev/null; cp -a d d2; tar cf x.tar d2; tar xf x.tar
for i in 1 2 3; do (sleep 0.01 &) ; done; wait; sort d/f | uniq -c > /dev/null; find . -name f | xargs cat > /dev/null
install -m 755 d/f d/g; mv d d3; rm -r d3; ulimit -n > /dev/null; ps > /dev/null 2>&1 || true; echo done
"""
GIT_JOB = """
set -e; git init -q r; cd r; git config user.email a@b; git config user.name a; echo 1 > f; git add f; git commit -qm one
git checkout -qb b; echo 2 > f; git commit -qam two; git checkout -q -; git merge -q b; git gc -q; git clone -q . ../c
echo done
"""
NODE_JOB = """
const {Worker} = require('worker_threads'), net = require('net'), fs = require('fs'), cp = require('child_process');
fs.writeFileSync('n', 'x'); fs.watch('.').close(); cp.execFileSync('true');
new Worker('require("worker_threads").parentPort.postMessage(1)', {eval: true}).on('message', () => {
  const s = net.createServer(c => c.end()).listen(0, '127.0.0.1', () =>
    net.connect(s.address().port, '127.0.0.1').on('close', () => { s.close(); console.log('done'); }).resume()); });
"""


@pytest.mark.parametrize(
    "argv",
    [
        [sys.executable, "-c", PYTHON_JOB],
        ["/usr/bin/bash", "-c", BASH_JOB],
        ["/usr/bin/git", "--version"],
        ["/usr/bin/bash", "-c", GIT_JOB],
        ["/usr/bin/node", "-e", NODE_JOB],
        ["/usr/bin/java", "-XshowSettings:system", "-version"],
        ["/usr/bin/perl", "-e", "my $p = fork // die; if (!$p) { exit 0 } waitpid $p, 0; print 'done'"],
    ],
    ids=["python", "bash", "git-version", "git", "node", "java", "perl"],
)
def test_programs_run_under_the_default_filter(argv: list[str], tmp_path: Path) -> None:
    if not os.path.exists(argv[0]):
        pytest.skip(f"{argv[0]} is not on this machine")
    done = run_filtered(argv, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "done" in done.stdout or "version" in done.stdout + done.stderr


def test_curl_fetches_from_loopback_under_the_default_filter(tmp_path: Path) -> None:
    if not os.path.exists("/usr/bin/curl"):
        pytest.skip("/usr/bin/curl is not on this machine")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        done = run_filtered(["/usr/bin/curl", "-sS", "-o", "out", f"http://127.0.0.1:{server.server_port}/"], tmp_path)
        server.shutdown()
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out").stat().st_size > 0


def test_without_inet_there_is_no_connection(tmp_path: Path) -> None:
    done = run_filtered([sys.executable, "-c", "import socket; socket.socket()"], tmp_path, inet=False)
    assert "PermissionError" in done.stderr
