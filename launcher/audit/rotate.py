"""Rotation: the log is closed and kept aside, and the chain goes on in a new file.

Under the writers' lock: the segments move up by one (`audit.jsonl.1` becomes `.2`), the log becomes `.1`, and the
first event of the new log is `audit.rotated` whose `prev` is the digest of the last line of `.1`. Being killed between
any two steps leaves a log that the next append continues: `launcher.audit.chain` knows a missing log whose closed
segment ends where the head says. So a rename by logrotate (`create`, not `copytruncate`) does no harm either.
"""

from __future__ import annotations

import os

from launcher.audit.files import AuditFiles, failed, sync_directory
from launcher.audit.lock import Handles
from launcher.audit.log import AuditLog
from launcher.audit.segments import numbered


def rotate(files: AuditFiles, *, keep: int | None = None, at_least: int = 1) -> str | None:
    """Close the log if it has `at_least` bytes; the path of the closed segment, None where nothing was done.

    `keep` is the number of closed segments that stay (None: all); older ones are removed, and `verify` then says that
    the chain begins late. Raises AuditError.
    """
    log = AuditLog.at(files)
    log.append([])  # cuts off a half-written line, and says so
    handles = Handles(files)
    handles.lock()
    try:
        if os.fstat(handles.log).st_size < at_least:
            return None
        os.fsync(handles.log)
        _move(files.log, keep)
    except OSError as error:
        raise failed("rotate", files.log, error) from error
    finally:
        handles.unlock()
        handles.close()
    log.append([])  # whoever writes first begins the new segment; an empty batch makes sure that somebody does
    log.close()
    return files.log + ".1"


def _move(log: str, keep: int | None) -> None:
    """Highest number first, so that no name is taken when it is needed."""
    for number, path in reversed(numbered(log)):
        if keep is not None and number >= keep:
            os.unlink(path)
        else:
            os.rename(path, f"{log}.{number + 1}")
    os.rename(log, log + ".1")
    sync_directory(os.path.dirname(log))
