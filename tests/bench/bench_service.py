"""What a warm launch costs, beside bwrap with the same mounts, in the same run: the bars of issue 6.

    .venv/bin/python tests/bench/bench_service.py [--rounds 300] [--jobs 1000] [--idle 500] [--prefix INSTALLED]

As root, with bubblewrap. It starts a service of its own below /srv, with ordinary users of the tests as tenants, and
prints: latency through the API and the command line, CPU of everything that is behind a launch (by a cpuacct or v2
control group: refill and teardown are in it), throughput on all processors beside `xargs -P2 bwrap`, and memory of
sandboxes that do nothing. bwrap gets a compiled filter of ours. The load is printed: above 0.5 the figures are a trend.
"""

from __future__ import annotations

import argparse
import os
import pwd
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from launcher.enforce.namespace.cgroup import own_paths
from launcher.kernel import seccomp
from launcher.service.client import Client, connect
from launcher.service.remote import Remote
from launcher.service.request import Request
from tests import sandboxed
from tests.serving import Bed, as_user

if TYPE_CHECKING:
    pass

BWRAP = """bwrap --unshare-all --die-with-parent --ro-bind /usr /usr --symlink usr/lib /lib --symlink usr/lib64 /lib64
--symlink usr/bin /bin --proc /proc --dev /dev --tmpfs /tmp --seccomp 9""".split()  # noqa: SIM905  a command line
BARS = {"api true": 0.75, "cpu true": 0.75, "cli true": 2.0, "api ml": 0.5, "jobs a second": 1.5}
PAGE = os.sysconf("SC_PAGE_SIZE")


class Group:
    """A control group that counts the CPU of what is started in it, in milliseconds."""

    def __init__(self, name: str) -> None:
        own = own_paths()
        v1 = "cpuacct" in own and os.path.isdir("/sys/fs/cgroup/cpuacct")
        top = f"/sys/fs/cgroup/cpuacct{own['cpuacct'].rstrip('/')}" if v1 else f"/sys/fs/cgroup{own.get('', '/')}"
        self.path = f"{top.rstrip('/')}/bench-{os.getpid()}-{name}"  # not by the product's prefix: it removes leftovers
        self._top, self._v1 = top.rstrip("/"), v1
        os.mkdir(self.path)

    def enter(self) -> None:
        self._move(self.path)

    def leave(self) -> None:
        self._move(self._top)

    def _move(self, group: str) -> None:
        with open(f"{group}/cgroup.procs", "w", encoding="ascii") as file:
            file.write(str(os.getpid()))

    def used(self) -> float:
        with open(f"{self.path}/{'cpuacct.usage' if self._v1 else 'cpu.stat'}", encoding="ascii") as file:
            text = file.read()
        return int(text) / 1e6 if self._v1 else int(text.split()[1]) / 1e3

    def remove(self) -> None:
        os.rmdir(self.path)


