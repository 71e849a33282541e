"""Soak: jobs of four tenants that fail, hit limits and are cancelled, while the service is killed again and again.

    .venv/bin/python tests/bench/bench_soak.py [--jobs 10000] [--kills 10] [--seed N] [--prefix INSTALLED]

Installs the package into a temporary prefix unless one is given, and runs as root. Everything random comes from the seed,
which is printed. Afterwards: every acknowledged job has come to one end; no job was launched more often than its retries
allow, and every launch in the audit log belongs to one job; the audit chain verifies; no process, control group, mount or
descriptor is left; the memory of the service is flat. Exit status 1 where one of these does not hold.
"""

from __future__ import annotations

import argparse
import collections
import glob
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING, Any

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, REPOSITORY)

from launcher.errors import SandboxError  # noqa: E402  after the path
from launcher.service.client import connect  # noqa: E402

if TYPE_CHECKING:
    from launcher.service.client import Client

TENANTS = ("soak-ada", "soak-bela", "soak-cleo", "soak-dora")  # unknown to the host: each gets ids of the range
FINAL = {"ended", "refused", "cancelled", "interrupted", "skipped"}
# What jobs do, with weights: argument vector, limits.
KINDS: tuple[tuple[int, list[str], dict[str, str]], ...] = (
    (50, ["true"], {}),
    (10, ["false"], {}),
    (10, ["sh", "-c", "exit {index}"], {}),
    (8, ["sh", "-c", "echo {index}; echo oops >&2"], {}),
    (6, ["sleep", "0.2"], {}),
    (4, ["sh", "-c", "kill -9 $$"], {}),
    (3, ["sleep", "30"], {"max_wall_time": "1"}),
    (3, ["sh", "-c", "x=xxxxxxxxxxxxxxxx; while :; do x=$x$x; done"], {"max_memory": "32MiB"}),
    (3, ["sh", "-c", "while :; do echo flood; done"], {"max_output": "64KiB", "max_wall_time": "1"}),
    (3, ["nosuchcommand"], {}),
)


