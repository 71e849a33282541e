"""How long a job's network takes to be there: namespace, loopback, routes, rules, listeners, and handing them over.

    python tests/bench/bench_egress_setup.py [--rounds 100] [--json]

As root, and as a plain user in a user namespace of its own. Each round is a fresh process that has imported already, as
the process that builds a sandbox has. Wall clock and CPU time, median and 95th percentile.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import struct
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, ROOT)

from launcher.capability.grant import Grant  # noqa: E402  the path is set above: the script runs without installation
from launcher.egress import topology  # noqa: E402
from launcher.kernel import abi, libc, nft  # noqa: E402, F401  nft is imported here and not while it is timed

GRANTS = [
    Grant("network", ("https", "http"), ("api.example.com", "*.files.example.com"), {}, "bench"),
    Grant("network", ("tcp",), ("git.example.com:22", "localhost:5432"), {"allow_loopback": True}, "bench"),
]
NOBODY = 65534
BARS = {"root": 3.0, "user": 15.0}  # milliseconds


def once(who: str) -> tuple[float, float]:
    """Milliseconds of wall clock and of CPU for one namespace, from nothing to listeners that were sent."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            if who == "user" and os.geteuid() == 0:
                os.setgroups([])
                os.setresgid(NOBODY, NOBODY, NOBODY)
                os.setresuid(NOBODY, NOBODY, NOBODY)
                libc.prctl(abi.PR_SET_DUMPABLE, 1)
            ours, theirs = socket.socketpair()
            wall, cpu = time.monotonic(), time.process_time()
            _namespace(who)
            topology.send_listeners(theirs, topology.build(GRANTS))
            topology.receive_listeners(ours)
            os.write(writer, struct.pack("dd", time.monotonic() - wall, time.process_time() - cpu))
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    data = os.read(reader, 16)
    os.close(reader)
    os.waitpid(pid, 0)
    if len(data) != 16:
        raise SystemExit(f"the namespace of {who} could not be made")
    wall, cpu = struct.unpack("dd", data)
    return wall * 1000, cpu * 1000


def _namespace(who: str) -> None:
    if who == "root":
        libc.unshare(abi.CLONE_NEWNET)
        return
    uid, gid = os.geteuid(), os.getegid()
    libc.unshare(abi.CLONE_NEWUSER | abi.CLONE_NEWNET)
    for name, content in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(content)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    kinds = ["root", "user"] if os.geteuid() == 0 else ["user"]
    found = {who: [once(who) for _ in range(arguments.rounds)] for who in kinds}
    result = {
        who: {
            "wall_ms": statistics.median(wall for wall, _ in rounds),
            "wall_ms_p95": sorted(wall for wall, _ in rounds)[int(len(rounds) * 0.95)],
            "cpu_ms": statistics.median(cpu for _, cpu in rounds),
            "bar_ms": BARS[who],
        }
        for who, rounds in found.items()
    }
    if arguments.json:
        print(json.dumps(result))
    else:
        for who, row in result.items():
            print(f"{who:5}", "  ".join(f"{key} {value:.2f}" for key, value in row.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
