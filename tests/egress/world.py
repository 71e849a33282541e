"""A job's network and a make-believe internet, each in an own namespace, with the real proxy between them.

`inside` is what the job has: the listeners of launcher.egress.topology. `outside` runs serve() in a namespace where every
address is local (AnyIP), so that the proxy really dials 93.184.216.34 and reaches a counting server of ours. Everything
that happens outside (lookups, connections, bytes, audit events) comes back as records on a pipe.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING, Any

from launcher.capability.grant import Grant, Place
from launcher.egress import topology
from launcher.egress.policy import Rules
from launcher.egress.serve import serve
from launcher.egress.server.options import Limits, Options
from launcher.kernel import netlink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
PUBLIC = "93.184.216.34"
DEFAULT_SERVERS = {80: "http", 443: "tls", 5432: "postgres", 8080: "http", 2222: "banner", 3306: "banner", 7000: "echo"}


def unshare_network() -> None:
    """A new network namespace, and as a plain user a new user namespace to own it."""
    import ctypes

    uid, gid = os.getuid(), os.getgid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET | (CLONE_NEWUSER if uid else 0)):
        raise OSError(ctypes.get_errno(), "unshare")
    if uid:
        for name, content in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(content)


def grant(hosts: Iterable[str], operations: Sequence[str] = ("https",), **constraints: Any) -> Grant:
    return Grant("network", tuple(operations), tuple(hosts), constraints, "test", Place("policy.yaml", 1, 1))


def database(*urls: str) -> Grant:
    return Grant("database", ("select",), urls, {}, "test", Place("policy.yaml", 2, 1))


class World:
    """Started on construction, ended by close(). `answers` maps a name to its addresses, or a list of such lists."""

    def __init__(
        self,
        grants: Sequence[Grant],
        denies: Sequence[Grant] = (),
        answers: dict[str, Any] | None = None,
        *,
        limits: Limits | None = None,
        options: dict[str, Any] | None = None,
        redirect: bool = True,
        own: Sequence[str] = (),
        servers: dict[int, str] | None = None,
    ) -> None:
        self.records: list[dict[str, Any]] = []
        self._pids: list[int] = []
        self._buffer = b""
        self._reader, writer = os.pipe()
        self._factory, theirs = socket.socketpair()
        self._pids.append(_fork(lambda: _inside(theirs, grants, redirect), keep=[theirs.fileno()]))
        theirs.close()
        listeners = topology.receive_listeners(self._factory)
        self.control, control = socket.socketpair()
        settings = {"limits": limits or Limits(), **(options or {})}
        servers = DEFAULT_SERVERS if servers is None else servers

        def outside() -> None:
            _outside(
                listeners, Rules(grants, denies, 1), answers or {}, control.detach(), writer, settings, own, servers
            )

        keep = [fd for _, fd in listeners] + [control.fileno(), writer]
        self._pids.append(_fork(outside, keep=keep))
        for _, fd in listeners:
            os.close(fd)
        os.close(writer)
        control.close()
        self.wait(lambda record: record.get("ready"))

    # ---- the job's side

    def make_socket(self, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM) -> socket.socket:
        """A socket that lives in the job's namespace."""
        self._factory.sendall(bytes((family, kind)))
        _, fds, _, _ = socket.recv_fds(self._factory, 1, 1)
        made = socket.socket(fileno=fds[0])
        made.settimeout(10)
        return made

    def run(self, argv: Sequence[str], env: dict[str, str] | None = None, seconds: float = 30) -> tuple[int, str]:
        """Run a program in the job's network namespace; exit status and output."""
        request = json.dumps({"argv": list(argv), "env": env or {}, "seconds": seconds}).encode()
        self._factory.sendall(b"\xff\xff" + len(request).to_bytes(4, "big") + request)
        answer = json.loads(_exactly(self._factory, int.from_bytes(_exactly(self._factory, 4), "big")))
        return answer["status"], answer["output"]

    def connect(self, address: str, port: int) -> socket.socket:
        made = self.make_socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        made.connect((address, port))
        return made

    def proxy(self) -> socket.socket:
        return self.connect("127.0.0.1", topology.PROXY_PORT)

    def dns(self, packet: bytes, seconds: float = 2) -> bytes:
        """The answer to one datagram, empty when none comes."""
        asking = self.make_socket(kind=socket.SOCK_DGRAM)
        asking.settimeout(seconds)
        asking.sendto(packet, ("127.0.0.1", 53))
        try:
            return asking.recv(4096)
        except TimeoutError:
            return b""
        finally:
            asking.close()

    def resolve(self, name: str) -> str:
        """The synthetic address of a name, empty for NXDOMAIN."""
        labels = b"".join(bytes((len(label),)) + label.encode() for label in name.split("."))
        reply = self.dns(b"\x12\x34\x01\0\0\1\0\0\0\0\0\0" + labels + b"\0\0\1\0\1")
        assert reply, "the responder does not answer"
        return socket.inet_ntoa(reply[-4:]) if reply[3] & 15 == 0 and reply[7] else ""

    # ---- records

    def collect(self, seconds: float = 0.0) -> list[dict[str, Any]]:
        """All records so far; waits up to `seconds` for one more."""
        while select.select([self._reader], [], [], seconds)[0]:
            data = os.read(self._reader, 1 << 20)
            if not data:
                break
            *lines, self._buffer = (self._buffer + data).split(b"\n")
            self.records += [json.loads(line) for line in lines]
            seconds = 0.0
        return self.records

    def wait(self, wanted: Callable[[dict[str, Any]], Any], seconds: float = 10, since: int = 0) -> dict[str, Any]:
        """The first record that fits. Raises AssertionError when none comes."""
        end = time.monotonic() + seconds
        while True:
            for record in self.collect(0.05)[since:]:
                if wanted(record):
                    return record
            if time.monotonic() > end:
                raise AssertionError(f"no such record; there are {self.records[since:]}")

    def events(self, since: int = 0) -> list[dict[str, Any]]:
        return [record["audit"] for record in self.collect()[since:] if "audit" in record]

    def ask(self, **message: Any) -> dict[str, Any]:
        """One message on the supervisor's line."""
        self.control.settimeout(10)
        self.control.sendall(json.dumps(message).encode() + b"\n")
        data = b""
        while not data.endswith(b"\n"):
            data += self.control.recv(65536)
        return dict(json.loads(data))

    def kill_proxy(self) -> None:
        os.kill(self._pids[1], signal.SIGKILL)
        os.waitpid(self._pids.pop(1), 0)

    def proxy_pid(self) -> int:
        return self._pids[1]

    def close(self) -> None:
        self.control.close()
        self._factory.close()
        for pid in self._pids:
            end = time.monotonic() + 5
            while os.waitpid(pid, os.WNOHANG)[0] == 0:
                self.collect()  # a full pipe would hold the proxy up
                if time.monotonic() > end:
                    os.kill(pid, signal.SIGKILL)
                time.sleep(0.005)
        os.close(self._reader)