class Bench:
    """A service, its tenants, and the two control groups."""

    def __init__(self, prefix: str) -> None:
        self.bed = Bed(prefix)
        self.bed.policy({"cmd": ["true", "sleep"]}, self.bed.alice)
        self.bed.policy({}, self.bed.bob, name="ml")
        self.ours, self.theirs = Group("service"), Group("bwrap")
        path = f"{self.bed.workspace(self.bed.bob)}/job.ml"
        with open(path, "w", encoding="ascii") as file:
            file.write("a = 1;\n")
        memory = os.memfd_create("filter")
        os.write(memory, seccomp.filter_bytes("default", {"exec": "allow"}, None))
        os.dup2(memory, 9, inheritable=True)

    def start(self) -> None:
        self.ours.enter()
        try:
            self.bed.start()
        finally:
            self.ours.leave()

    def remove(self) -> None:
        self.bed.remove()
        time.sleep(1)
        for group in (self.ours, self.theirs):
            group.remove()

    # -- one of each --------------------------------------------------------------------------------------------------

    def bwrap(self, *words: str) -> float:
        """Milliseconds of one run."""
        account = self.bed.alice
        began = time.perf_counter()
        pid = os.fork()
        if pid == 0:
            try:
                self.theirs.enter()
                os.lseek(9, 0, os.SEEK_SET)
                null = os.open(os.devnull, os.O_RDWR)
                for number in range(3):
                    os.dup2(null, number)
                os.setgroups([])
                os.setresgid(*[account.pw_gid] * 3)
                os.setresuid(*[account.pw_uid] * 3)
                os.execvp(BWRAP[0], [*BWRAP, *words])
            finally:
                os._exit(125)
        _pid, status = os.waitpid(pid, 0)
        assert status == 0, status
        return (time.perf_counter() - began) * 1e3

    def client(self) -> Client:
        made = connect(self.bed.locations.socket)
        assert made
        return made

    def request(
        self, user: pwd.struct_passwd, null: int, *, program: bool, words: tuple[str, ...] = ("true",)
    ) -> Request:
        request = Request()
        request.cwd, request.stdio, request.inherited = self.bed.workspace(user), (null, null, null), {"LANG": "C"}
        if program:
            request.program = "job.ml"
        else:
            request.command = words
        return request

    def api(self, *, program: bool, rounds: int) -> list[float]:
        """Milliseconds of back-to-back launches, each on a connection of its own, by a process that is the tenant."""
        user = self.bed.bob if program else self.bed.alice

        def run() -> list[float]:
            null, times = os.open(os.devnull, os.O_RDWR), []
            for _ in range(rounds):
                began = time.perf_counter()
                client = self.client()
                assert Remote(client, self.request(user, null, program=program)).wait()["exit_code"] == 0
                client.close()
                times.append((time.perf_counter() - began) * 1e3)
            return times

        made: list[float] = as_user(user, run)
        return made

    def cli(self, rounds: int) -> list[float]:
        times = []
        for _ in range(rounds):
            began = time.perf_counter()
            assert self.bed.run(self.bed.alice, "launch", "--", "true").returncode == 0
            times.append((time.perf_counter() - began) * 1e3)
        return times

    # -- many ---------------------------------------------------------------------------------------------------------

    def many(self, jobs: int, at_a_time: int) -> float:
        """Jobs a second, `at_a_time` at a time."""

        def run() -> None:
            for pid in [self._some(jobs // at_a_time) for _ in range(at_a_time)]:
                os.waitpid(pid, 0)

        began = time.perf_counter()
        as_user(self.bed.alice, run)
        return jobs / (time.perf_counter() - began)

    def _some(self, jobs: int) -> int:
        pid = os.fork()
        if pid == 0:
            null = os.open(os.devnull, os.O_RDWR)
            for _ in range(jobs):
                client = self.client()
                Remote(client, self.request(self.bed.alice, null, program=False)).wait()
                client.close()
            os._exit(0)
        return pid

    def xargs(self, jobs: int) -> float:
        account = self.bed.alice
        words = ["xargs", "-P2", "-I{}", "sh", "-c", f"exec 9<{self._copy()}; exec {' '.join(BWRAP)} /bin/true"]
        began = time.perf_counter()
        subprocess.run(words, input="\n".join(map(str, range(jobs))).encode(), check=True, user=account.pw_uid,
                       group=account.pw_gid, extra_groups=[], cwd="/")  # fmt: skip
        return jobs / (time.perf_counter() - began)

    def _copy(self) -> str:
        path = f"{self.bed.top}/filter"
        with open(path, "wb") as file:
            file.write(os.pread(9, 1 << 20, 0))
        return path

    def idle(self, count: int) -> tuple[float, float]:
        """(USS of the supervising processes, MemAvailable lost) of each of `count` sandboxes that sleep, in MiB."""
        before, reading = available(), os.pipe()
        pid = os.fork()
        if pid == 0:
            as_user(self.bed.alice, lambda: self._hold(count, reading[1]))
            os._exit(0)
        os.close(reading[1])
        assert os.read(reading[0], 1) == b"x"
        assert self.bed.process
        family = descendants(self.bed.process.pid)
        private = sum(map(uss, [pid_ for pid_ in family if not is_job(pid_)]))
        lost = before - available()
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        return private / count / (1 << 20), lost / count / (1 << 20)

    def _hold(self, count: int, told: int) -> None:
        null = os.open(os.devnull, os.O_RDWR)
        held = []
        for _ in range(count):
            client = self.client()
            held.append(Remote(client, self.request(self.bed.alice, null, program=False, words=("sleep", "300"))))
        time.sleep(1)
        os.write(told, b"x")
        time.sleep(300)


def available() -> int:
    with open("/proc/meminfo", encoding="ascii") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable"))


def descendants(top: int) -> list[int]:
    below: dict[int, list[int]] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
                below.setdefault(int(file.read().rpartition(")")[2].split()[1]), []).append(int(name))
        except OSError:
            continue
    found, rest = [top], [top]
    while rest:
        more = below.get(rest.pop(), [])
        found += more
        rest += more
    return found


def is_job(pid: int) -> bool:
    with open(f"/proc/{pid}/comm", encoding="utf-8") as file:
        return file.read() == "sleep\n"


def uss(pid: int) -> int:
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        return sum(int(line.split()[1]) * 1024 for line in file if line.startswith("Private_"))


def shown(name: str, ours: float, theirs: float, unit: str = "ms") -> bool:
    ratio = ours / theirs
    more = name == "jobs a second"
    met = ratio >= BARS[name] if more else ratio <= BARS[name]
    print(f"{name:14} {ours:8.2f} {unit}   bwrap {theirs:8.2f} {unit}   {ratio:5.2f} times   bar "
          f"{'>=' if more else '<='} {BARS[name]}: {'met' if met else 'MISSED'}")  # fmt: skip
    return met


def measured(bench: Bench, rounds: int, jobs: int) -> bool:
    half = max(rounds // 2, 1)
    bench.api(program=False, rounds=5)
    bench.api(program=True, rounds=5)
    true = [bench.bwrap("/bin/true") for _ in range(half)]
    used = bench.ours.used()
    api = bench.api(program=False, rounds=rounds)
    time.sleep(1)
    cpu = (bench.ours.used() - used) / rounds
    used = bench.theirs.used()
    true += [bench.bwrap("/bin/true") for _ in range(half)]
    other = (bench.theirs.used() - used) / half
    program = bench.api(program=True, rounds=half)
    python = [bench.bwrap("/usr/bin/python3", "-I", "-S", "-c", "pass") for _ in range(half)]
    print(f"load {os.getloadavg()[0]:.2f}")
    rows = [
        shown("api true", statistics.median(api), statistics.median(true)),
        shown("cpu true", cpu, other),
        shown("cli true", statistics.median(bench.cli(max(rounds // 4, 1))), statistics.median(true)),
        shown("api ml", statistics.median(program), statistics.median(python)),
        shown("jobs a second", bench.many(jobs, 2), bench.xargs(jobs), ""),
    ]
    return all(rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--idle", type=int, default=500)
    parser.add_argument("--prefix")
    options = parser.parse_args()
    bench = Bench(options.prefix or sandboxed.install())
    try:
        bench.start()
        met = measured(bench, options.rounds, options.jobs)
        private, lost = bench.idle(options.idle)
        print(
            f"idle x {options.idle:4}   USS {private:.2f} MiB each (bar 1.0)   MemAvailable {lost:.2f} MiB each (bar 2.5)"
        )
        return 0 if met and private <= 1.0 and lost <= 2.5 else 1
    finally:
        print(bench.bed.log()[-2000:], file=sys.stderr)
        bench.remove()


if __name__ == "__main__":
    sys.exit(main())
