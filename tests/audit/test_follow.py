"""Following the log: every event once, over rotations, and never more than a bounded piece."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher.audit.event import event
from launcher.audit.files import AuditFiles
from launcher.audit.follow import Follower
from launcher.audit.log import AuditLog
from launcher.audit.rotate import rotate

if TYPE_CHECKING:
    from pathlib import Path


def files_in(directory: Path) -> AuditFiles:
    return AuditFiles(log=f"{directory}/audit.jsonl", head=f"{directory}/audit.head")


def names(follower: Follower) -> list[str]:
    return [found["event"] for found in follower.look()]


def test_each_event_is_seen_once(tmp_path: Path) -> None:
    files = files_in(tmp_path)
    follower = Follower(files)
    assert names(follower) == []
    log = AuditLog.at(files)
    log.append([event("one", "service"), event("two", "service")])
    assert names(follower) == ["one", "two"]
    assert names(follower) == []
    log.append([event("three", "service")])
    assert names(follower) == ["three"]


def test_a_rotation_loses_nothing(tmp_path: Path) -> None:
    files = files_in(tmp_path)
    log = AuditLog.at(files)
    log.append([event("one", "service")])
    follower = Follower(files)
    assert names(follower) == ["one"]
    log.append([event("two", "service")])
    rotate(files, keep=5)
    AuditLog.at(files).append([event("three", "service")])
    seen = names(follower)
    assert [name for name in seen if name != "audit.rotated"] == ["two", "three"]


def test_half_a_line_waits_for_its_other_half(tmp_path: Path) -> None:
    files = files_in(tmp_path)
    AuditLog.at(files).append([event("one", "service")])
    follower = Follower(files)
    follower.look()
    with open(files.log, "ab") as log:
        log.write(b'{"event": "two"')
        log.flush()
        assert names(follower) == []
        log.write(b"}\n")
    assert names(follower) == ["two"]


def test_who_is_far_behind_begins_near_the_end(tmp_path: Path) -> None:
    files = files_in(tmp_path)
    log = AuditLog.at(files)
    log.append([event("one", "service")])
    follower = Follower(files)
    follower.look()
    for _ in range(12):
        log.append([event("flood", "service", resource="x" * 4000) for _ in range(50)], sync=False)
    log.append([event("last", "service")])
    seen = names(follower)
    assert seen[-1] == "last"
    assert 0 < len(seen) < 100