def _exactly(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = sock.recv(count - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data


def _fork(body: Callable[[], None], keep: list[int]) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        # Only what is meant to be there: an inherited copy of a control line would keep another world alive.
        top = 3
        for fd in sorted({*keep, 1, 2}):
            if fd >= top:
                os.closerange(top, fd)
                top = fd + 1
        os.closerange(top, 4096)
        body()
        status = 0
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(status)


def _inside(factory: socket.socket, grants: Sequence[Grant], redirect: bool) -> None:
    """Build the job's namespace, then make sockets and run programs in it on request."""
    unshare_network()
    if redirect:
        listeners = topology.build(grants)
    else:
        netlink.loopback_up()
        netlink.local_default_routes()
        listeners = topology.open_listeners(topology.plan(grants, redirect=False))
    topology.send_listeners(factory, listeners)
    while True:
        try:
            family, kind = _exactly(factory, 2)
        except (EOFError, OSError):
            return
        if family == 255:
            _run_program(factory)
            continue
        with socket.socket(family, kind) as made:
            socket.send_fds(factory, [b"."], [made.fileno()])


def _run_program(factory: socket.socket) -> None:
    import subprocess

    request = json.loads(_exactly(factory, int.from_bytes(_exactly(factory, 4), "big")))
    try:
        done = subprocess.run(
            request["argv"],
            env={"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "HOME": "/nonexistent", **request["env"]},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=request["seconds"],
            check=False,
        )
        answer = {"status": done.returncode, "output": done.stdout.decode("utf-8", "replace")}
    except OSError as error:
        answer = {"status": 127, "output": str(error)}
    except subprocess.TimeoutExpired as error:
        answer = {"status": 124, "output": (error.output or b"").decode("utf-8", "replace")}
    data = json.dumps(answer).encode()
    factory.sendall(len(data).to_bytes(4, "big") + data)


# ---- outside


class Recorder:
    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.lock = threading.Lock()

    def __call__(self, record: dict[str, Any]) -> None:
        with self.lock:
            data = json.dumps(record).encode() + b"\n"
            while data:
                data = data[os.write(self.fd, data) :]


def _outside(
    listeners: list[tuple[str, int]],
    rules: Rules,
    answers: dict[str, Any],
    control: int,
    writer: int,
    settings: dict[str, Any],
    own: Sequence[str],
    servers: dict[int, str],
) -> None:
    unshare_network()
    netlink.loopback_up()
    netlink.local_default_routes()
    record = Recorder(writer)
    for port, kind in servers.items():
        for family, address in ((socket.AF_INET, ""), (socket.AF_INET6, "::")):
            listener = socket.socket(family)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((address, port))
            listener.listen(512)
            threading.Thread(target=_accept, args=(listener, kind, record), daemon=True).start()
    turns: dict[str, int] = {}

    def lookup(name: str) -> list[str]:
        record({"lookup": name})
        found = answers.get(name, answers.get("*", [PUBLIC]))
        if found and isinstance(found[0], list):
            turns[name] = turns.get(name, -1) + 1
            found = found[min(turns[name], len(found) - 1)]
        return list(found)

    settings.setdefault("lookup", lookup)
    options = Options(own=lambda address: address in own, **settings)
    record({"ready": True})
    totals = serve(listeners, rules, lambda event: record({"audit": event}), control=control, options=options)
    record({"totals": totals})


def _accept(listener: socket.socket, kind: str, record: Recorder) -> None:
    while True:
        conn, _ = listener.accept()
        threading.Thread(target=_serve, args=(conn, kind, record), daemon=True).start()


def _serve(conn: socket.socket, kind: str, record: Recorder) -> None:
    from tests.egress import upstreams

    address, port = conn.getsockname()[:2]
    record({"upstream": "connect", "address": address, "port": port})

    def seen(data: bytes) -> None:
        record({"upstream": "data", "address": address, "port": port, "data": data.decode("latin-1")})

    try:
        upstreams.KINDS[kind](conn, seen)
    except (OSError, EOFError):
        pass
    finally:
        conn.close()
