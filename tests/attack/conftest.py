"""One launch a group and caller: the probes run their attempts inside, the tests judge the lines."""

from __future__ import annotations

import os
import platform
import shutil
from typing import TYPE_CHECKING

import pytest

from tests import sandboxed
from tests.attack.report import Report, install_probes

if TYPE_CHECKING:
    from collections.abc import Iterator

CALLERS = ["root", "user"] if os.geteuid() == 0 else ["user"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/attack/" in item.path.as_posix():
            item.add_marker(pytest.mark.kernel)
            if platform.machine() != "x86_64":
                item.add_marker(pytest.mark.skip(reason="the probes' numbers are x86-64's"))


@pytest.fixture(scope="module", params=CALLERS)
def attacked(request: pytest.FixtureRequest, installation: str) -> Iterator[sandboxed.Host]:
    """A host with the probes in its workspace, shared by the tests of a file."""
    made = sandboxed.Host(installation, request.param)
    install_probes(made)
    yield made
    made.remove()


@pytest.fixture(scope="module")
def report(request: pytest.FixtureRequest, attacked: sandboxed.Host) -> Report:
    """What the group's probe saw: the test file names it as PROBE, and may say POLICY and LIMITS."""
    module = request.module
    return Report.of(attacked, module.PROBE, getattr(module, "POLICY", {}), getattr(module, "LIMITS", {}))


@pytest.fixture
def outside() -> Iterator[str]:
    """A directory that no job is granted."""
    import tempfile

    made = tempfile.mkdtemp(prefix="mlsandbox-outside-", dir="/var/tmp")
    os.chmod(made, 0o777)
    yield made
    shutil.rmtree(made, ignore_errors=True)
