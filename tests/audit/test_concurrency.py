"""Many writers at once, and writers that are killed: real processes on a real file."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from launcher.audit.reader import Filters, read
from launcher.audit.rotate import rotate
from launcher.audit.verify import verify

if TYPE_CHECKING:
    from launcher.audit.files import AuditFiles

WRITER = os.path.join(os.path.dirname(__file__), "writer.py")
ROTATOR = os.path.join(os.path.dirname(__file__), "rotator.py")


def writer(files: AuditFiles, count: int, name: str, sync: str = "") -> subprocess.Popen[bytes]:
    words = [sys.executable, "-I", "-S", WRITER, files.log, files.head, str(count), name, sync]
    return subprocess.Popen([word for word in words if word], stdout=subprocess.PIPE)


def finish(process: subprocess.Popen[bytes]) -> int:
    """How many appends the writer reported."""
    output, _ = process.communicate(timeout=60)
    return output.count(b"\n")


def seeded() -> random.Random:
    """Printed, so that a failure can be had again: MLSANDBOX_TEST_SEED."""
    seed = int(os.environ.get("MLSANDBOX_TEST_SEED", "0")) or random.randrange(1, 2**32)
    print(f"seed {seed}")
    return random.Random(seed)


def test_a_hundred_launches_at_once(files: AuditFiles) -> None:
    writers = [writer(files, 1, f"user{number}", "sync") for number in range(100)]
    assert [finish(process) for process in writers] == [1] * 100
    assert [process.returncode for process in writers] == [0] * 100
    result = verify(files)
    assert (result.problems, result.notes, result.events) == ([], [], 100)
    assert {str(item["user"]) for item in read(files)} == {f"user{number}" for number in range(100)}


@pytest.mark.parametrize("rounds", [8, pytest.param(100, marks=pytest.mark.full)])
def test_writers_killed_at_random_moments(files: AuditFiles, rounds: int) -> None:
    """What a writer was told is written is there, whatever happened to it and to the others."""
    choice = seeded()
    reported: dict[str, int] = {}
    for generation in range(rounds):
        writers = {f"g{generation}w{number}": None for number in range(4)}
        running = {name: writer(files, 100_000, name) for name in writers}
        for name, process in running.items():
            assert process.stdout is not None
            process.stdout.read(2)  # it is writing
            time.sleep(choice.random() * 0.02)
            process.send_signal(signal.SIGKILL)
            output, _ = process.communicate(timeout=20)
            reported[name] = output.count(b"\n") + 1
    last = writer(files, 1, "last", "sync")
    assert finish(last) == 1
    result = verify(files)
    assert result.problems == []
    written = Counter(str(item["user"]) for item in read(files))
    assert all(written[name] >= count for name, count in reported.items())
    assert result.events >= sum(reported.values()) > len(reported)


def test_rotation_under_writers(files: AuditFiles) -> None:
    writers = [writer(files, 300, f"w{number}", "sync") for number in range(4)]
    rotated = 0
    while any(process.poll() is None for process in writers):
        rotated += rotate(files, at_least=5000) is not None
        time.sleep(0.01)
    for process in writers:
        process.communicate(timeout=20)
    assert [process.returncode for process in writers] == [0] * 4
    assert rotated >= 2
    result = verify(files)
    assert result.problems == []
    for number in range(4):
        jobs = [item["job"] for item in read(files, Filters(user=f"w{number}"))]
        assert jobs == [f"w{number}-{step}" for step in range(300)]


@pytest.mark.parametrize("rounds", [6, pytest.param(60, marks=pytest.mark.full)])
def test_rotation_killed_at_random_moments(files: AuditFiles, rounds: int) -> None:
    """Between any two renames, with writers at work: the chain goes on and nothing is missing."""
    choice = seeded()
    for number in range(rounds):
        with subprocess.Popen(
            [sys.executable, "-I", ROTATOR, files.log, files.head], stdout=subprocess.PIPE
        ) as rotator:
            at_work = writer(files, 100, f"w{number}")
            assert rotator.stdout is not None
            rotator.stdout.read(2)
            time.sleep(choice.random() * 0.02)
            rotator.kill()
        assert finish(at_work) == 100
    result = verify(files)
    assert result.problems == []
    written = Counter(str(item["user"]) for item in read(files))
    assert all(written[f"w{number}"] == 100 for number in range(rounds))
