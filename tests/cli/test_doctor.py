"""`doctor` as a person and a program read it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from launcher.cli.doctor import clean_text, report_data, report_lines
from launcher.enforce.doctor import DEGRADED, MISSING, OK, ROWS, diagnose
from launcher.kernel.probe import Report
from launcher.service.leftovers import CGROUP, COMMIT, Leftover
from tests.compile.hosts import DEBIAN_ROOT, DEBIAN_USER

if TYPE_CHECKING:
    from pathlib import Path

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
START = f"import sys; sys.path.insert(0, {ROOT!r}); from launcher.cli.main import main; sys.exit(main(sys.argv[1:]))"
WORKED = dict.fromkeys(
    [
        "user_namespace",
        "id_map",
        "mount_namespace",
        "pid_namespace",
        "net_namespace",
        "ipc_namespace",
        "uts_namespace",
        "cgroup_namespace",
        "tmpfs",
        "overlay",
        "proc",
        "no_new_privs",
        "seccomp",
        "landlock",
        "idmapped_mounts",
    ],
    "",
)
FACTS: dict[str, Any] = {
    "kernel": "6.12.1", "machine": "x86_64", "lsm": "capability,landlock,apparmor", "subuids": 65536, "subgids": 65536,
    "newuidmap": True, "audit": "on", "docker": "/run/docker.sock",
}  # fmt: skip
HEALTHY = DEBIAN_ROOT.replaced(landlock=7, tmpfs_xattr=True, seccomp_notify=True)


def shown(report: Report) -> list[str]:
    return report_lines(report, diagnose(report))


def test_a_healthy_host_is_one_line_each() -> None:
    lines = shown(Report(HEALTHY, WORKED, FACTS))
    assert lines[:4] == [
        "Linux 6.12.1 x86_64, as root",
        "security modules: capability,landlock,apparmor",
        "ok        user namespaces                                works",
        "ok        mount, pid, network, ipc and uts namespaces    works",
    ]
    assert lines[-1] == "ok: everything that policies can ask for is enforced on this host"
    assert len(lines) == len(ROWS) + 3


def test_a_gap_says_what_is_lost_and_how_to_get_it() -> None:
    report = Report(HEALTHY, {**WORKED, "overlay": "No such device (ENODEV)"}, FACTS)
    lines = shown(report)
    at = next(number for number, line in enumerate(lines) if line.startswith("degraded"))
    assert lines[at : at + 3] == [
        "degraded  overlayfs in a user namespace                  overlay: No such device (ENODEV)",
        "          lost: writes cannot be staged: policies that grant writing are refused unless they are `live`",
        "          get it: modprobe overlay (Linux 5.11 or later)",
    ]
    assert lines[-1].startswith("degraded: jobs can run")


def test_uncovered_attacks_are_numbered() -> None:
    report = Report(HEALTHY.replaced(landlock=0), {**WORKED, "landlock": "Function not implemented (ENOSYS)"}, FACTS)
    assert "          not covered meanwhile: attacks 16, 17, 74" in shown(report)


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        (Report(HEALTHY, WORKED, FACTS), OK),
        (Report(HEALTHY, {**WORKED, "seccomp": "Invalid argument (EINVAL)"}, FACTS), DEGRADED),
        (Report(DEBIAN_USER, {"user_namespace": "Operation not permitted (EPERM)"}, FACTS), MISSING),
    ],
)
def test_json_has_the_verdict_every_row_and_the_probe(report: Report, expected: str) -> None:
    data = json.loads(json.dumps(report_data(report, diagnose(report))))
    assert data["verdict"] == expected
    assert [row["name"] for row in data["found"]] == [row.name for row in ROWS]
    assert data["report"]["trials"] == report.trials


def test_a_container_and_a_user_are_named() -> None:
    assert shown(Report(HEALTHY.replaced(container="docker"), WORKED, FACTS))[0].endswith("in a container (docker)")
    assert shown(Report(DEBIAN_USER, WORKED, FACTS))[0].endswith(f"as uid {DEBIAN_USER.uid}")


def test_what_was_cleaned_is_a_table() -> None:
    found = [Leftover(CGROUP, "/sys/fs/cgroup/pids/mlsandbox-1", "removed"), Leftover(COMMIT, "ab12", "stuck: gone\n")]
    assert clean_text(found).splitlines() == [
        "what           name                             outcome",
        "control group  /sys/fs/cgroup/pids/mlsandbox-1  removed",
        "commit         ab12                             stuck: gone\\n",
    ]
    assert clean_text([]) == "nothing was left behind"
    assert [one.stuck for one in found] == [False, True]


def doctor(tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", "-c", START, "doctor", *words],
        capture_output=True, text=True, timeout=60, check=False,
        env={"PATH": "/usr/bin:/bin", "MLSANDBOX_ROOT": str(tmp_path), "HOME": str(tmp_path)},
    )  # fmt: skip


@pytest.mark.kernel
def test_this_host_for_real(tmp_path: Path) -> None:
    person, program = doctor(tmp_path), doctor(tmp_path, "--json")
    data = json.loads(program.stdout)
    assert (person.stderr, program.stderr) == ("", "")
    assert person.returncode == program.returncode == (1 if data["verdict"] == MISSING else 0)
    assert person.stdout.splitlines()[-1].startswith(data["verdict"])
    assert {row["title"] for row in data["found"]} <= {
        row.title for row in ROWS if any(row.title in line for line in person.stdout.splitlines())
    }


def test_clean_of_a_fresh_host_finds_nothing(tmp_path: Path) -> None:
    made = json.loads(doctor(tmp_path, "--clean", "--json").stdout)
    assert [row for row in made["found"] if row["kind"] != CGROUP] == []  # groups are the whole host's
    again = doctor(tmp_path, "--clean")
    assert again.returncode == 0
