"""A launcher in a network of its own, with another host at the end of a cable: names, addresses and services to reach.

    python3 wire.py UID GID COMMAND...       as root

The namespace of COMMAND has one cable to a second namespace, where every address of 93.184.216.128/25 answers on
every port; its /etc/hosts says which name is which address. Nothing reaches the machine's own network, and all of it
ends with COMMAND.
"""

from __future__ import annotations

import ctypes
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading

NETWORK = "93.184.216"  # public addresses, since others are refused for what they are
LABELS = ("api", "apj", "www", "a", "b", "deep.api")
ZONES = ("alpha.com", "alphb.com", "beta.com")
NAMES = tuple(f"{label}.{zone}" for zone in ZONES for label in LABELS) + ZONES
HTTP_PORTS, TCP_PORTS = (80, 8080, 8081), (2222, 2223, 3306)
CLONE_NEWNS, CLONE_NEWNET, PR_SET_PDEATHSIG = 0x20000, 0x40000000, 1
MS_REC, MS_PRIVATE, MS_BIND = 0x4000, 0x40000, 0x1000
libc = ctypes.CDLL(None, use_errno=True)


def check(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def answer(connection: socket.socket, port: int) -> None:
    """Says which address and port was reached: at once, or in HTTP to a request."""
    with connection:
        connection.settimeout(5)
        try:
            where = f"reached {connection.getsockname()[0]}:{port}\n".encode()
            if port in TCP_PORTS:
                connection.sendall(where)
                return
            data = b""
            while b"\r\n\r\n" not in data:
                piece = connection.recv(65536)
                if not piece:
                    return
                data += piece
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(where)}\r\nConnection: close\r\n\r\n".encode()
            connection.sendall(head + where)
        except OSError:
            return


def other_host(ready: int) -> None:
    """The far end: its namespace is there before the cable, its address comes with it."""
    check(libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL))
    check(libc.unshare(CLONE_NEWNET))
    ip("link", "set", "lo", "up")
    ip("route", "add", "local", f"{NETWORK}.128/25", "dev", "lo")
    selector = selectors.DefaultSelector()
    for port in (*HTTP_PORTS, *TCP_PORTS):
        listener = socket.create_server(("0.0.0.0", port), backlog=64)
        selector.register(listener, selectors.EVENT_READ, port)
    os.write(ready, b"1")
    while True:
        for key, _events in selector.select():
            listener = key.fileobj  # type: ignore[assignment]
            connection, _peer = listener.accept()
            threading.Thread(target=answer, args=(connection, key.data), daemon=True).start()


def main() -> None:
    uid, gid, *command = sys.argv[1:]
    check(libc.unshare(CLONE_NEWNS | CLONE_NEWNET))
    check(libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None))
    told, ready = os.pipe()
    far = os.fork()
    if far == 0:
        os.close(told)
        other_host(ready)
    os.close(ready)
    if os.read(told, 1) != b"1":
        raise SystemExit("the other host did not come up")
    ip("link", "set", "lo", "up")
    ip("link", "add", "near", "type", "veth", "peer", "name", "far", "netns", str(far))
    ip("addr", "add", f"{NETWORK}.2/24", "dev", "near")
    ip("link", "set", "near", "up")
    subprocess.run(["nsenter", "-t", str(far), "-n", "ip", "addr", "add", f"{NETWORK}.1/24", "dev", "far"], check=True)
    subprocess.run(["nsenter", "-t", str(far), "-n", "ip", "link", "set", "far", "up"], check=True)
    with tempfile.NamedTemporaryFile("w", prefix="mlsandbox-hosts-") as file:
        file.write(
            "127.0.0.1 localhost\n" + "".join(f"{NETWORK}.{number} {name}\n" for number, name in enumerate(NAMES, 140))
        )
        file.flush()
        os.chmod(file.name, 0o644)
        check(libc.mount(os.fsencode(file.name), b"/etc/hosts", None, MS_BIND, None))
        job = subprocess.Popen(command, user=int(uid), group=int(gid), extra_groups=[])
        status = job.wait()
    os.kill(far, signal.SIGKILL)
    os.waitpid(far, 0)
    sys.exit(status if status >= 0 else 128 - status)


if __name__ == "__main__":
    main()
