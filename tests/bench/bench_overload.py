"""What a tenant that floods the service costs another's launches.

    .venv/bin/python tests/bench/bench_overload.py [--rounds 8] [--launches 25] [--prefix INSTALLED]

As root. alice launches `/bin/true` through the service, one after the other, while mallory floods: the socket (pings and
junk on 50 connections, messages without waiting for answers), the queue (arrays of 1,000 jobs submitted and cancelled),
listings (pages of them), the audit log (jobs that are refused), the log (jobs whose output never ends). Rounds are
interleaved: idle, then each flood. `spin` is the control: a process of mallory's that burns one processor and says nothing,
which is what any flood does beside what it does to the service. Medians of alice's launches in milliseconds; exit status 1
where a flood is more than 1.2 times the control.
"""

from __future__ import annotations

import argparse
import json
import os
import pwd
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ALICE, MALLORY = "mlsandbox-tes2", "mlsandbox-test"
BAR = 1.2
HEAD = """
import os, sys, time, socket
path, cwd = sys.argv[1:3]
from launcher.service.client import connect
from launcher.errors import SandboxError
def request(*command, **limits):
    return {"command": list(command), "cwd": cwd, "limits": limits}
def calling(verb, message):
    client = connect(path)
    try:
        return client.call(verb, message)
    except SandboxError:
        time.sleep(0.001)
        return {}
    finally:
        client.close()
"""
LAUNCHES = """
from launcher.service.remote import Remote
from launcher.service.request import Request
null = os.open("/dev/null", os.O_RDWR)
os.chdir(cwd)
client = connect(path)
for line in sys.stdin:
    took = []
    for _ in range(int(line)):
        began = time.perf_counter()
        wanted = Request()
        wanted.command, wanted.stdio = ["true"], (null, null, null)
        result = Remote(client, wanted).wait()
        took.append((time.perf_counter() - began) * 1e3)
        assert result["exit_code"] == 0, result
    print(*took, flush=True)
"""
FLOODS = {
    "idle": "time.sleep(1000)",
    "spin": "while True: pass",
    "socket": """
ends = []
for _ in range(50):
    end = socket.socket(socket.AF_UNIX); end.connect(path); end.setblocking(False); ends.append(end)
body = b'{"call":%d,"verb":"nosuch"}'
number = 0
while True:
    for at, end in enumerate(ends):
        number += 1
        said = body % number
        try:
            end.recv(1 << 16)
        except OSError:
            pass
        try:
            junk = at == 0 and number % 1000 == 0
            end.send(b"junk" * 100 if junk else b"mls1" + len(said).to_bytes(4, "little") + bytes(4) + said)
        except BlockingIOError:
            continue
        except OSError:
            end.close()
            ends[at] = end = socket.socket(socket.AF_UNIX)
            try:
                end.connect(path)
            except OSError:
                pass
            end.setblocking(False)
""",
    "queue": """
while True:
    made = calling("submit", {"array": [1, 1000, 1], "request": request("true"), "needs": []})
    calling("cancel", {"all": True})
""",
    "listings": """
calling("submit", {"array": [1, 300, 1], "request": request("nosuchcommand")})
while True:
    calling("jobs", {})
""",
    "audit": """
while True:
    made = calling("submit", {"array": [1, 100, 1], "request": request("nosuchcommand")})
    if made:
        calling("wait", {"jobs": [str(made["submission"])]})
""",
    "log": """
while True:
    calling("submit", {"request": request("sh", "-c", "while :; do echo flood; done", max_wall_time="2", cpus="1")})
    time.sleep(1)
""",
}


class Site:
    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.top = tempfile.mkdtemp(prefix="mlsandbox-overload-", dir="/srv")
        os.chmod(self.top, 0o755)
        self.root = f"{self.top}/root"
        os.makedirs(f"{self.root}/policies")
        capabilities = {"sh": True, "cmd": ["true", "sleep"]}
        with open(f"{self.root}/policies/p.json", "w", encoding="utf-8") as file:
            json.dump({"policy": {"applies_to": {"users": [ALICE, MALLORY]}, "capabilities": capabilities}}, file)
        with open(f"{self.root}/config.yaml", "w", encoding="utf-8") as file:
            file.write("queue: {max_jobs: 1}\n")
        self.path = f"{self.root}/run/service.sock"
        with open(f"{self.top}/service.log", "wb") as log:
            words = [f"{prefix}/bin/mlsandbox", "--root", self.root, "service", "run"]
            self.service = subprocess.Popen(words, stdout=log, stderr=log)
        while not os.path.exists(self.path):
            time.sleep(0.05)
        self.children: list[subprocess.Popen[str]] = []

    def run(self, user: str, code: str) -> subprocess.Popen[str]:
        account = pwd.getpwnam(user)
        directory = f"{self.top}/{user}"
        os.makedirs(directory, exist_ok=True)
        os.chown(directory, account.pw_uid, account.pw_gid)
        made = subprocess.Popen(
            [f"{self.prefix}/bin/python3", "-c", HEAD + code, self.path, directory],
            user=account.pw_uid, group=account.pw_gid, extra_groups=[], cwd=directory, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"PATH": "/usr/bin", "HOME": account.pw_dir},
        )  # fmt: skip
        self.children.append(made)
        return made

    def close(self) -> None:
        for child in self.children:
            child.kill()
            child.wait()
        self.service.send_signal(signal.SIGTERM)
        self.service.wait(20)
        shutil.rmtree(self.top, ignore_errors=True)


def measured(prefix: str, rounds: int, launches: int) -> dict[str, list[float]]:
    """Milliseconds of each of alice's launches, by flood."""
    site = Site(prefix)
    took: dict[str, list[float]] = {name: [] for name in FLOODS}
    try:
        alice = site.run(ALICE, LAUNCHES)
        floods = {name: site.run(MALLORY, code) for name, code in FLOODS.items()}
        for flood in floods.values():
            flood.send_signal(signal.SIGSTOP)
        ask(alice, launches)
        for _ in range(rounds):
            for name, flood in floods.items():
                flood.send_signal(signal.SIGCONT)
                time.sleep(0.3)
                took[name] += ask(alice, launches)
                flood.send_signal(signal.SIGSTOP)
                time.sleep(0.3)
    finally:
        site.close()
    return took


def ask(alice: subprocess.Popen[str], launches: int) -> list[float]:
    assert alice.stdin
    assert alice.stdout
    alice.stdin.write(f"{launches}\n")
    alice.stdin.flush()
    return [float(word) for word in alice.stdout.readline().split()]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--launches", type=int, default=25)
    parser.add_argument("--prefix")
    arguments = parser.parse_args()
    prefix = arguments.prefix
    if not prefix:
        prefix = tempfile.mkdtemp(prefix="mlsandbox-install-")
        os.chmod(prefix, 0o755)
        subprocess.run([f"{REPOSITORY}/script/install", "--no-link", prefix], check=True, capture_output=True)
    load = os.getloadavg()[0]
    took = measured(prefix, arguments.rounds, arguments.launches)
    control = statistics.median(took["spin"])
    print(f"load before {load:.1f}; alice's launches, median milliseconds; times the control")
    missed = 0
    for name, values in took.items():
        median = statistics.median(values)
        late = sorted(values)[int(len(values) * 0.9)]
        ratio = median / control
        missed += ratio > BAR
        print(f"{name:9} {median:7.2f}  p90 {late:7.2f}  x {ratio:.2f}")
    if not arguments.prefix:
        shutil.rmtree(prefix, ignore_errors=True)
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
