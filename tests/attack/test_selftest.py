"""`mlsandbox selftest`: what users can try on their own hosts; with a mechanism taken out it says so."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from launcher.enforce.selftest.score import GROUPS, STANDING, groups, not_covered, read
from tests.attack.report import HERE
from tests.attack.weak import WeakHost

if TYPE_CHECKING:
    from tests.sandboxed import Host


def told(host: Host) -> tuple[int, dict[str, Any]]:
    ran = host.run("selftest", "--json", timeout=100)
    assert ran.returncode in {0, 1}, ran
    return ran.returncode, json.loads(ran.stdout)


def test_everything_is_stopped(attacked: Host) -> None:
    status, data = told(attacked)
    assert (status, data["problems"]) == (0, []), data
    assert [row for row in data["attempts"] if not row["held"]] == []
    assert len(data["attempts"]) > 50
    assert {row["group"] for row in data["groups"] if row["of"]} == {letter for letter, *_ in GROUPS}


def test_nothing_is_left_behind(attacked: Host) -> None:
    before = set(os.listdir("/var/tmp"))
    told(attacked)
    assert {name for name in set(os.listdir("/var/tmp")) - before if "selftest" in name} == set()


def test_for_people(attacked: Host) -> None:
    ran = attacked.run("selftest", timeout=100)
    assert ran.returncode == 0, ran
    out = ran.stdout.decode()
    assert "attempts were stopped" in out and "not covered here:" in out and "NOT STOPPED" not in out


@pytest.mark.parametrize(
    ("without", "attacks"),
    [
        ("seccomp", {16, 34, 50, 51, 57, 73, 92}),
        ("network_namespace", {63}),
        ("masks", {43}),
        ("limits", {80, 83}),
        ("clean_environment", {93}),
        ("landlock,noexec", {17}),
    ],
)
def test_what_is_not_stopped_is_said(attacked: Host, without: str, attacks: set[int]) -> None:
    shutil.copyfile(f"{HERE}/weakened.py", f"{attacked.top}/weakened.py")
    os.chmod(f"{attacked.top}/weakened.py", 0o644)
    status, data = told(WeakHost(attacked, without))
    assert status == 1
    broken = {row["attack"] for row in data["attempts"] if not row["held"]}
    assert attacks <= broken, data


def test_lines_that_a_job_makes_up_are_left_out() -> None:
    made = read("1\tread\tNo such file\nnonsense\n\t\t\nx\ty\tz\n2\twrite\t\n49\tx32\t-\n")
    assert [(attempt.attack, attempt.held) for attempt in made] == [(1, True), (2, False)]
    assert (groups(made)[0]["held"], groups(made)[0]["of"]) == (1, 2)


def test_what_the_host_cannot_enforce_comes_first() -> None:
    rows = not_covered([{"permission": "limits.max_memory", "reason": "no control group", "attacks": [81]}])
    assert rows[0] == {"attacks": [81], "reason": "limits.max_memory: no control group"}
    assert len(rows) == 1 + len(STANDING)
