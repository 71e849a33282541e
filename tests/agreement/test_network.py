"""Agreement of hosts: real launches whose egress proxy dials another host, and connections made by name inside.

The verdict of the kernel and the proxy is whether the very address of the name was reached. See test_agreement.py.
"""

from __future__ import annotations

import json
import os
import random
import sys
from collections import Counter
from typing import Any

import pytest

from launcher.capability import Permissions
from tests.agreement.test_agreement import OTHER, SEED
from tests.agreement.wire import HTTP_PORTS, LABELS, NAMES, NETWORK, TCP_PORTS, ZONES
from tests.attack.weak import WeakHost
from tests.sandboxed import Host

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason="the cable between two network namespaces is laid by root"),
]
HERE = os.path.dirname(os.path.abspath(__file__))
POLICIES, OPERATIONS, EACH = 4, 60, 200
FULL = 20
METHODS, PATHS = ("GET", "POST", "PUT"), ("/", "/v1/", "/v1/a", "/v2/a", "/v1")
Attempt = tuple[int, str, str, int, str, str]


class Wired(Host):
    """A host whose launcher runs at the end of the cable."""

    def __init__(self, host: Host) -> None:
        self.__dict__.update(host.__dict__)
        self.below = host

    def command(self, *words: str) -> list[str]:
        command = self.below.command(*words)
        return [sys.executable, f"{HERE}/wire.py", str(self.uid), str(self.gid), *command]

    def drop(self) -> dict[str, Any]:
        """The ids are dropped at the cable's end."""
        return {"env": self.below.drop()["env"]}


def network_rule(choose: random.Random) -> dict[str, Any]:
    name = choose.choice(NAMES)
    _label, _, zone = name.partition(".")
    host = choose.choice((name, name, f"*.{zone}" if zone in ZONES else name, f"*.{name}" if name in ZONES else name))
    if choose.random() < 0.5:
        return {"hosts": [host], "operations": ["tcp"], "ports": choose.sample(TCP_PORTS, choose.choice((1, 2)))}
    rule: dict[str, Any] = {"hosts": [host], "operations": ["http"]}
    if choose.random() < 0.6:
        rule["ports"] = choose.sample(HTTP_PORTS, choose.choice((1, 2)))
    if choose.random() < 0.5:
        rule["methods"] = choose.sample(METHODS, choose.choice((1, 2)))
    if choose.random() < 0.3:
        rule["hosts"] = [host + choose.choice(("/v1/*", "/v1/a"))]
    return rule


def attempts(choose: random.Random, rules: list[dict[str, Any]]) -> list[Attempt]:
    made: list[Attempt] = []
    for number in range(OPERATIONS):
        rule = choose.choice(rules)
        kind = rule["operations"][0]
        host = rule["hosts"][0].partition("/")[0].replace("*.", choose.choice(("", "api.", "a.")))
        port = choose.choice(rule.get("ports", HTTP_PORTS if kind == "http" else TCP_PORTS))
        method = choose.choice(rule.get("methods", METHODS))
        if choose.random() < 0.5:  # beside it: one label, one letter, one port, one method
            near = choose.choice(("label", "zone", "port", "method"))
            label, _, zone = host.rpartition(".")[0].rpartition(".")[0], "", ".".join(host.split(".")[-2:])
            host = f"{choose.choice(LABELS)}.{zone}" if near == "label" else host
            host = ".".join(part for part in (label, choose.choice(ZONES)) if part) if near == "zone" else host
            port = choose.choice(HTTP_PORTS if kind == "http" else TCP_PORTS) if near == "port" else port
            method = choose.choice(METHODS) if near == "method" else method
        if host in NAMES:
            made.append((number, kind, host, port, method, choose.choice(PATHS)))
    return made


def allowed(permissions: Permissions, attempt: Attempt) -> bool:
    _number, kind, host, port, method, path = attempt
    context: dict[str, Any] = (
        {"port": port, "connect": True} if kind == "tcp" else {"port": port, "method": method, "path": path}
    )
    return bool(permissions.decide("network", kind, host, **context))


def trial(host: Wired, seed: int) -> tuple[list[str], Counter[bool]]:
    """(differences, how many were allowed and denied)."""
    choose = random.Random(seed)
    rules = [network_rule(choose) for _ in range(choose.choice((2, 3)))]
    denies = [{"hosts": [choose.choice(NAMES)], "operations": ["tcp", "http"]}] if choose.random() < 0.4 else []
    host.policy({"py": True, "network": rules}, deny={"network": denies} if denies else {})
    shown = host.below.run("explain", "--json", "--", "python3")
    assert shown.returncode == 0, (seed, rules, denies, shown.stderr)
    permissions = Permissions.from_data(json.loads(shown.stdout)["profile"]["permissions"])
    made = attempts(choose, rules)
    with open(f"{HERE}/network_probe.py", encoding="utf-8") as file:
        ran = host.python(file.read(), input=json.dumps(made).encode(), timeout=100)
    assert ran.status == 0, (seed, rules, denies, ran)
    told = dict(line.split(" ", 1) for line in ran.out.splitlines())
    differences = []
    counts: Counter[bool] = Counter()
    for attempt in made:
        verdict = allowed(permissions, attempt)
        counts[verdict] += 1
        wanted = f"{NETWORK}.{140 + NAMES.index(attempt[2])}:{attempt[3]}"
        if (told[str(attempt[0])] == wanted) != verdict:
            differences.append(
                f"[seed {seed}] {'broken job' if verdict else 'hole'}: {attempt}: {told[str(attempt[0])]}; {rules} {denies}"
            )
    return differences, counts


def trials(host: Host, policies: int) -> Counter[bool]:
    print(f"MLSANDBOX_SEED={SEED}")
    wired, sums = Wired(host), Counter[bool]()
    first = SEED if host.who == "root" else SEED + OTHER
    for seed in range(first, first + policies):
        differences, counts = trial(wired, seed)
        assert differences == [], differences[:5]
        sums.update(counts)
    print(f"{host.who}: {policies} policies, network: allowed {sums[True]}, denied {sums[False]}")
    return sums


@pytest.mark.timeout(600)
def test_the_process_and_the_proxy_agree(host: Host) -> None:
    trials(host, POLICIES)


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_the_process_and_the_proxy_agree_in_the_full_form(host: Host) -> None:
    sums = trials(host, FULL)
    assert min(sums[True], sums[False]) >= EACH, sums


@pytest.mark.full_as("root")
def test_without_the_judge_of_egress_they_differ(host: Host) -> None:
    wired = Wired(WeakHost(host, "egress_judge"))
    differences, _counts = trial(wired, 1)
    assert any("hole" in line for line in differences), differences
