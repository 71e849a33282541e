"""What a cold launch costs: `mlsandbox launch -- /bin/true` beside `bwrap` and `python3 -I -S -c pass`.

    .venv/bin/python tests/bench/bench_launch.py [--rounds 31] [--prefix INSTALLED]

Installs the package into a temporary prefix unless one is given (`script/install --no-link PREFIX`), launches as root
and as an ordinary user (root only), and prints: the import budget by group, system calls, medians of interleaved runs,
their ratios and the bars of issue 2. Needs bubblewrap, and perf for the count. The figures are worth something where
the load that is printed with them is below 0.5. Exit status 1 where a bar is missed.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import pwd
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PYTHON = "/usr/bin/python3"
WALL_BAR, CPU_BAR = 5.0, 2.5  # times bwrap, times python3 -I -S -c pass
BWRAP = """bwrap --unshare-all --die-with-parent --ro-bind /usr /usr --symlink usr/lib /lib --symlink usr/lib64 /lib64
--symlink usr/bin /bin --proc /proc --dev /dev --tmpfs /tmp /bin/true"""
POLICY = '{"policy": {"applies_to": {"users": ["%s"]}, "capabilities": {"cmd": ["true"]}}}\n'
# Starts what it is told, by vfork: a fork of a process with many pages would cost every case the same few ms, in which
# the difference between them drowns.
STARTER = """
import json, os, sys, time
null = os.open(os.devnull, os.O_RDWR)
actions = [(os.POSIX_SPAWN_DUP2, null, number) for number in range(3)]
for line in sys.stdin:
    argv, environment = json.loads(line)
    began = time.perf_counter_ns()
    pid = os.posix_spawn(argv[0], argv, environment, file_actions=actions)
    _pid, status, usage = os.wait4(pid, 0)
    wall = (time.perf_counter_ns() - began) / 1e6
    print(status, wall, (usage.ru_utime + usage.ru_stime) * 1e3, flush=True)
"""
BUDGET = """
import sys, time
sys.path.insert(0, {library!r})
began = time.process_time_ns()
from launcher.cli import entry, bundle
loaded = bundle.load()
import launcher.cli.launch, launcher.cli.main
spent = (time.process_time_ns() - began) / 1e6
print(spent, loaded, *[name for name in sys.modules])
"""


class Case:
    """One command, who runs it, and what its runs cost: (wall ms, user and system ms of the whole tree)."""

    def __init__(self, name: str, argv: list[str], environment: dict[str, str], account: pwd.struct_passwd) -> None:
        self.name = name
        self.argv = [shutil.which(argv[0]) or argv[0], *argv[1:]]
        self.environment = environment
        self.account = account
        self.runs: list[tuple[float, float]] = []

    def run(self, cwd: str, *, count: bool = True) -> None:
        status, wall, cpu = _starter(self.account, cwd).ask([self.argv, self.environment])
        if status:
            raise SystemExit(f"{self.name}: {' '.join(self.argv)} ended with status {status:g}")
        if count:
            self.runs.append((wall, cpu))

    def median(self, column: int) -> float:
        return statistics.median([run[column] for run in self.runs])


class Starter:
    """A small process that starts commands as one account and measures them."""

    def __init__(self, account: pwd.struct_passwd, cwd: str) -> None:
        other = account.pw_uid != os.geteuid()
        self._process = subprocess.Popen(
            [PYTHON, "-I", "-c", STARTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=cwd, text=True,
            user=account.pw_uid if other else None, group=account.pw_gid if other else None,
            extra_groups=[] if other else None,
        )  # fmt: skip

    def ask(self, command: list[object]) -> tuple[float, float, float]:
        """The exit status, wall ms, and ms of user and system time of the whole tree."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        status, wall, cpu = map(float, self._process.stdout.readline().split())
        return status, wall, cpu


@functools.cache
def _starter(account: pwd.struct_passwd, cwd: str) -> Starter:
    return Starter(account, cwd)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--prefix", help="an installation to measure instead of a new one")
    arguments = parser.parse_args()
    top = tempfile.mkdtemp(prefix="mlsandbox-bench-")
    os.chmod(top, 0o755)
    try:
        prefix = arguments.prefix or _install(f"{top}/prefix")
        cases = _cases(top, prefix)
        _warm(cases, top)
        _budget(prefix)
        _calls([case for case in cases if case.account.pw_uid == os.geteuid()])
        _measure(cases, arguments.rounds, top)
        return _report(cases)
    finally:
        shutil.rmtree(top)


