"""The proxy against squid as CONNECT proxies, in the same run: bytes and connections a CPU second, memory an idle tunnel.

    python tests/bench/bench_egress.py [--rounds 3] [--mib 512] [--connections 1500] [--tunnels 2000] [--json]

CPU time of the proxy process is what counts: wall clock on a shared machine says little. Loopback only; the source is
sendfile, the sink MSG_TRUNC, so that neither is the limit.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, ROOT)

from launcher.capability.grant import Grant  # noqa: E402  the path is set above: the script runs without installation
from launcher.egress import handle  # noqa: E402

TICK = os.sysconf("SC_CLK_TCK")
MIB = 1 << 20
SQUID = """
http_port 127.0.0.1:{port}
pid_filename {folder}/squid.pid
access_log none
cache_log {folder}/cache.log
cache_store_log none
cache deny all
cache_mem 0 MB
netdb_filename none
coredump_dir {folder}
acl CONNECT method CONNECT
http_access allow all
shutdown_lifetime 0 seconds
max_filedescriptors 65536
"""


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, from schedstat where it is finer than the clock tick."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/schedstat") as file:
            total += int(file.read().split()[0])
    return total / 1e9


def resident(pid: int) -> int:
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


# ---- the two ends


class Origin:
    """Sends `mib` MiB to who says so, echoes one byte for the connection test, holds idle ones."""

    def __init__(self, mib: int) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.port = self.listener.getsockname()[1]
        self.file = tempfile.TemporaryFile()  # noqa: SIM115  open as long as the origin
        self.file.truncate(16 * MIB)
        self.mib = mib
        self.held: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            conn, _ = self.listener.accept()
            threading.Thread(target=self._serve, args=(conn,), daemon=True).start()

    def _serve(self, conn: socket.socket) -> None:
        word = conn.recv(1)
        if word == b"i":
            self.held.append(conn)
            return
        if word == b"d":
            for _ in range(self.mib // 16):
                offset = 0
                while offset < 16 * MIB:
                    offset += os.sendfile(conn.fileno(), self.file.fileno(), offset, 16 * MIB - offset)
        elif word:
            conn.sendall(word)
        conn.close()


def tunnel(proxy: int, origin: int) -> socket.socket:
    conn = socket.create_connection(("127.0.0.1", proxy))
    conn.sendall(f"CONNECT localhost:{origin} HTTP/1.1\r\nHost: localhost:{origin}\r\n\r\n".encode())
    head = b""
    while b"\r\n\r\n" not in head:
        piece = conn.recv(4096)
        if not piece:
            raise ConnectionError("the proxy closed the connection")
        head += piece
    if b" 200 " not in head[:16]:
        raise ConnectionError(head.decode("latin-1"))
    return conn


# ---- what is measured


def throughput(proxy: int, pid: int, origin: Origin, streams: int) -> float:
    """MB a CPU second of the proxy."""
    before = cpu_seconds(pid)
    threads = [threading.Thread(target=_download, args=(proxy, origin)) for _ in range(streams)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return streams * origin.mib * MIB / 1e6 / (cpu_seconds(pid) - before)


def _download(proxy: int, origin: Origin) -> None:
    with tunnel(proxy, origin.port) as conn:
        conn.sendall(b"d")
        sink, left = bytearray(MIB), origin.mib * MIB
        while left > 0:
            got = conn.recv_into(sink, MIB, socket.MSG_TRUNC)
            if not got:
                raise ConnectionError("short download")
            left -= got


def connection_cost(proxy: int, pid: int, origin: Origin, count: int) -> float:
    """CPU microseconds for a CONNECT, one byte each way and the end."""
    before = cpu_seconds(pid)
    for _ in range(count):
        with tunnel(proxy, origin.port) as conn:
            conn.sendall(b"x")
            conn.recv(1)
    time.sleep(0.1)
    return (cpu_seconds(pid) - before) / count * 1e6


def idle_cost(proxy: int, pid: int, origin: Origin, count: int) -> float:
    """KiB of resident memory an idle tunnel."""
    warm = [tunnel(proxy, origin.port) for _ in range(20)]
    before = resident(pid)
    held = []
    for _ in range(count):
        held.append(tunnel(proxy, origin.port))
        held[-1].sendall(b"i")
    time.sleep(0.3)
    cost = (resident(pid) - before) / count / 1024
    for conn in [*held, *warm]:
        conn.close()
    for conn in origin.held:
        conn.close()
    origin.held.clear()
    return cost


# ---- the proxies


@contextmanager
def ours(origin: Origin, _folder: str) -> Iterator[tuple[int, int]]:
    grant = Grant("network", ("tcp",), (f"localhost:{origin.port}",), {"allow_loopback": True}, "bench")
    network = {"grants": [grant.to_data()], "denies": [], "generation": 1}
    unlimited = {"connections": 100_000, "request_rate": 1e9}
    proxy = handle.start(network, {"limits": unlimited})
    proxy.ready()
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    port = listener.getsockname()[1]
    proxy.give([("proxy", listener.detach())])
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            proxy.read_events()
            time.sleep(0.01)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        yield port, proxy.pid
    finally:
        stop.set()
        reader.join()
        proxy.stop()


@contextmanager
def squid(_origin: Origin, folder: str) -> Iterator[tuple[int, int]]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    os.chmod(folder, 0o777)  # squid changes to its own user
    configuration = os.path.join(folder, "squid.conf")
    with open(configuration, "w") as file:
        file.write(SQUID.format(port=port, folder=folder))
    process = subprocess.Popen(["squid", "-N", "-f", configuration], stderr=subprocess.DEVNULL)
    try:
        _await(port)
        yield port, process.pid
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def _await(port: int) -> None:
    end = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
        else:
            return


PROXIES: dict[str, Callable[[Origin, str], object]] = {"mlsandbox": ours, "squid": squid}


def measure(name: str, arguments: argparse.Namespace) -> dict[str, float]:
    origin = Origin(arguments.mib)
    with tempfile.TemporaryDirectory() as folder, PROXIES[name](origin, folder) as (port, pid):  # type: ignore[attr-defined]
        throughput(port, pid, origin, 1)
        return {
            "mb_per_cpu_second_1": throughput(port, pid, origin, 1),
            "mb_per_cpu_second_16": throughput(port, pid, origin, 16) if arguments.many else 0.0,
            "cpu_us_per_connection": connection_cost(port, pid, origin, arguments.connections),
            "kib_per_idle_tunnel": idle_cost(port, pid, origin, arguments.tunnels),
        }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--mib", type=int, default=512)
    parser.add_argument("--connections", type=int, default=1500)
    parser.add_argument("--tunnels", type=int, default=2000)
    parser.add_argument("--many", action="store_true", help="16 streams as well")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    arguments.tunnels = min(arguments.tunnels, hard // 2 - 500)  # both ends of each are in this process
    names = [name for name in PROXIES if name == "mlsandbox" or shutil.which(name)]
    rounds = {name: [] for name in names}  # type: dict[str, list[dict[str, float]]]
    for _ in range(arguments.rounds):
        for name in names:  # interleaved: both see the same neighbours
            rounds[name].append(measure(name, arguments))
    result = {
        name: {key: statistics.median(r[key] for r in found) for key in found[0]} for name, found in rounds.items()
    }
    if arguments.json:
        print(json.dumps(result))
    else:
        for name, row in result.items():
            print(f"{name:10}", "  ".join(f"{key} {value:,.1f}" for key, value in row.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
