"""Does the log hold what was written? The chain, the head, its copy in the database, and the checkpoints.

Problems mean that the log was changed or lost lines without a crash; notes are what a reader should know.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any

from launcher.audit import head as heads
from launcher.audit.chain import ALTERED, HEADLESS, LOST, REPAIRED, ROTATED, TRUNCATED
from launcher.audit.checkpoint import is_signed, key_id, read_checkpoints
from launcher.audit.event import FIELDS, GENESIS
from launcher.audit.files import failed
from launcher.audit.log import MISSED
from launcher.audit.segments import close, lines, opened
from launcher.audit.tail import line_digest, sequence

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from launcher.audit.files import AuditFiles
    from launcher.audit.head import Head
    from launcher.audit.segments import Line

HEAD_SOURCE = "the head"
_FIELDS = frozenset(FIELDS)
MAX_PROBLEMS = 20  # after so many the rest says nothing new
# Events of the writer about the chain itself: what it found, as a problem (True) or a note.
NOTICES = {
    TRUNCATED: (True, "the writer found whole lines missing here"),
    ALTERED: (True, "the writer found the last line changed here"),
    LOST: (False, "a power cut lost lines here that were not yet durable"),
    HEADLESS: (False, "the head was missing here: truncation before this line cannot be excluded"),
    REPAIRED: (False, "a half-written line was cut off here"),
    MISSED: (False, "events before this line could not be written"),
}


@dataclass(slots=True)
class Verification:
    """`events` lines hold from sequence `first` to `last`, whose digest is `digest`; `ok` where nothing is wrong."""

    events: int = 0
    first: int = 0
    last: int = 0
    digest: str = GENESIS
    checkpoints: int = 0
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.problems

    def to_data(self) -> dict[str, object]:
        data: dict[str, object] = {name: getattr(self, name) for name in self.__slots__}
        return {"ok": self.ok, **data}


@dataclass(frozen=True, slots=True)
class Expected:
    """A line that must be there: sequence, digest, and who says so."""

    seq: int
    digest: str
    source: str


def verify(
    files: AuditFiles,
    *,
    mirrored: tuple[int, str] | None = None,
    public_key: Ed25519PublicKey | None = None,
    against: Sequence[str] = (),
) -> Verification:
    """Verify the log of `files`: every problem names its place, the first one is the first bad line.

    `mirrored` is the head that the state database knows; `public_key` checks the signatures of the checkpoints beside
    the log and in the files `against` (copies kept elsewhere). Takes no lock: the head is read first, so what is
    appended meanwhile is only more. Raises AuditError where something cannot be read.
    """
    result = Verification()
    head = _head(files, result)
    expected = _expected(files, mirrored, public_key, against, result)
    if head is not None and head.seq:
        expected.setdefault(head.seq, []).append(Expected(head.seq, head.digest, HEAD_SOURCE))
    segments = opened(files.log)
    try:
        walk = _Walk(result, expected)
        for line in chain.from_iterable(lines(segment) for segment in segments):
            walk.line(line)
    except OSError as error:
        raise failed("read", files.log, error) from error
    finally:
        close(segments)
    _end(head, walk, result)
    return result


class _Walk:
    """One pass over all lines, oldest first, in constant memory."""

    __slots__ = ("_expected", "_result")

    def __init__(self, result: Verification, expected: dict[int, list[Expected]]) -> None:
        self._result = result
        self._expected = expected

    def line(self, line: Line) -> None:
        result = self._result
        if line.torn:
            result.notes.append(
                f"{line.place}: {len(line.data)} bytes of a half-written line; the next append repairs it"
            )
            return
        data = _parsed(line.data)
        if data is None:
            _complain(result, f"{line.place}: not an audit event")
            return
        seq = int(data["seq"])
        self._follows(line, data, seq)
        self._notice(line, data)
        result.events += 1
        result.first = result.first or seq
        result.last, result.digest = seq, line_digest(line.data)
        for item in self._expected.pop(seq, ()):
            if item.digest != result.digest:
                _complain(result, f"{line.place}: sequence {seq} is not the event that {item.source} names")

    def _follows(self, line: Line, data: dict[str, Any], seq: int) -> None:
        result = self._result
        if not result.events:
            self._begins(line, data, seq)
            return
        if data["prev"] != result.digest:
            _complain(result, f"{line.place}: does not follow the line before it: that line, or this one, was changed")
        if seq != result.last + 1 and not _explained(data, seq, result.last):
            _complain(result, f"{line.place}: sequence {seq} after {result.last}")

    def _begins(self, line: Line, data: dict[str, Any], seq: int) -> None:
        result = self._result
        if seq == 1 and data["prev"] == GENESIS:
            return
        if data["event"] == ROTATED:
            result.notes.append(f"{line.place}: the log begins at sequence {seq}; older segments are not here")
        elif not _explained(data, seq, 0):
            _complain(result, f"{line.place}: the log begins at sequence {seq}, and no rotation explains it")

    def _notice(self, line: Line, data: dict[str, Any]) -> None:
        if data["event"] in NOTICES and data["layer"] == "service":
            bad, meaning = NOTICES[data["event"]]
            text = f"{line.place}: {meaning} ({json.dumps(data['detail'], sort_keys=True)})"
            if bad:
                _complain(self._result, text)
            else:
                self._result.notes.append(text)

    def missing(self) -> list[Expected]:
        """What somebody names and the log ends before."""
        left = [item for _, items in sorted(self._expected.items()) for item in items]
        return [item for item in left if item.seq >= self._result.first and item.source != HEAD_SOURCE]


def _parsed(line: bytes) -> dict[str, Any] | None:
    """The event of a line; None where it is none, or not in the one form that the writer makes."""
    try:
        data = json.loads(line)
    except (ValueError, RecursionError):
        return None
    whole = isinstance(data, dict) and data.keys() == _FIELDS and type(data["seq"]) is int
    return data if whole and data["seq"] == sequence(line) else None


def _explained(data: dict[str, Any], seq: int, last: int) -> bool:
    """A gap that the writer itself found and recorded."""
    detail = data["detail"]
    return data["event"] in (LOST, TRUNCATED) and detail.get("expected") == seq - 1 and detail.get("found") == last


def _head(files: AuditFiles, result: Verification) -> Head | None:
    try:
        fd = os.open(files.head, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        if os.path.exists(files.log):
            _complain(result, f"{files.head}: the head is missing: truncation of the log cannot be excluded")
        return None
    except OSError as error:
        result.notes.append(f"{files.head}: not read ({error.strerror}): truncation of the log is not excluded")
        return None
    try:
        head = heads.read(fd)
    finally:
        os.close(fd)
    if head is None:
        _complain(result, f"{files.head}: the head is damaged: truncation of the log cannot be excluded")
    return head


def _expected(
    files: AuditFiles,
    mirrored: tuple[int, str] | None,
    public_key: Ed25519PublicKey | None,
    against: Sequence[str],
    result: Verification,
) -> dict[int, list[Expected]]:
    found: dict[int, list[Expected]] = {}
    if mirrored is not None and mirrored[0]:
        found.setdefault(mirrored[0], []).append(Expected(*mirrored, "the state database"))
    for path in (files.checkpoints, *against):
        for item in _signed(path, public_key, result):
            found.setdefault(item.seq, []).append(item)
    return found


def _signed(path: str, public_key: Ed25519PublicKey | None, result: Verification) -> Iterator[Expected]:
    """The checkpoints of a file whose signature holds; without a key they are only compared, and a note says so."""
    items, problems = read_checkpoints(path)
    for problem in problems:
        _complain(result, problem)
    if items and public_key is None:
        result.notes.append(f"{path}: no public key: the signatures of {len(items)} checkpoints are not verified")
    for item in items:
        if public_key is not None and item.key != key_id(public_key):
            result.notes.append(f"{path}: the checkpoint at sequence {item.seq} was signed with another key")
        elif public_key is not None and not is_signed(item, public_key):
            _complain(result, f"{path}: the signature of the checkpoint at sequence {item.seq} is wrong")
        else:
            result.checkpoints += 1
            yield Expected(item.seq, item.digest, f"the checkpoint of {item.time}")


def _end(head: Head | None, walk: _Walk, result: Verification) -> None:
    for item in walk.missing():
        _complain(result, f"sequence {item.seq} is missing, which {item.source} names; the log ends at {result.last}")
    if head is None or head.seq <= result.last:
        return
    if head.boot != heads.boot_id() and result.last >= head.durable:
        lost = head.seq - result.last
        result.notes.append(f"a power cut lost the last {lost} events, which were not yet durable")
    else:
        _complain(result, f"the log ends at sequence {result.last}, but the head names {head.seq}: truncated")


def _complain(result: Verification, text: str) -> None:
    if len(result.problems) < MAX_PROBLEMS:
        result.problems.append(text)
    elif len(result.problems) == MAX_PROBLEMS:
        result.problems.append("there are more problems")