class Service:
    """The service of one root directory, killed and started again."""

    def __init__(self, prefix: str, top: str) -> None:
        self.prefix = prefix
        self.top = top
        self.root = f"{top}/root"
        self.process: subprocess.Popen[bytes] | None = None
        self.log = f"{top}/service.log"
        os.makedirs(f"{self.root}/policies")
        policy = {"applies_to": {"users": TENANTS}, "limits": {"max_processes": 64},
                  "capabilities": {"sh": True, "cmd": ["true", "false", "sleep"], "file": [{"patterns": [f"{top}/workspace/*"], "operations": ["read"]}]}}  # fmt: skip
        with open(f"{self.root}/policies/soak.json", "w", encoding="utf-8") as file:
            json.dump({"policy": policy}, file)
        with open(f"{self.root}/config.yaml", "w", encoding="utf-8") as file:
            file.write("queue: {max_jobs: 6, retry_delay: 0}\nid_range: {first: 1879048192, count: 1000}\n")
        os.mkdir(f"{top}/workspace")

    def start(self) -> None:
        with open(self.log, "ab") as log:
            words = [f"{self.prefix}/bin/mlsandbox", "--root", self.root, "service", "run"]
            self.process = subprocess.Popen(words, stdout=log, stderr=log, cwd="/")
        self.client().close()

    def kill(self, number: int = signal.SIGKILL) -> None:
        assert self.process
        self.process.send_signal(number)
        self.process.wait(30)

    def client(self) -> Client:
        until = time.monotonic() + 30
        while True:
            found = connect(f"{self.root}/run/service.sock")
            if found:
                return found
            if time.monotonic() > until:
                raise SystemExit(f"the service does not come up:\n{self.said()}")
            time.sleep(0.02)

    def said(self) -> str:
        with open(self.log, encoding="utf-8") as file:
            return file.read()

    def memory(self) -> int:
        """Resident bytes of the service itself."""
        assert self.process
        with open(f"/proc/{self.process.pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def kernel_objects(prefix: str, top: str, runs: set[str]) -> dict[str, int]:
    """What is left of a service of `prefix` below `top`, and of its launches: other tests come and go meanwhile."""
    groups = [name for where in ("/sys/fs/cgroup", "/sys/fs/cgroup/memory", "/sys/fs/cgroup/pids", "/sys/fs/cgroup/cpu")
              for name in glob.glob(f"{where}/**/mlsandbox-*", recursive=True)]  # fmt: skip
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        mounts = sum(top in line for line in file)
    tenants = range(1_879_048_192, 1_879_049_192)
    running = 0
    for status in glob.glob("/proc/[0-9]*/status"):
        try:
            with open(status, encoding="utf-8") as file:
                uid = int(file.read().split("\nUid:")[1].split()[0])
            with open(status.replace("/status", "/cmdline"), encoding="utf-8", errors="replace") as file:
                words = file.read()
            running += uid in tenants or top in words or ("zygote" in words and prefix in words)
        except (OSError, IndexError):
            continue
    ours = sum(os.path.basename(name).removeprefix("mlsandbox-") in runs for name in groups)
    return {"control groups": ours, "mounts": mounts, "processes": running}


class Soak:
    """One run. `submitted` are the jobs that were acknowledged, by submission."""

    def __init__(self, service: Service, jobs: int, kills: int, chance: random.Random) -> None:
        self.service = service
        self.jobs = jobs
        self.kills = kills
        self.chance = chance
        self.submitted: dict[int, int] = {}
        self.memory: list[tuple[int, int]] = []  # jobs done, resident bytes
        self.runs: set[str] = set()  # the ids of all launches
        self.problems: list[str] = []

    def run(self) -> None:
        at = sorted(self.chance.sample(range(1, self.jobs), self.kills))
        while (done := sum(self.submitted.values())) < self.jobs:
            message = self._message(min(self.chance.choice([1, 1, 5, 20, 50]), self.jobs - done))
            if at and done >= at[0]:
                del at[0]
                self._kill_around(message)
            self._submit(message)
            if self.chance.random() < 0.05 and self.submitted:
                self._cancel(self.chance.choice(list(self.submitted)))
            self._hold_back()
        self._wait()

    def _message(self, jobs: int) -> dict[str, Any]:
        _, command, limits = self.chance.choices(KINDS, [kind[0] for kind in KINDS])[0]
        message = {
            "user": self.chance.choice(TENANTS),
            "key": self.chance.randbytes(16).hex(),
            "retries": self.chance.choice([0, 0, 1, 3]),
            "priority": self.chance.randint(-5, 5),
            "array": [0, jobs - 1, 1],
            "request": {"command": command, "cwd": f"{self.service.top}/workspace", "limits": limits},
        }
        if self.submitted and self.chance.random() < 0.1:
            message["needs"] = [{"job": str(self.chance.choice(list(self.submitted))), "any_end": True}]
        return message

    def _submit(self, message: dict[str, Any]) -> None:
        answer = self._ask("submit", message)
        self.submitted[answer["submission"]] = answer["jobs"]

    def _ask(self, verb: str, message: dict[str, Any]) -> dict[str, Any]:
        """An answer, also over restarts: asked again with the same key."""
        while True:
            client = self.service.client()
            try:
                return client.call(verb, message)
            except SandboxError as error:
                if "went away" not in error.message and "broke" not in error.message:
                    raise
            finally:
                client.close()

    def _kill_around(self, message: dict[str, Any]) -> None:
        """The submission is under way, at some point of it, when the service dies; it will be asked for again."""
        client = self.service.client()
        client.begin("submit", message)
        time.sleep(self.chance.choice([0, 0.001, 0.01, 0.1]))
        self.service.kill()
        client.close()
        self.service.start()

    def _cancel(self, number: int) -> None:
        self._ask("cancel", {"jobs": [str(number)]})

    def _hold_back(self) -> None:
        """Some are queued at any time, not all of them: kills shall meet jobs of every state."""
        while True:
            left = self._left()
            self.memory.append((sum(self.submitted.values()) - left, self.service.memory()))
            if left < 200:
                return
            time.sleep(0.1)

    def _left(self) -> int:
        client = self.service.client()
        try:
            names = [str(number) for number in self.submitted]
            return int(next(client.stream("wait", {"jobs": names, "progress": True}))["left"])
        finally:
            client.close()

    def _wait(self) -> None:
        while self._left():
            time.sleep(0.2)

    # -- what must hold -----------------------------------------------------------------------------------------------

    def listed(self) -> list[dict[str, Any]]:
        client, found, after = self.service.client(), [], None
        while True:
            answer = client.call("jobs", {"all": True, **({"after": after} if after else {})})
            found += answer["jobs"]
            after = answer["next"]
            if after is None:
                client.close()
                return found

    def check(self) -> collections.Counter[str]:
        """What became of the jobs; what is wrong is in `problems`."""
        jobs = self.listed()
        names = collections.Counter(job["job"] for job in jobs)
        self._expect(max(names.values(), default=1) == 1, "a job is listed twice")
        per = collections.Counter(job["submission"] for job in jobs)
        self._expect(dict(per) == self.submitted, f"{len(jobs)} jobs for {sum(self.submitted.values())} acknowledged")
        self._expect({job["state"] for job in jobs} <= FINAL, "a job has come to no end")
        for job in jobs:
            self._expect(job["attempts"] <= 1 + job["retries"], f"{job['job']} was started {job['attempts']} times")
        self._check_audit(jobs)
        return collections.Counter(job["state"] for job in jobs)

    def _check_audit(self, jobs: list[dict[str, Any]]) -> None:
        launched: collections.Counter[str] = collections.Counter()
        ended: dict[str, int] = {}
        words = [f"{self.service.prefix}/bin/mlsandbox", "--root", self.service.root, "audit"]
        with subprocess.Popen([*words, "show", "--json"], stdout=subprocess.PIPE) as process:
            assert process.stdout
            for line in process.stdout:
                event = json.loads(line)
                if event["event"] == "launch" and event["outcome"] == "ALLOWED":
                    launched[event["job"]] += 1
                elif event["event"] == "job.ended":
                    ended[event["job"]] = event["detail"]["exit_code"]
        self.runs = set(launched)
        owner = {run: job for job in jobs for run in job["runs"]}
        self._expect(max(launched.values(), default=1) == 1, "a run was launched twice")
        self._expect(set(launched) <= set(owner), "a launch belongs to no job")
        per = collections.Counter(owner[run]["job"] for run in launched if run in owner)
        retries = {job["job"]: job["retries"] for job in jobs}
        self._expect(all(per[name] <= 1 + retries[name] for name in per), "a job was launched too often")
        for job in jobs:
            if job["state"] == "ended":
                told = ended.get(job["runs"][-1])
                self._expect(
                    told == job["exit_code"], f"{job['job']}: the queue says {job['exit_code']}, the audit {told}"
                )
        verified = subprocess.run([*words, "verify"], capture_output=True, text=True, check=False)
        self._expect(verified.returncode == 0, f"the audit chain: {verified.stdout[-500:]}")

    def check_leaks(self) -> None:
        until = time.monotonic() + 10
        while (
            any(kernel_objects(self.service.prefix, self.service.top, self.runs).values()) and time.monotonic() < until
        ):
            time.sleep(0.3)
        left = kernel_objects(self.service.prefix, self.service.top, self.runs)
        self._expect(not any(left.values()), f"left behind: {left}")

    def check_memory(self) -> tuple[int, int]:
        """Resident bytes over the first and the last fifth of the run (medians of what the incarnations had)."""
        samples = [size for _done, size in self.memory]
        fifth = max(1, len(samples) // 5)
        early, late = sorted(samples[:fifth])[fifth // 2], sorted(samples[-fifth:])[fifth // 2]
        self._expect(late < early * 1.3 + (4 << 20), f"memory grew from {early >> 20} MiB to {late >> 20} MiB")
        return early, late

    def _expect(self, held: bool, problem: str) -> None:
        if not held:
            self.problems.append(problem)


def soak(prefix: str, jobs: int, kills: int, seed: int) -> list[str]:
    """Runs it and prints what it saw; the problems."""
    top = tempfile.mkdtemp(prefix="mlsandbox-soak-", dir="/srv")
    os.chmod(top, 0o755)
    service = Service(prefix, top)
    run = Soak(service, jobs, kills, random.Random(seed))
    print(f"seed {seed}: {jobs} jobs, {kills} times kill -9", flush=True)
    began = time.monotonic()
    try:
        service.start()
        run.run()
        took = time.monotonic() - began
        counts = run.check()
        early, late = run.check_memory()
        service.kill(signal.SIGTERM)
        run.check_leaks()
        print(f"{took:.0f} s, {jobs / took:.1f} jobs a second; {dict(counts)}; {early >> 20} to {late >> 20} MiB")
        if "internal error" in service.said():
            run.problems.append(service.said()[-3000:])
    finally:
        if service.process and service.process.poll() is None:
            service.kill()
        if not run.problems:
            shutil.rmtree(top, ignore_errors=True)
    for problem in run.problems[:20]:
        print(f"PROBLEM: {problem}")
    if run.problems:
        print(f"kept: {top}")
    return run.problems


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "little"))
    parser.add_argument("--prefix")
    arguments = parser.parse_args()
    prefix = arguments.prefix
    if not prefix:
        prefix = tempfile.mkdtemp(prefix="mlsandbox-install-")
        os.chmod(prefix, 0o755)
        subprocess.run([f"{REPOSITORY}/script/install", "--no-link", prefix], check=True, capture_output=True)
    try:
        return 1 if soak(prefix, arguments.jobs, arguments.kills, arguments.seed) else 0
    finally:
        if not arguments.prefix:
            shutil.rmtree(prefix, ignore_errors=True)


if __name__ == "__main__":
    raise SystemExit(main())
