"""The head's copy in the state database: written by `verify`, the admin verbs and checkpoints, not by launches.

Who wants to cut the log unseen must then also change SQLite, and a restored old `audit.head` is noticed.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from launcher.audit.durable import durable_head
from launcher.audit.event import timestamp
from launcher.errors import AuditError

if TYPE_CHECKING:
    import sqlite3

    from launcher.audit.files import AuditFiles

TABLE = """
CREATE TABLE IF NOT EXISTS audit_head (
    log TEXT PRIMARY KEY,
    seq INTEGER NOT NULL,
    digest TEXT NOT NULL,
    time TEXT NOT NULL
) STRICT
"""


def mirror_head(connection: sqlite3.Connection, files: AuditFiles) -> tuple[int, str] | None:
    """Copy the head into `audit_head` (made where missing) in one transaction; what is there then, None for no head.

    Never goes back: raises AuditError where the database knows a later head, which is then kept.
    """
    head = durable_head(files)
    known = mirrored_head(connection, files)
    if head is None or (known is not None and known[0] > head.seq):
        if known is None:
            return None
        raise AuditError(
            f"the audit head is behind the state database: {head.seq if head else 0} < {known[0]}",
            hint="the head or the log was replaced by an older one: mlsandbox audit verify",
        )
    with connection:
        connection.execute(TABLE)
        connection.execute(
            "INSERT INTO audit_head VALUES (?, ?, ?, ?) ON CONFLICT (log) DO UPDATE"
            " SET seq = excluded.seq, digest = excluded.digest, time = excluded.time",
            (files.log, head.seq, head.digest, timestamp(time.time_ns())),
        )
    return head.seq, head.digest


def mirrored_head(connection: sqlite3.Connection, files: AuditFiles) -> tuple[int, str] | None:
    """(sequence, digest) that the database knows of this log."""
    if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'audit_head'").fetchone():
        return None
    row = connection.execute("SELECT seq, digest FROM audit_head WHERE log = ?", (files.log,)).fetchone()
    return None if row is None else (int(row[0]), str(row[1]))
