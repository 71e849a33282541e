"""The soak of tests/bench/bench_soak.py, short: jobs of four tenants that fail and are cancelled, and kill -9."""

from __future__ import annotations

import os

import pytest

from tests.bench.bench_soak import soak

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(os.geteuid() != 0, reason="the service needs root for tenants")]


def _seed() -> int:
    return int(os.environ.get("MLSANDBOX_SEED", "0")) or int.from_bytes(os.urandom(4), "little")


@pytest.mark.timeout(300)
def test_every_job_is_accounted_for_once_and_nothing_is_left(installation: str) -> None:
    """The seed is printed; MLSANDBOX_SEED=N repeats a run."""
    assert soak(installation, 100, 2, _seed()) == []


@pytest.mark.full
@pytest.mark.timeout(7200)
def test_ten_thousand_jobs_and_ten_kills(installation: str) -> None:
    assert soak(installation, 10_000, 10, _seed()) == []