def _install(prefix: str) -> str:
    subprocess.run([f"{ROOT}/script/install", "--no-link", prefix], check=True, stdout=subprocess.DEVNULL)
    return prefix


def _cases(top: str, prefix: str) -> list[Case]:
    me = pwd.getpwuid(os.geteuid())
    plain = {"PATH": "/usr/bin:/bin"}
    cases = [Case("bwrap", BWRAP.split(), plain, me), Case("python", [PYTHON, "-I", "-S", "-c", "pass"], plain, me)]
    for account in [me, *_ordinary()]:
        root = f"{top}/root-{account.pw_name}"
        os.makedirs(f"{root}/policies")
        with open(f"{root}/policies/bench.json", "w", encoding="utf-8") as file:
            file.write(POLICY % account.pw_name)
        for path in (root, f"{root}/policies", f"{root}/policies/bench.json"):
            os.chown(path, account.pw_uid, account.pw_gid)
        words = [f"{prefix}/bin/mlsandbox", "launch", *([] if account.pw_uid == 0 else ["--allow-degraded"])]
        environment = {**plain, "MLSANDBOX_ROOT": root, "HOME": account.pw_dir}
        cases.append(Case(f"launch as {account.pw_name}", [*words, "--", "/bin/true"], environment, account))
    return cases


def _ordinary() -> list[pwd.struct_passwd]:
    if os.geteuid() != 0:
        return []
    return [entry for entry in pwd.getpwall() if 1000 <= entry.pw_uid < 60000 and os.path.isdir(entry.pw_dir)][:1]


def _warm(cases: list[Case], top: str) -> None:
    for pause in (0.2, 0.2, 0.0):  # parse documents, compile the filter; the snapshot's cache; the decision
        for case in cases:
            case.run(top, count=False)
        time.sleep(pause)


def _budget(prefix: str) -> None:
    """CPU of the imports of a launch with the bundle, and what is in them."""
    library = f"{prefix}/lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    found = [_imports(library) for _ in range(7)]
    spent = statistics.median([float(words[0]) for words in found])
    names = [name for name in found[0][2:] if name.startswith("launcher")]
    groups: dict[str, int] = {}
    for name in names:
        group = ".".join(name.split(".")[1:2]) or "(top)"
        groups[group] = groups.get(group, 0) + 1
    print(f"imports of a launch: {spent:.1f} ms CPU, {len(names)} modules of ours, bundle: {found[0][1]}")
    print("  " + ", ".join([f"{group} {count}" for group, count in sorted(groups.items())]))
    foreign = [name for name in found[0][2:] if not name.startswith("launcher")]
    print(f"  others ({len(foreign)}): {' '.join(foreign)}")


def _imports(library: str) -> list[str]:
    program = BUDGET.format(library=library)
    done = subprocess.run([PYTHON, "-I", "-S", "-c", program], check=True, capture_output=True, text=True)
    return done.stdout.split()


def _calls(cases: list[Case]) -> None:
    if not shutil.which("perf") or os.geteuid() != 0:
        return
    for case in cases:  # not strace: a job whose commands are listed is traced already, and says so
        done = subprocess.run(
            ["perf", "stat", "-x", ",", "-e", "raw_syscalls:sys_enter", *case.argv],
            check=False, capture_output=True, text=True, env=case.environment,
        )  # fmt: skip
        counts = [line.split(",")[0] for line in done.stderr.splitlines() if "sys_enter" in line]
        print(f"{case.name:24} {counts[0] if counts else '?'} system calls, the sandbox's and the job's included")


def _measure(cases: list[Case], rounds: int, top: str) -> None:
    for _ in range(rounds):
        for case in cases:
            case.run(top)


def _report(cases: list[Case]) -> int:
    bwrap, python, *launches = cases
    missed = 0
    for case in cases:
        print(f"{case.name:24} wall {case.median(0):6.1f} ms   CPU {case.median(1):6.1f} ms   ({len(case.runs)} runs)")
    for case in launches:
        wall, cpu = case.median(0) / bwrap.median(0), case.median(1) / python.median(1)
        missed += (wall > WALL_BAR) + (cpu > CPU_BAR)
        print(
            f"{case.name:24} {wall:.1f} times bwrap (at most {WALL_BAR:g}), "
            f"{cpu:.1f} times the CPU of {' '.join(python.argv)} (at most {CPU_BAR:g})"
        )
    print(f"load {' '.join([f'{load:.2f}' for load in os.getloadavg()])} on {os.cpu_count()} processors")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
