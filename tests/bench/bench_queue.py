"""What the queue costs as it grows: one decision, one submission, one whole life of a job, with 10 to 100,000 queued.

    .venv/bin/python tests/bench/bench_queue.py [--rounds 300]

The queue of the service with its store on disk (WAL, in a temporary directory), without processes: a job ends as soon as
it is started. Milliseconds of CPU time of this process for one job: submitted alone, chosen, claimed, started, ended. A
table for docs/how-to/batch.md. Exit status 1 where the cost at 100,000 is more than twice that at 10.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from tests.service.queue.host import Host

SIZES = (10, 100, 1000, 10_000, 100_000)
TENANTS = ("ada", "bela", "cleo", "dora")


def measured(queued: int, rounds: int) -> tuple[float, float, float]:
    """With `queued` jobs waiting: (ms to queue one of them in bulk, ms for the life of one more, s to take all over)."""
    with tempfile.TemporaryDirectory() as directory:
        host = Host(directory, max_jobs=4, tenant={"max_queued": 1_000_000}, max_queued=1_000_000)
        for tenant in TENANTS:
            host.submit(4, tenant)  # what holds the slots
        began = time.process_time()
        for tenant in TENANTS:
            host.submit(max(1, queued // len(TENANTS)), tenant)
        bulk = (time.process_time() - began) / queued
        began = time.process_time()
        for at in range(rounds):
            host.submit(1, TENANTS[at % len(TENANTS)])
            host.running[0].end()
            host.loop.settle()
        one = (time.process_time() - began) / rounds
        began = time.process_time()
        host.crash()
        taken_over = time.process_time() - began
        host.store.close()
        return bulk * 1e3, one * 1e3, taken_over


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=300)
    rounds = parser.parse_args().rounds
    measured(10, rounds)
    print(f"load {os.getloadavg()[0]:.1f}; milliseconds of CPU time")
    print("| queued | submit in bulk, a job | the life of one more job | taken over at start |")
    print("|---|---|---|---|")
    lives = {}
    for size in SIZES:
        bulk, lives[size], taken_over = measured(size, rounds)
        print(f"| {size} | {bulk:.3f} | {lives[size]:.2f} | {taken_over * 1e3:.0f} |")
    return int(lives[SIZES[-1]] > 2 * lives[SIZES[0]])


if __name__ == "__main__":
    raise SystemExit(main())
