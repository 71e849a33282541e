"""Many launches, many at once, many whose launcher is killed at a random moment: nothing is left of any of them.

Everything that a launch starts stays below this process, which is the subreaper meanwhile, so what other programs of
the machine do at the same time is not counted. MLSANDBOX_SEED repeats a run.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from launcher.enforce.namespace import cgroup
from launcher.kernel import libc
from tests.sandboxed import Host

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.kernel
SET_CHILD_SUBREAPER = 36
FILES, LINES = 4, 400
POLICY = {"sh": True, "cmd": ["true"], "file": [{"patterns": ["out/*"], "operations": ["read", "write", "delete"]}]}
ML = 'print("ml");\n'


# -- what there is of processes, mounts, namespaces -------------------------------------------------------------------


def processes() -> dict[int, tuple[int, str, str]]:
    """pid -> (parent, state, start time); proc_pid_stat(5)."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
                fields = file.read().rpartition(")")[2].split()
        except OSError:
            continue
        found[int(pid)] = (int(fields[1]), fields[0], fields[19])
    return found


def below(top: int) -> set[tuple[int, str]]:
    """(pid, start time) of every living process below `top`."""
    table = processes()
    children: dict[int, list[int]] = {}
    for pid, (parent, _state, _start) in table.items():
        children.setdefault(parent, []).append(pid)
    found, rest = set(), list(children.get(top, []))
    while rest:
        pid = rest.pop()
        rest += children.get(pid, [])
        if table[pid][1] not in "ZX":
            found.add((pid, table[pid][2]))
    return found


def alive(which: set[tuple[int, str]]) -> set[tuple[int, str]]:
    table = processes()
    return {
        (pid, start) for pid, start in which if pid in table and table[pid][1] not in "ZX" and table[pid][2] == start
    }


def mounts() -> set[str]:
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        return set(file)


def namespaces(pids: set[int]) -> set[str]:
    """Every namespace of these processes, as lsns(8) finds them."""
    found = set()
    for pid in pids:
        try:
            found |= {os.readlink(f"/proc/{pid}/ns/{kind}") for kind in os.listdir(f"/proc/{pid}/ns")}
        except OSError:
            continue
    return found


def unheld_groups() -> list[str]:
    """Groups of ours without a process and without a launcher."""
    found = []
    for base in cgroup._bases():
        for path in cgroup._groups(base):
            try:
                fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
                with open(f"{path}/cgroup.procs", encoding="ascii") as file:
                    busy = bool(file.read(1))
            except OSError:
                continue
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                found += [] if busy else [path]
            except OSError:
                pass
            finally:
                os.close(fd)
    return found


def within_a_second(holds: Callable[[], bool]) -> bool:
    until = time.monotonic() + 1
    while not holds():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


# -- the churn --------------------------------------------------------------------------------------------------------


