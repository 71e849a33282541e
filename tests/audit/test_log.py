from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from launcher.audit import head as heads
from launcher.audit import lock
from launcher.audit.event import GENESIS, event
from launcher.audit.files import AuditFiles
from launcher.audit.log import AuditLog
from launcher.audit.tail import line_digest
from launcher.audit.verify import verify
from launcher.errors import AuditError

if TYPE_CHECKING:
    from pathlib import Path

Denial = dict[str, Any]


def events(files: AuditFiles) -> list[dict[str, Any]]:
    with open(files.log, "rb") as stream:
        return [json.loads(line) for line in stream]


def names(files: AuditFiles) -> list[str]:
    return [item["event"] for item in events(files)]


def test_lines_are_chained_and_counted(three: AuditFiles) -> None:
    with open(three.log, "rb") as stream:
        lines = stream.read().split(b"\n")[:-1]
    digests = [GENESIS, *map(line_digest, lines)]
    assert [json.loads(line)["prev"] for line in lines] == digests[:-1]
    assert [json.loads(line)["seq"] for line in lines] == [1, 2, 3]


def test_the_chain_goes_on_over_writers_and_batches(three: AuditFiles, denial: Denial) -> None:
    head = AuditLog.at(three).append([denial, denial])
    assert head is not None
    assert head.seq == 5
    result = verify(three)
    assert (result.ok, result.events, result.digest) == (True, 5, head.digest)


def test_the_files_are_closed_to_others(three: AuditFiles) -> None:
    assert [os.stat(path).st_mode & 0o7777 for path in (three.log, three.head)] == [0o640, 0o600]


def test_a_synced_append_moves_the_durable_mark(log: AuditLog, files: AuditFiles, denial: Denial) -> None:
    def durable() -> int:
        with open(files.head, "rb") as stream:
            head = heads.read(stream.fileno())
        assert head is not None
        return head.durable

    log.append([denial], sync=False)
    assert durable() == 0
    log.append([denial])
    assert durable() == 2
    log.append([denial], sync=False)
    log.sync()
    assert durable() == 3


def test_without_sync_events_are_durable_soon(log: AuditLog, files: AuditFiles, denial: Denial) -> None:
    log.append([denial], sync=False)
    time.sleep(0.11)
    log.append([denial], sync=False)
    with open(files.head, "rb") as stream:
        head = heads.read(stream.fileno())
    assert head is not None
    assert head.durable == 2


@pytest.mark.parametrize("torn", [b"{", b'{"actor":"al', b"\0" * 700, b"x" * 200_000])
def test_a_half_written_line_is_cut_off_and_recorded(three: AuditFiles, denial: Denial, torn: bytes) -> None:
    with open(three.log, "ab") as stream:
        stream.write(torn)
    AuditLog.at(three).append([denial])
    assert names(three)[3:] == ["audit.repaired", "access"]
    assert events(three)[3]["detail"] == {"bytes": len(torn)}
    assert verify(three).ok


def test_a_log_that_is_one_half_line_begins_again(files: AuditFiles, denial: Denial) -> None:
    AuditLog.at(files).append([])
    with open(files.log, "ab") as stream:
        stream.write(b'{"act')
    AuditLog.at(files).append([denial])
    assert names(files) == ["audit.repaired", "access"]
    assert verify(files).ok


def test_a_writer_killed_before_the_head_loses_nothing(three: AuditFiles, denial: Denial) -> None:
    """The log is written first: a head that is behind is brought up by the next append."""
    with open(three.head, "rb") as stream:
        old = stream.read()
    AuditLog.at(three).append([denial])
    with open(three.head, "wb") as stream:
        stream.write(old)
    AuditLog.at(three).append([denial])
    assert names(three) == ["access"] * 5
    assert verify(three).ok


def test_lines_that_are_gone_are_recorded_and_never_forgotten(three: AuditFiles, denial: Denial) -> None:
    with open(three.log, "rb") as stream:
        first = stream.readline()
    os.truncate(three.log, len(first))
    AuditLog.at(three).append([denial])
    assert names(three) == ["access", "audit.truncated", "access"]
    assert events(three)[1]["seq"] == 4
    result = verify(three)
    assert len(result.problems) == 1
    assert "whole lines missing" in result.problems[0]


def test_an_emptied_and_a_removed_log_are_truncated(three: AuditFiles, denial: Denial) -> None:
    os.truncate(three.log, 0)
    AuditLog.at(three).append([denial])
    assert names(three) == ["audit.truncated", "access"]
    os.unlink(three.log)
    AuditLog.at(three).append([denial])
    assert names(three) == ["audit.truncated", "access"]
    assert not verify(three).ok


