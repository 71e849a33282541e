"""What runs now, as tenants and operators are shown it; and that nobody is shown another's."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.serving import Bed

if TYPE_CHECKING:
    import pwd
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the service is root's")
GRANTS = {
    "cmd": ["sleep"],
    "sh": True,
    "file": [{"patterns": ["@base/*.txt"], "operations": ["read", "write"]}],
}
# half a second of a processor, 20 MB, then idle
BUSY = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; x=$(head -c 20000000 /dev/zero | tr '\\0' x); sleep 60"


@pytest.fixture(scope="module")
def bed(installation: str) -> Iterator[Bed]:
    made = Bed(installation)
    made.policy(GRANTS, limits={"max_memory": "512MiB", "max_processes": 20, "max_cpu_time": "1h"})
    made.start()
    yield made
    print(made.log())
    made.remove()


@pytest.fixture
def job(bed: Bed) -> Iterator[subprocess.Popen[bytes]]:
    """One job of alice's that idles."""
    process = subprocess.Popen(bed.command("launch", "--", "sh", "-c", "sleep 60"), stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, **bed.drop(bed.alice))  # fmt: skip
    yield process
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)


def until(condition: Callable[[], Any], seconds: float = 20) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def listed(bed: Bed, user: pwd.struct_passwd, *options: str) -> list[dict[str, Any]]:
    done = bed.run(user, "ps", "--json", *options)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def as_root(bed: Bed, *words: str) -> str:
    done = subprocess.run(bed.command(*words), capture_output=True, check=True, cwd="/", timeout=60)
    return done.stdout.decode()


def test_a_tenant_sees_his_own_jobs_and_nobody_elses(bed: Bed, job: subprocess.Popen[bytes]) -> None:
    (mine,) = until(lambda: listed(bed, bed.alice))
    assert (mine["user"], mine["command"]) == (bed.alice.pw_name, "sh -c sleep 60")
    assert listed(bed, bed.bob) == []
    refused = bed.run(bed.bob, "ps", "--all")
    assert refused.returncode == 126
    assert b"operators" in refused.stderr


def test_an_operator_sees_everybodys(bed: Bed, job: subprocess.Popen[bytes]) -> None:
    until(lambda: listed(bed, bed.alice))
    text = as_root(bed, "ps", "--all")
    assert re.search(rf"^JOB +USER +AGE +CPU +MEMORY +PROCS +COMMAND\n\S+ +{bed.alice.pw_name} ", text), text
    assert as_root(bed, "ps") == "no jobs\n"


def test_what_a_job_uses(bed: Bed, job: subprocess.Popen[bytes]) -> None:
    (row,) = until(lambda: [row for row in listed(bed, bed.alice) if (row["processes"] or 0) >= 2])
    assert 2 <= row["processes"] <= 4  # pid 1, sh, sleep
    assert 100_000 < row["memory"] < 512 << 20
    assert row["cpu_us"] > 0


def test_what_ended_is_gone(bed: Bed) -> None:
    assert bed.run(bed.alice, "launch", "--", "sh", "-c", "true").returncode == 0
    assert listed(bed, bed.alice) == []


def test_top_shows_denials_to_whom_they_concern(bed: Bed) -> None:
    assert bed.run(bed.alice, "launch", "--", "sh", "-c", "echo x > other.csv").returncode == 0
    mine = bed.run(bed.alice, "top", "--count", "1").stdout.decode()
    assert "DENIED file.write" in mine, mine
    assert "DENIED" not in bed.run(bed.bob, "top", "--count", "1").stdout.decode()
    assert "DENIED file.write" in as_root(bed, "top", "--all", "--count", "1")


def test_top_reckons_shares_between_looks(bed: Bed) -> None:
    process = subprocess.Popen(bed.command("launch", "--", "sh", "-c", "while :; do :; done"), stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, **bed.drop(bed.alice))  # fmt: skip
    try:
        until(lambda: [row for row in listed(bed, bed.alice) if row["cpu_us"]])
        text = as_root(bed, "top", "--all", "--count", "2", "--delay", "1")
        assert re.search(r" \d+% .* sh -c while", text.split("jobs of")[-1]), text
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)


@pytest.mark.parametrize(
    "words", [("--delay", "x"), ("--delay", "0"), ("--delay", "nan"), ("--count", "0"), ("--count", "²")]
)
def test_numbers_that_are_none(bed: Bed, words: tuple[str, str]) -> None:
    done = bed.run(bed.alice, "top", *words)
    assert done.returncode == 2
    assert words[0].encode() in done.stderr


def test_metrics_are_for_operators(bed: Bed) -> None:
    assert bed.run(bed.alice, "launch", "--", "sh", "-c", "echo x > other.csv; exit 3").returncode == 3
    assert bed.run(bed.alice, "service", "metrics").returncode == 126
    text = as_root(bed, "service", "metrics")
    values = dict(re.findall(r"^(mlsandbox_\w+(?:\{[^}]*\})?) ([0-9.e+]+)$", text, re.MULTILINE))
    assert float(values['mlsandbox_launches_total{ended_by="job"}']) >= 1
    assert float(values["mlsandbox_start_seconds_count"]) >= 1
    assert float(values["mlsandbox_validation_seconds_count"]) >= 1
    assert float(values['mlsandbox_denials_total{capability="file",operation="write"}']) >= 1
    assert float(values["mlsandbox_jobs"]) >= 0


def test_metrics_count_the_queue(bed: Bed) -> None:
    assert bed.run(bed.alice, "submit", "--", "sh", "-c", "true").returncode == 0
    until(lambda: 'mlsandbox_queue_jobs{state="ended"} 1.0' in as_root(bed, "service", "metrics"))


def test_without_a_service_it_says_so(bed: Bed, tmp_path_factory: pytest.TempPathFactory) -> None:
    done = subprocess.run([f"{bed.prefix}/bin/mlsandbox", "--root", str(tmp_path_factory.mktemp("none")), "ps"],
                          capture_output=True, text=True, check=False, timeout=30)  # fmt: skip
    assert done.returncode == 125
    assert "no service is running" in done.stderr
