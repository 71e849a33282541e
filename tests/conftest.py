"""Fixtures for tests that launch real jobs."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from tests import sandboxed

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def installation() -> Iterator[str]:
    prefix = sandboxed.install()
    yield prefix
    if "MLSANDBOX_TEST_PREFIX" not in os.environ:
        shutil.rmtree(prefix, ignore_errors=True)


@pytest.fixture(params=["root", "user"] if os.geteuid() == 0 else ["user"])
def host(request: pytest.FixtureRequest, installation: str) -> Iterator[sandboxed.Host]:
    """Each test runs as root and as an ordinary user."""
    made = sandboxed.Host(installation, request.param)
    yield made
    made.remove()
