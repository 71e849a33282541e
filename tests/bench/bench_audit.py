"""What the audit costs: events a second, latency of one append, and the price of SQLite on a launch.

    .venv/bin/python tests/bench/bench_audit.py [DIRECTORY]

DIRECTORY is on the file system to be measured (default: a new one below the current directory).
"""

from __future__ import annotations

import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING, Any

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, ROOT)

from launcher.audit.event import event  # noqa: E402  the path comes first, so that the script runs from anywhere
from launcher.audit.files import AuditFiles  # noqa: E402  the path comes first, so that the script runs from anywhere
from launcher.audit.log import AuditLog  # noqa: E402  the path comes first, so that the script runs from anywhere
from launcher.audit.reader import Filters, read  # noqa: E402  the path comes first, so that the script runs from anywhere
from launcher.audit.verify import verify  # noqa: E402  the path comes first, so that the script runs from anywhere

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 31
APPEND = (
    f"import sys; sys.path.insert(0, {ROOT!r})\n"
    "from launcher.audit.log import AuditLog\n"
    "from launcher.audit.files import AuditFiles\n"
    "from launcher.audit.event import event\n"
)
STATEMENTS = {
    "python -I -S -c pass": "pass",
    "import os, launcher.canonical, launcher.errors": (
        f"import os, sys; sys.path.insert(0, {ROOT!r}); import launcher.canonical, launcher.errors"
    ),
    "import _sqlite3": "import _sqlite3",
    "import sqlite3": "import sqlite3",
    "sqlite3: open, update the head, commit": (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1] + '/x.db')\n"
        "c.execute('create table if not exists h (l primary key, s, d)')\n"
        "c.execute('insert or replace into h values (1, 2, 3)'); c.commit()"
    ),
    "import launcher.audit.log": APPEND,
    "audit: import, open, append one event, fdatasync": APPEND
    + "AuditLog.at(AuditFiles(sys.argv[1] + '/l/audit.jsonl', sys.argv[1] + '/s/audit.head'))"
    ".append([event('launch', 'policy', 'ALLOWED')])",
}


def item() -> dict[str, Any]:
    return event(
        "access", "runtime", "DENIED", user="alice", job="20251003-103002-7f3a", capability="file", operation="write",
        resource="secret/passwords.txt", deciders=[{"policy": "data_scientist", "place": "data_scientist.yaml:12:7"}],
    )  # fmt: skip


def latencies(act: Callable[[], object], count: int) -> str:
    times = []
    for _ in range(count):
        start = time.perf_counter_ns()
        act()
        times.append((time.perf_counter_ns() - start) / 1000)
    times.sort()
    return f"median {statistics.median(times):8.1f} us   P95 {times[int(count * 0.95)]:8.1f} us"


def processes(directory: str) -> None:
    """CPU of whole processes, interleaved: what a cold launch would pay."""
    cpu: dict[str, list[float]] = {name: [] for name in STATEMENTS}
    for _ in range(ROUNDS):
        for name, statement in STATEMENTS.items():
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run([sys.executable, "-I", "-S", "-c", statement, directory], check=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu[name].append(1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime))
    base = statistics.median(cpu["python -I -S -c pass"])
    for name, values in cpu.items():
        median = statistics.median(values)
        print(f"  {name:52} {median:6.2f} ms CPU  {median - base:+6.2f}")


def main(directory: str) -> None:
    files = AuditFiles(directory + "/log/audit.jsonl", directory + "/state/audit.head")
    log = AuditLog.at(files)
    print("one event an append")
    print(f"  without fdatasync  {latencies(lambda: log.append([item()], sync=False), 5000)}")
    print(f"  with fdatasync     {latencies(lambda: log.append([item()]), 500)}")
    print("events a second")
    for batch, rounds in ((1, 20_000), (100, 500)):
        start = time.perf_counter()
        for _ in range(rounds):
            log.append([item() for _ in range(batch)], sync=False)
        log.sync()
        print(f"  batches of {batch:3}     {batch * rounds / (time.perf_counter() - start):10,.0f}")
    start = time.perf_counter()
    result = verify(files)
    print(
        f"  verify             {result.events / (time.perf_counter() - start):10,.0f}   {'ok' if result.ok else 'NOT OK'}"
    )
    for name, filters in (("read, nothing matches", Filters(user="bob")), ("read, all match", Filters(user="alice"))):
        start = time.perf_counter()
        sum(1 for _ in read(files, filters))
        print(f"  {name:22} {result.events / (time.perf_counter() - start):6,.0f}")
    print(f"  bytes an event     {os.stat(files.log).st_size / result.events:10,.0f}")
    log.close()
    print(f"whole processes, median of {ROUNDS} interleaved")
    processes(directory)


if __name__ == "__main__":
    place = sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="bench-audit-", dir=os.getcwd())
    try:
        main(place)
    finally:
        if len(sys.argv) < 2:
            shutil.rmtree(place)