class Churn:
    def __init__(self, host: Host, seed: int) -> None:
        self.host = host
        self.random = random.Random(seed)
        self.count = 0
        self.killed = 0
        self.problems: list[str] = []
        self.lock = threading.Lock()
        self.temporary = f"{host.top}/tmp"
        host.policy(POLICY, limits={"max_processes": 50} | ({"max_memory": "256MiB"} if host.who == "root" else {}))
        for name in range(FILES):
            host.write(f"out/{name}", "original\n" * LINES)
        host.write("job.ml", ML)
        os.mkdir(self.temporary, 0o1777)
        os.chmod(self.temporary, 0o1777)
        began = time.monotonic()
        assert host.launch("true").status == 0
        self.duration = time.monotonic() - began

    def words(self, kind: str, tag: str) -> list[str]:
        if kind == "staged":
            body = f"i=0; while [ $i -lt {LINES} ]; do echo {tag}; i=$((i+1)); done > out/$f"
            return ["--", "sh", "-c", f"for f in {' '.join(map(str, range(FILES)))}; do {body}; done; echo done"]
        return ["job.ml"] if kind == "ml" else ["--", "true"]

    def start(self) -> tuple[str, str, subprocess.Popen[bytes]]:
        with self.lock:
            self.count += 1
            tag = f"version-{self.count}"
            kind = self.random.choice(("staged", "staged", "true", "ml"))
        options = self.host.drop()
        options["env"] = {**options["env"], "TMPDIR": self.temporary, "MLSANDBOX_DEBUG": "1"}
        process = subprocess.Popen(
            self.host.command("launch", *self.words(kind, tag)), cwd=self.host.workspace, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options,
        )  # fmt: skip
        return kind, tag, process

    def to_its_end(self, _number: int) -> None:
        kind, tag, process = self.start()
        out, err = process.communicate(timeout=300)
        expected = {"staged": b"done\n", "ml": b"ml\n", "true": b""}[kind]
        if process.returncode != 0 or out != expected:
            self.problems.append(f"{kind} {tag}: {process.returncode} {out!r} {err[-3000:].decode()}")

    def killed_on_the_way(self, _number: int) -> None:
        """Kills launchers until one was still there to be killed: half of them about the time of their commit."""
        while True:
            kind, _tag, process = self.start()
            assert process.stdout is not None and process.stderr is not None
            with self.lock:
                late, moment = self.random.random() < 0.5, self.random.random()
            if late and kind == "staged":
                process.stdout.readline()
                time.sleep(moment * 0.02)
            else:
                time.sleep(moment * self.duration * 1.5)
            started = below(process.pid)
            ended = process.poll() is not None
            process.kill()
            if not within_a_second(lambda started=started: not alive(started)):  # type: ignore[misc]
                self.problems.append(f"{kind}: {sorted(alive(started))} are there a second after their launcher")
            for pipe in (process.stdout, process.stderr):
                pipe.close()
            process.wait()
            if not ended:
                with self.lock:
                    self.killed += 1
                return

    def run(self, launches: int, at_once: int, kills: int) -> None:
        with ThreadPoolExecutor(at_once) as pool:
            list(pool.map(self.to_its_end, range(launches - kills)))
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(self.killed_on_the_way, range(kills)))

    # -- afterwards

    def torn_files(self) -> list[str]:
        torn = []
        for name in range(FILES):
            lines = self.host.read(f"out/{name}").splitlines()
            if len(lines) != LINES or len(set(lines)) != 1:
                torn.append(f"{name}: {len(lines)} lines, {sorted(set(lines))[:3]}")
        return torn

    def strays(self) -> list[str]:
        """Everything in state, cache, workspace and TMPDIR that is not meant to stay."""
        host = self.host
        found = [f"{host.workspace}/out/{name}" for name in os.listdir(f"{host.workspace}/out") if not name.isdigit()]
        found += [f"{self.temporary}/{name}" for name in os.listdir(self.temporary)]
        for directory in (f"{host.root}/state", f"{host.root}/cache"):
            found += [f"{directory}/{name}" for name in os.listdir(directory) if not lasting(name)]
        for where, _directories, names in os.walk(f"{host.root}/state/journals"):
            found += [f"{where}/{name}" for name in names]
        return found

    def half_lines(self) -> list[str]:
        with open(f"{self.host.root}/log/audit.jsonl", "rb") as file:
            lines = file.read().split(b"\n")
        found = [] if lines[-1] == b"" else ["the last line has no end"]
        for number, line in enumerate(lines[:-1], 1):
            try:
                json.loads(line)
            except ValueError:
                found.append(f"line {number}: {line[:80]!r}")
        return found


def lasting(name: str) -> bool:
    return name in {"journals", "host-ids", "audit.head", "grants.db", "state.db", "scratch"} or (
        name.startswith(("features-", "program-")) and name.count(".") <= 1
    ) or name.endswith((".marshal", ".bpf"))  # fmt: skip


@pytest.fixture
def subreaper() -> Iterator[None]:
    libc.prctl(SET_CHILD_SUBREAPER, 1)
    yield
    libc.prctl(SET_CHILD_SUBREAPER, 0)
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                return
        except ChildProcessError:
            return


def churned(host: Host, launches: int, at_once: int, kills: int) -> None:
    seed = int(os.environ.get("MLSANDBOX_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"MLSANDBOX_SEED={seed}")
    mounted, descriptors, own = mounts(), os.listdir("/proc/self/fd"), namespaces({os.getpid()})
    churn = Churn(host, seed)
    churn.run(launches, at_once, kills)
    assert churn.problems == [], churn.problems[:5]
    assert (churn.killed, churn.count >= launches) == (kills, True)

    assert within_a_second(lambda: not below(os.getpid())), below(os.getpid())
    assert within_a_second(lambda: not [line for line in mounts() - mounted if host.top in line or " nsfs " in line])
    assert namespaces({pid for pid, _start in below(os.getpid())} | {os.getpid()}) == own

    after: Any = host.launch("sh", "-c", "echo /proc/self/fd/*")
    # 3 is the descriptor that the shell's own expansion reads the directory with
    assert set(after.out.split()) <= {f"/proc/self/fd/{number}" for number in range(4)}, after
    assert churn.torn_files() == []
    assert churn.strays() == []
    assert within_a_second(lambda: not unheld_groups()), unheld_groups()
    assert churn.half_lines() == []
    verified = host.run("audit", "verify")
    assert verified.returncode == 0, verified
    assert len(os.listdir("/proc/self/fd")) <= len(descriptors)
    recovered = sum(line["event"] == "commit.recovered" for line in host.audit())
    print(f"{churn.count} launches, {churn.killed} killed, {recovered} commits recovered")


@pytest.mark.timeout(300)
def test_a_tenth(host: Host, subreaper: None) -> None:
    churned(host, launches=100, at_once=10, kills=20)


@pytest.mark.full
@pytest.mark.timeout(3600)
def test_a_thousand_launches_a_hundred_at_once_two_hundred_killed(host: Host, subreaper: None) -> None:
    churned(host, launches=1000, at_once=100, kills=200)


@pytest.mark.full
@pytest.mark.timeout(3600)
def test_a_thousand_killed_on_the_way(host: Host, subreaper: None) -> None:
    """At random moments of launch, run and commit: each host file is old or new, and nothing is left."""
    churned(host, launches=1000, at_once=4, kills=1000)
