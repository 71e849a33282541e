"""What a job that holds slow connections costs another job: median latency with and without the attack, interleaved.

    python tests/bench/bench_egress_loris.py [--rounds 6] [--requests 150] [--slow 400] [--json]

Two jobs' proxies; the attacking job opens connections and sends each a byte of a request head a second. The other job
asks for a tunnel and a byte through it. Rounds alternate, so both see the same neighbours.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import sys
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, ROOT)

from tests.bench.bench_egress import Origin, ours, tunnel  # noqa: E402  the path is set above


def median(port: int, origin: Origin, count: int) -> float:
    """Milliseconds of a tunnel and one byte there and back."""
    times = []
    for _ in range(count):
        began = time.perf_counter()
        with tunnel(port, origin.port) as conn:
            conn.sendall(b"x")
            conn.recv(1)
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1000


class Attack:
    """Slow connections to one proxy, as long as `on`."""

    def __init__(self, port: int, count: int) -> None:
        self.port = port
        self.count = count
        self.on = threading.Event()
        self.ended = False
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        held: list[socket.socket] = []
        while not self.ended:
            if not self.on.is_set():
                for conn in held:
                    conn.close()
                held.clear()
                time.sleep(0.01)
                continue
            if len(held) < self.count:
                held.append(socket.create_connection(("127.0.0.1", self.port)))
                held[-1].sendall(b"GET http://localhost/ HTTP/1.1\r\nX: ")
                continue
            for number, conn in enumerate(held):
                try:
                    conn.sendall(b"a")
                except OSError:
                    held[number] = socket.create_connection(("127.0.0.1", self.port))
                time.sleep(1 / self.count)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--requests", type=int, default=150)
    parser.add_argument("--slow", type=int, default=400)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    origin = Origin(16)
    quiet, busy = [], []
    with (
        tempfile.TemporaryDirectory() as folder,
        ours(origin, folder) as (victim, _),
        ours(origin, folder) as (other, _),
    ):
        attack = Attack(other, arguments.slow)
        median(victim, origin, 50)
        for _ in range(arguments.rounds):
            attack.on.clear()
            time.sleep(0.3)
            quiet.append(median(victim, origin, arguments.requests))
            attack.on.set()
            time.sleep(0.6)
            busy.append(median(victim, origin, arguments.requests))
        attack.ended = True
    result = {
        "quiet_ms": statistics.median(quiet),
        "attacked_ms": statistics.median(busy),
        "ratio": statistics.median(b / q for b, q in zip(busy, quiet, strict=True)),
        "bar": 1.2,
    }
    print(json.dumps(result) if arguments.json else "  ".join(f"{key} {value:.3f}" for key, value in result.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
