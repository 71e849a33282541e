"""The parsers' laws for an hour (MLSANDBOX_FUZZ_SECONDS), each round from another seed, against the same oracles."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
SECONDS = float(os.environ.get("MLSANDBOX_FUZZ_SECONDS", "3600"))
EXAMPLES = "5000"  # of each law in one round: some ten minutes for all of them on one core


@pytest.mark.full
@pytest.mark.timeout(SECONDS + 3600)
def test_the_parsers_for_an_hour() -> None:
    """A failing input is in the output, and in .hypothesis for the next run; it is then kept as an example of its test."""
    end, rounds = time.monotonic() + SECONDS, 0
    while time.monotonic() < end:
        seed = random.SystemRandom().randrange(1 << 32)
        examples = EXAMPLES if SECONDS >= 600 else str(max(50, int(SECONDS * 8)))
        words = [
            "-m",
            "pytest",
            "-q",
            "-x",
            "-p",
            "no:cacheprovider",
            "--timeout=0",
            f"--hypothesis-seed={seed}",
            f"{HERE}/protocol",
        ]
        environment = {**os.environ, "MLSANDBOX_FUZZ_EXAMPLES": examples}
        done = subprocess.run(
            [sys.executable, *words], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"seed {seed}\n{done.stdout[-20000:]}"
        rounds += 1
    assert rounds
