"""The head, once everything that it names is on disk: what may be signed or copied elsewhere.

A copy of a head whose lines a power cut then takes would look like truncation.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from launcher.audit import head as heads
from launcher.audit.files import failed, open_head

if TYPE_CHECKING:
    from launcher.audit.files import AuditFiles
    from launcher.audit.head import Head


def durable_head(files: AuditFiles) -> Head | None:
    """The head after a sync of the log; None where nothing was ever written. Raises AuditError."""
    head_fd = open_head(files)
    try:
        head = heads.read(head_fd)
    finally:
        os.close(head_fd)
    if head is not None:
        _sync(files.log)
    return head


def _sync(path: str) -> None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            os.fdatasync(fd)
        finally:
            os.close(fd)
    except OSError as error:
        raise failed("make durable", path, error) from error