def test_what_a_power_cut_took_is_told_from_truncation(three: AuditFiles, denial: Denial) -> None:
    """Another boot, and only lines gone that nobody was told are durable."""
    log = AuditLog.at(three)
    size = os.stat(three.log).st_size
    log.append([denial], sync=False)
    with open(three.head, "r+b") as stream:
        head = heads.read(stream.fileno())
        assert head is not None
        head.boot = bytes(16)
        head.generation += 1
        heads.write(stream.fileno(), head)
    os.truncate(three.log, size)
    assert verify(three).notes == ["a power cut lost the last 1 events, which were not yet durable"]
    AuditLog.at(three).append([denial])
    assert names(three) == ["access"] * 3 + ["audit.lost", "access"]
    result = verify(three)
    assert result.ok
    assert "power cut" in result.notes[0]


def test_durable_lines_are_not_lost_to_a_power_cut(three: AuditFiles, denial: Denial) -> None:
    with open(three.head, "r+b") as stream:
        head = heads.read(stream.fileno())
        assert head is not None
        head.boot = bytes(16)
        head.generation += 1
        heads.write(stream.fileno(), head)
    with open(three.log, "rb") as stream:
        first = stream.readline()
    os.truncate(three.log, len(first))
    assert not verify(three).ok
    AuditLog.at(three).append([denial])
    assert names(three) == ["access", "audit.truncated", "access"]


@pytest.mark.parametrize("damage", ["removed", "zeroed"])
def test_a_head_that_is_gone_is_recorded(three: AuditFiles, denial: Denial, damage: str) -> None:
    os.unlink(three.head) if damage == "removed" else os.truncate(three.head, 0)
    assert not verify(three).ok
    AuditLog.at(three).append([denial])
    assert names(three)[3:] == ["audit.headless", "access"]
    result = verify(three)
    assert result.ok
    assert "cannot be excluded" in result.notes[0]


def test_a_torn_slot_leaves_the_older_head(three: AuditFiles) -> None:
    with open(three.head, "r+b") as stream:
        newest = heads.read(stream.fileno())
        assert newest is not None
        stream.seek(heads.SLOT_OFFSETS[newest.generation % 2] + 30)
        stream.write(b"\xff")
        stream.flush()
        older = heads.read(stream.fileno())
    assert older is not None
    assert older.generation == newest.generation - 1


def test_a_longer_forged_log_does_not_pass_for_ours(three: AuditFiles, denial: Denial, tmp_path: Path) -> None:
    """Rewriting the whole chain and adding lines moves past the head's sequence, not past its digest."""
    forged = AuditFiles(str(tmp_path / "f" / "audit.jsonl"), str(tmp_path / "f" / "audit.head"))
    for _ in range(6):
        AuditLog.at(forged).append([{**denial, "outcome": "ALLOWED"}])
    with open(forged.log, "rb") as source, open(three.log, "wb") as target:
        target.write(source.read())
    assert "is not the event that the head names" in verify(three).problems[0]
    AuditLog.at(three).append([denial])
    assert "audit.altered" in names(three)
    assert not verify(three).ok


def loose(path: str) -> None:
    os.close(os.open(path, os.O_CREAT, 0o600))
    os.chmod(path, 0o666)


@pytest.mark.parametrize("kind", ["symlink", "fifo", "directory", "open", "linked"])
@pytest.mark.parametrize("which", ["log", "head"])
def test_the_files_must_be_ours_alone(files: AuditFiles, denial: Denial, kind: str, which: str, tmp_path: Path) -> None:
    path = getattr(files, which)
    os.makedirs(os.path.dirname(path))
    other = str(tmp_path / "other")
    with open(other, "wb"):
        pass
    os.chmod(other, 0o600)
    make = {
        "symlink": lambda: os.symlink(other, path),
        "fifo": lambda: os.mkfifo(path, 0o600),
        "directory": lambda: os.mkdir(path),
        "open": lambda: loose(path),
        "linked": lambda: os.link(other, path),
    }
    make[kind]()
    with pytest.raises(AuditError) as caught:
        AuditLog.at(files).append([denial])
    assert path in caught.value.message
    assert os.stat(other).st_size == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make a directory that somebody else owns")
@pytest.mark.parametrize("change", ["owner", "mode", "above"])
def test_in_system_mode_a_tenant_must_not_own_the_way(three: AuditFiles, denial: Denial, change: str) -> None:
    directory = os.path.dirname(three.log)
    if change == "owner":
        os.chown(directory, 65534, 0)
    elif change == "mode":
        os.chmod(directory, 0o770)
    else:
        os.chmod(os.path.dirname(directory), 0o777)
    with pytest.raises(AuditError, match="can be changed by others"):
        AuditLog.at(three).append([denial])


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to chown")
def test_a_log_of_somebody_else_is_refused(three: AuditFiles, denial: Denial) -> None:
    os.chown(three.log, 65534, 0)
    with pytest.raises(AuditError, match="belongs to uid 65534"):
        AuditLog.at(three).append([denial])


