"""Fixtures for tests that launch real jobs."""

from __future__ import annotations

import os
import resource
import shutil
from typing import TYPE_CHECKING

import pytest

from tests import sandboxed

if TYPE_CHECKING:
    from collections.abc import Iterator


# What a login gives differs (1024 here, 20000 there); the tests of limits want the product's limit to be the first.
_SOFT, _HARD = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (_HARD, _HARD))


def pytest_itemcollected(item: pytest.Item) -> None:
    """`full_as(who)`: where there are two callers, the case of that one belongs to the long form."""
    callspec = getattr(item, "callspec", None)
    who = {callspec.params.get(name) for name in ("host", "narrow")} if callspec and os.geteuid() == 0 else set()
    if any(mark.args[0] in who for mark in item.iter_markers("full_as")):
        item.add_marker(pytest.mark.full)


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
