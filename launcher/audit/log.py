"""Appending to the audit log: under one lock, chained, durable where asked, and never half a line.

An append is: lock the head, find where the chain goes on, write all lines with one O_APPEND write, write the head,
unlock; then, where asked, fdatasync outside the lock, so that concurrent launches share one journal commit.
"""

from __future__ import annotations

import os
import time
from _thread import allocate_lock

from launcher.audit import head as heads
from launcher.audit.chain import position
from launcher.audit.event import event, sealed
from launcher.audit.files import AuditFiles, audit_files, failed, settings
from launcher.audit.head import Head
from launcher.audit.lock import Handles
from launcher.audit.tail import line_digest
from launcher.errors import AuditError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from launcher.audit.chain import Position

DURABLE_NS = 100_000_000  # what is appended without sync is on disk at most this much later, while events come
MISSED = "audit.missed"


class AuditLog:
    """The writer. One per process is enough; threads and forked children may share it.

    `config.audit` may set `path` and `on_failure`: with `refuse` (the default) an append that fails raises AuditError
    and the launch must not go on; with `continue` it returns None, `failure` keeps the error for the report, and the
    next append that works records how many events are missing.
    """

    __slots__ = ("_boot", "_files", "_handles", "_pid", "_refuse", "_threads", "_unsynced", "failure", "missed")

    def __init__(self, locations: object, config: object | None = None) -> None:
        self._set_up(audit_files(locations, config), settings(config).get("on_failure") != "continue")

    @classmethod
    def at(cls, files: AuditFiles, *, refuse: bool = True) -> AuditLog:
        """The writer of given files."""
        log = cls.__new__(cls)
        log._set_up(files, refuse)  # noqa: SLF001  its own constructor
        return log

    def _set_up(self, files: AuditFiles, refuse: bool) -> None:
        self._files = files
        self._refuse = refuse
        self._boot = b""
        self.failure: AuditError | None = None
        self.missed = 0
        self._begin_process()

    def _begin_process(self) -> None:
        self._handles = Handles(self._files)
        self._threads = allocate_lock()  # flock is by open file: two threads of one process both get it
        self._unsynced = 0
        self._pid = os.getpid()

    def append(self, events: Sequence[dict[str, object]], *, sync: bool = True) -> Head | None:
        """Append `events` in order, as one write. With `sync` they are on disk when this returns.

        Returns the new head. Raises AuditError; where the configuration says to go on, it returns None for what
        could not be written, and the head for what was written but could not be made durable.
        """
        self._check_process()
        head = None
        try:
            with self._threads:
                head = self._append(events)
            if sync or time.monotonic_ns() - self._unsynced > DURABLE_NS:
                self.sync()
        except AuditError as error:
            if self._refuse:
                raise
            self.failure = error
            self.missed += 0 if head else len(events)
        return head

    def settle(self) -> None:
        """As `append` with `sync` ends: what was appended is on disk. Raises AuditError where it must be."""
        try:
            self.sync()
        except AuditError as error:
            if self._refuse:
                raise
            self.failure = error

    def sync(self) -> None:
        """Put what this writer appended on disk. Raises AuditError."""
        if not self._unsynced:
            return
        try:
            self._sync()
        except OSError as error:
            raise failed("make durable", self._files.log, error) from error
        self._unsynced = 0

    def close(self) -> None:
        """Sync and close. Raises AuditError."""
        self._check_process()
        try:
            self.sync()
        finally:
            self._handles.close()

    def _check_process(self) -> None:
        """After a fork the descriptors are shared with the parent, and with them its flock: begin anew."""
        if self._pid != os.getpid():
            self._handles.close()
            self._begin_process()

    def _append(self, events: Sequence[dict[str, object]]) -> Head:
        try:
            self._boot = self._boot or heads.boot_id()
            self._handles.lock()
            try:
                head = self._write(events)
            finally:
                self._handles.unlock()
        except OSError as error:
            raise failed("write the audit log", self._files.log, error) from error
        self.missed = 0
        self._unsynced = self._unsynced or time.monotonic_ns()
        return head

    def _write(self, events: Sequence[dict[str, object]]) -> Head:
        log_fd, head_fd = self._handles.log, self._handles.head
        old = heads.read(head_fd)
        heads.reserve(head_fd)
        place = position(log_fd, old, self._boot, self._files.log + ".1")
        lines, seq, digest = self._lines(events, place)
        if place.torn:
            os.ftruncate(log_fd, place.end)
        _write_whole(log_fd, lines, place.end)
        head = Head(seq, digest, place.end + len(lines), os.fstat(log_fd).st_ino, 0, self._boot)
        if old is not None:
            # Lines that were found after a reboot did survive it.
            head.durable = old.durable if old.boot == self._boot else min(place.seq, old.seq)
            head.generation = old.generation + 1
        heads.write(head_fd, head)
        return head

    def _lines(self, events: Sequence[dict[str, object]], place: Position) -> tuple[bytes, int, str]:
        """All lines to append, first what must be said about the chain itself; the last sequence and digest."""
        notices = list(place.notices)
        if self.missed:
            notices.append((MISSED, {"events": self.missed}))
        recorded = [event(name, "service", detail=detail) for name, detail in notices]
        seq, digest, lines = place.seq, place.digest, []
        for item in (*recorded, *events):
            seq += 1
            line = sealed(item, seq, digest)
            digest = line_digest(line)
            lines.append(line + b"\n")
        return b"".join(lines), seq, digest

    def _sync(self) -> None:
        """fdatasync, then move the durable mark: what the head named before the call is on disk after it."""
        log_fd, head_fd = self._handles.log, self._handles.head
        seen = heads.read(head_fd)
        os.fdatasync(log_fd)
        if seen is None or seen.inode != os.fstat(log_fd).st_ino:
            return  # rotated meanwhile: rotation has synced the segment
        with self._threads:
            self._handles.lock()
            try:
                self._mark_durable(seen.seq)
            finally:
                self._handles.unlock()

    def _mark_durable(self, seq: int) -> None:
        head = heads.read(self._handles.head)
        if head is not None and head.durable < seq <= head.seq:
            head.durable = seq
            head.generation += 1
            heads.write(self._handles.head, head)


def _write_whole(fd: int, data: bytes, start: int) -> None:
    """All of `data` or nothing: a full disk (ENOSPC, EDQUOT, EFBIG) must not leave half a line. Raises OSError."""
    rest = memoryview(data)
    try:
        while rest:
            rest = rest[os.write(fd, rest) :]
    except BaseException:
        os.ftruncate(fd, start)
        raise