def test_threads_share_one_writer(log: AuditLog, files: AuditFiles, denial: Denial) -> None:
    threads = [threading.Thread(target=lambda: [log.append([denial], sync=False) for _ in range(50)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    result = verify(files)
    assert (result.ok, result.events) == (True, 400)


def test_a_forked_child_does_not_share_the_lock(log: AuditLog, files: AuditFiles, denial: Denial) -> None:
    """A flock belongs to the open file, which a fork shares: parent and child would both hold it."""
    log.append([denial])
    children = []
    wait, go = os.pipe()
    for _ in range(4):
        pid = os.fork()
        if pid == 0:
            try:
                os.close(go)
                os.read(wait, 1)
                for _ in range(200):
                    log.append([denial] * 3, sync=False)
            finally:
                os._exit(0)
        children.append(pid)
    os.close(wait)
    os.close(go)
    for _ in range(200):
        log.append([denial] * 3, sync=False)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * 4
    result = verify(files)
    assert (result.problems, result.events) == ([], 3001)


def test_a_stopped_holder_is_named_and_not_waited_for_ever(
    three: AuditFiles, denial: Denial, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "LOCK_SECONDS", 0.05)
    holder = os.open(three.head, os.O_RDWR)
    fcntl.flock(holder, fcntl.LOCK_EX)
    with pytest.raises(AuditError, match="is held for more than") as caught:
        AuditLog.at(three).append([denial])
    assert "fuser" in caught.value.hint
    os.close(holder)


def test_a_crash_at_any_byte_of_a_write_is_repaired(files: AuditFiles, tmp_path: Path) -> None:
    """Every prefix of the last line may be what a power cut left, with the head still at the line before."""
    AuditLog.at(files).append([event("launch", "policy", user="alice", resource="a")])
    with open(files.log, "rb") as log, open(files.head, "rb") as head:
        first, old_head = log.read(), head.read()
    AuditLog.at(files).append([event("launch", "policy", user="bob", resource="b")])
    with open(files.log, "rb") as log:
        whole = log.read()
    for cut in range(len(first), len(whole) + 1):
        with open(files.log, "r+b") as log, open(files.head, "r+b") as head:
            log.write(whole[:cut])
            log.truncate()
            head.write(old_head)
        AuditLog.at(files).append([event("launch", "policy", user="carol")])
        result = verify(files)
        assert (result.problems, result.events) == ([], 2 if cut == len(first) else 3), cut


def test_a_head_file_that_is_replaced_under_a_writer_is_noticed(
    log: AuditLog, files: AuditFiles, denial: Denial
) -> None:
    """Its lock would otherwise be on a file that nobody else locks."""
    log.append([denial])
    os.unlink(files.head)
    log.append([denial])
    assert os.path.exists(files.head)
    assert names(files) == ["access", "audit.headless", "access"]
    AuditLog.at(files).append([denial])
    assert names(files)[-1:] == ["access"]
    assert verify(files).ok


class Config:
    def __init__(self, **audit: object) -> None:
        self.audit = audit


class Places:
    def __init__(self, root: Path) -> None:
        self.audit = str(root / "log")
        self.state = str(root / "state")


def test_locations_and_configuration(tmp_path: Path, denial: Denial) -> None:
    assert AuditLog(Places(tmp_path)).append([denial]) is not None
    assert os.listdir(tmp_path / "log") == ["audit.jsonl"]
    assert os.listdir(tmp_path / "state") == ["audit.head"]
    moved = AuditLog(Places(tmp_path), Config(path=str(tmp_path / "log" / "other.jsonl")))
    assert moved.append([denial]) is not None


def test_refuse_is_the_default_and_continue_counts_what_is_missing(tmp_path: Path, denial: Denial) -> None:
    places = Places(tmp_path)
    os.makedirs(places.audit + "/audit.jsonl")
    with pytest.raises(AuditError):
        AuditLog(places).append([denial])
    log = AuditLog(places, Config(on_failure="continue"))
    assert log.append([denial, denial]) is None
    assert log.failure is not None
    os.rmdir(places.audit + "/audit.jsonl")
    assert log.append([denial]) is not None
    with open(places.audit + "/audit.jsonl", "rb") as stream:
        missed, _ = map(json.loads, stream)
    assert (missed["event"], missed["detail"]) == ("audit.missed", {"events": 2})


def test_an_event_that_cannot_be_sealed_leaves_the_log_as_it_was(three: AuditFiles) -> None:
    size = os.stat(three.log).st_size
    with pytest.raises(ValueError, match="no audit field"):
        AuditLog.at(three).append([event("x", "policy"), {"nonsense": 1}])
    assert os.stat(three.log).st_size == size
    assert AuditLog.at(three).append([event("x", "policy")]) is not None
