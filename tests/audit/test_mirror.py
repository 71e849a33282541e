from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from launcher.audit.log import AuditLog
from launcher.audit.mirror import mirror_head, mirrored_head
from launcher.audit.verify import verify
from launcher.errors import AuditError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from launcher.audit.files import AuditFiles


@pytest.fixture
def database(tmp_path: object) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(f"{tmp_path}/state.db")
    yield connection
    connection.close()


def test_the_head_is_copied_and_moves_on(
    three: AuditFiles, database: sqlite3.Connection, denial: dict[str, Any]
) -> None:
    assert mirrored_head(database, three) is None
    assert mirror_head(database, three) == (3, verify(three).digest)
    AuditLog.at(three).append([denial])
    mirror_head(database, three)
    assert mirrored_head(database, three) == (4, verify(three).digest)


def test_an_older_head_is_refused_and_the_later_one_kept(
    three: AuditFiles, database: sqlite3.Connection, denial: dict[str, Any]
) -> None:
    """Log and head were both put back from a copy."""
    with open(three.log, "rb") as log, open(three.head, "rb") as head:
        copies = log.read(), head.read()
    AuditLog.at(three).append([denial])
    mirror_head(database, three)
    for path, data in zip((three.log, three.head), copies, strict=True):
        with open(path, "wb") as stream:
            stream.write(data)
    assert verify(three).ok
    known = mirrored_head(database, three)
    assert not verify(three, mirrored=known).ok
    with pytest.raises(AuditError, match="behind the state database: 3 < 4"):
        mirror_head(database, three)
    assert mirrored_head(database, three) == known


def test_without_a_log_there_is_nothing_to_copy(files: AuditFiles, database: sqlite3.Connection) -> None:
    os.makedirs(os.path.dirname(files.log))
    assert mirror_head(database, files) is None
