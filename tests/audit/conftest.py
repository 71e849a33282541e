"""A log of its own for every test, and the events of the seeds."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from launcher.audit.event import event
from launcher.audit.files import AuditFiles
from launcher.audit.log import AuditLog

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def files(tmp_path: Path) -> AuditFiles:
    return AuditFiles(str(tmp_path / "log" / "audit.jsonl"), str(tmp_path / "state" / "audit.head"))


@pytest.fixture
def log(files: AuditFiles) -> Iterator[AuditLog]:
    writer = AuditLog.at(files)
    yield writer
    writer.close()


@pytest.fixture
def denial() -> dict[str, Any]:
    return event(
        "access", "runtime", "DENIED", user="alice", job="j1", capability="file", operation="write",
        resource="secret/passwords.txt",
    )  # fmt: skip


@pytest.fixture
def three(log: AuditLog, denial: dict[str, Any], files: AuditFiles) -> AuditFiles:
    """A log of three events, closed."""
    for _ in range(3):
        log.append([denial])
    log.close()
    assert os.path.exists(files.head)
    return files
