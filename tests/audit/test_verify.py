from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from launcher.audit.checkpoint import checkpoint, public_key_of, read_checkpoints, read_key
from launcher.audit.event import event
from launcher.audit.log import AuditLog
from launcher.audit.rotate import rotate
from launcher.audit.tail import line_digest
from launcher.audit.verify import verify
from launcher.canonical import canonical_json
from launcher.errors import AuditError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from launcher.audit.files import AuditFiles

Lines = list[bytes]


@pytest.fixture
def ten(files: AuditFiles) -> AuditFiles:
    log = AuditLog.at(files)
    for number in range(10):
        log.append([event("launch", "policy", "ALLOWED", user="alice", job=f"j{number}")])
    log.close()
    return files


@pytest.fixture
def key() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def rewritten(lines: Lines) -> Lines:
    """What somebody with the whole file can do: a perfect chain over changed lines."""
    result: Lines = []
    for number, line in enumerate(lines, 1):
        data = json.loads(line)
        data["seq"] = number
        data["prev"] = line_digest(result[-1]) if result else "sha256:" + "0" * 64
        result.append(canonical_json(data))
    return result


def swapped(lines: Lines, first: int, second: int) -> Lines:
    copy = list(lines)
    copy[first], copy[second] = copy[second], copy[first]
    return copy


# name, what is done to the ten lines, the number of the first bad line (0: no line, the end), words of the problem
TAMPERING: list[tuple[str, Callable[[Lines], Lines], int, str]] = [
    ("a user replaced", lambda lines: [lines[0].replace(b"alice", b"mally"), *lines[1:]], 2, "does not follow"),
    ("the last line changed", lambda lines: [*lines[:9], lines[9].replace(b"j9", b"j8")], 10, "the head names"),
    ("a line removed", lambda lines: lines[:4] + lines[5:], 5, "does not follow"),
    ("two lines swapped", lambda lines: swapped(lines, 3, 4), 4, "does not follow"),
    ("a line twice", lambda lines: [*lines[:5], lines[4], *lines[5:]], 6, "does not follow"),
    ("the first lines removed", lambda lines: lines[3:], 1, "no rotation explains it"),
    ("a line of garbage", lambda lines: [*lines[:5], b"\xff\x00{", *lines[5:]], 6, "not an audit event"),
    ("an empty line", lambda lines: [*lines[:5], b"", *lines[5:]], 6, "not an audit event"),
    ("nested too deep", lambda lines: [*lines[:5], b"[" * 100_000, *lines[5:]], 6, "not an audit event"),
    ("a field added", lambda lines: [*lines[:9], lines[9][:-1] + b',"x":1}'], 10, "not an audit event"),
    ("another sequence", lambda lines: [*lines[:9], lines[9].replace(b'"seq":10', b'"seq":12')], 10, "12 after 9"),
    ("a second sequence", lambda lines: [lines[0][:-1] + b',"seq":1}', *lines[1:]], 1, "not an audit event"),
    ("truncated", lambda lines: lines[:7], 0, "truncated"),
    ("emptied", lambda lines: [], 0, "truncated"),
    ("rewritten", lambda lines: rewritten([lines[0].replace(b"alice", b"mally"), *lines[1:]]), 10, "the head names"),
    ("rewritten and cut", lambda lines: rewritten(lines[2:]), 0, "truncated"),
    ("rewritten and longer", lambda lines: rewritten(lines[2:] + lines[:6]), 10, "the head names"),
]


@pytest.mark.parametrize(
    ("change", "bad_line", "words"), [row[1:] for row in TAMPERING], ids=[row[0] for row in TAMPERING]
)
def test_tampering_is_found_where_it_is(
    ten: AuditFiles, change: Callable[[Lines], Lines], bad_line: int, words: str
) -> None:
    with open(ten.log, "rb") as stream:
        lines = stream.read().split(b"\n")[:-1]
    with open(ten.log, "wb") as stream:
        stream.write(b"".join(line + b"\n" for line in change(lines)))
    first = verify(ten).problems[0]
    assert words in first
    assert first.startswith(f"{ten.log}:{bad_line}:" if bad_line else "the log ends at sequence")


def test_every_changed_byte_is_found(three: AuditFiles) -> None:
    """One bit of every byte of the log; no byte is outside the chain."""
    with open(three.log, "rb") as stream:
        data = stream.read()
    for at in range(len(data)):
        with open(three.log, "r+b") as stream:
            stream.seek(at)
            stream.write(bytes([data[at] ^ (1 << at % 7)]))
            stream.flush()
            assert verify(three).problems, at
            stream.seek(at)
            stream.write(data[at : at + 1])
    assert verify(three).ok


def test_an_untouched_log_verifies(ten: AuditFiles) -> None:
    result = verify(ten)
    assert (result.ok, result.events, result.first, result.last, result.notes) == (True, 10, 1, 10, [])
    assert result.to_data()["ok"] is True


def test_a_torn_tail_is_a_note(ten: AuditFiles) -> None:
    with open(ten.log, "ab") as stream:
        stream.write(b'{"a')
    result = verify(ten)
    assert result.ok
    assert "3 bytes of a half-written line" in result.notes[0]


def test_no_log_at_all_verifies(files: AuditFiles) -> None:
    assert verify(files).to_data()["events"] == 0
    assert verify(files).ok


def test_the_state_database_knows_what_the_head_forgot(ten: AuditFiles) -> None:
    mirrored = (10, verify(ten).digest)
    os.truncate(ten.log, 0)
    os.unlink(ten.head)
    assert verify(ten, mirrored=mirrored).problems[-1].startswith("sequence 10 is missing, which the state database")


def test_checkpoints_are_verified(ten: AuditFiles, key: bytes) -> None:
    signed = checkpoint(ten, key)
    AuditLog.at(ten).append([event("launch", "policy")])
    checkpoint(ten, key)
    result = verify(ten, public_key=public_key_of(key))
    assert (signed.seq, result.ok, result.checkpoints, result.notes) == (10, True, 2, [])


def test_a_rewritten_log_with_a_forged_head_meets_the_checkpoint(ten: AuditFiles, key: bytes) -> None:
    """Root rewrote log and head; the signed checkpoint was kept."""
    checkpoint(ten, key)
    os.unlink(ten.log)
    os.unlink(ten.head)
    log = AuditLog.at(ten)
    for number in range(12):
        log.append([event("launch", "policy", "ALLOWED", user="mally", job=f"j{number}")])
    assert (
        verify(ten, public_key=public_key_of(key)).problems[0].startswith(f"{ten.log}:10: sequence 10 is not the event")
    )


def test_a_checkpoint_kept_elsewhere(ten: AuditFiles, key: bytes, tmp_path: Path) -> None:
    copy = tmp_path / "kept"
    copy.write_bytes(checkpoint(ten, key).line() + b"\n")
    for path in (ten.log, ten.head, ten.checkpoints):
        os.unlink(path)
    assert verify(ten, public_key=public_key_of(key)).ok
    problems = verify(ten, public_key=public_key_of(key), against=[str(copy)]).problems
    assert problems[0].startswith("sequence 10 is missing, which the checkpoint of")


@pytest.mark.parametrize(
    ("old", "new"), [(b'"seq":10', b'"seq":9'), (b'"time":"2', b'"time":"3'), (b'"signature":"', b'"signature":"zz')]
)
def test_a_changed_checkpoint_is_not_ours(ten: AuditFiles, key: bytes, old: bytes, new: bytes) -> None:
    checkpoint(ten, key)
    with open(ten.checkpoints, "r+b") as stream:
        data = stream.read().replace(old, new)
        stream.seek(0)
        stream.truncate()
        stream.write(data)
    assert "signature of the checkpoint" in verify(ten, public_key=public_key_of(key)).problems[0]


def test_other_keys_and_no_key_are_noted(ten: AuditFiles, key: bytes) -> None:
    checkpoint(ten, key)
    assert "are not verified" in verify(ten).notes[0]
    other = Ed25519PrivateKey.generate().public_key()
    result = verify(ten, public_key=other)
    assert "another key" in result.notes[0]
    assert result.checkpoints == 0


@pytest.mark.parametrize(
    "line", [b"", b"[]", b"{}", b'{"seq":"1","digest":"","time":"","key":"","signature":""}', b"\xff"]
)
def test_lines_that_are_no_checkpoint_are_named(ten: AuditFiles, line: bytes) -> None:
    with open(ten.checkpoints, "wb") as stream:
        stream.write(line + b"\n")
    assert read_checkpoints(ten.checkpoints) == ([], [f"{ten.checkpoints}:1: not a checkpoint"])
    assert not verify(ten).ok


def test_keys_that_cannot_be_used_say_why(ten: AuditFiles, key: bytes, tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(key)
    path.chmod(0o600)
    assert read_key(str(path)) == key
    path.chmod(0o644)
    with pytest.raises(AuditError, match="can be read by others"):
        read_key(str(path))
    with pytest.raises(AuditError, match="cannot be read"):
        checkpoint(ten, b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    with pytest.raises(AuditError, match="public key cannot be read"):
        public_key_of(b"nonsense")
    with pytest.raises(AuditError, match="No such file"):
        read_key(str(tmp_path / "missing"))


def test_there_is_nothing_to_sign_before_the_first_event(files: AuditFiles, key: bytes) -> None:
    with pytest.raises(AuditError, match="no audit head"):
        checkpoint(files, key)


def test_rotation_keeps_the_chain(ten: AuditFiles) -> None:
    assert rotate(ten) == ten.log + ".1"
    AuditLog.at(ten).append([event("launch", "policy")])
    assert rotate(ten) == ten.log + ".1"
    assert sorted(os.listdir(os.path.dirname(ten.log))) == ["audit.jsonl", "audit.jsonl.1", "audit.jsonl.2"]
    result = verify(ten)
    assert (result.problems, result.notes, result.events) == ([], [], 13)
    with open(ten.log, "rb") as stream:
        first = json.loads(stream.readline())
    with open(ten.log + ".1", "rb") as stream:
        assert first["prev"] == line_digest(stream.read().split(b"\n")[-2])
    assert first["detail"] == {"closed": "audit.jsonl.1", "last": 12}


def test_a_segment_that_was_changed_or_removed_is_found(ten: AuditFiles) -> None:
    rotate(ten)
    rotate(ten)
    with open(ten.log + ".2", "rb") as stream:
        data = stream.read()
    with open(ten.log + ".2", "wb") as stream:
        stream.write(data.replace(b"alice", b"mally", 1))
    assert verify(ten).problems[0].startswith(f"{ten.log}.2:2:")
    os.unlink(ten.log + ".1")
    assert any(problem.startswith(f"{ten.log}:1: does not follow") for problem in verify(ten).problems)


def test_only_so_many_segments_are_kept_and_verify_says_so(ten: AuditFiles) -> None:
    for _ in range(4):
        rotate(ten, keep=2)
    assert sorted(os.listdir(os.path.dirname(ten.log))) == ["audit.jsonl", "audit.jsonl.1", "audit.jsonl.2"]
    result = verify(ten)
    assert result.ok
    assert "older segments are not here" in result.notes[0]


def test_a_small_log_is_not_rotated(ten: AuditFiles) -> None:
    assert rotate(ten, at_least=10**6) is None


@pytest.mark.parametrize("made", [False, True])
def test_a_rotation_cut_short_and_one_by_logrotate_go_on(ten: AuditFiles, made: bool) -> None:
    os.rename(ten.log, ten.log + ".1")
    if made:  # logrotate's `create`
        os.close(os.open(ten.log, os.O_CREAT | os.O_EXCL, 0o640))
    AuditLog.at(ten).append([event("launch", "policy")])
    result = verify(ten)
    assert (result.problems, result.notes, result.events) == ([], [], 12)


def test_a_half_line_is_repaired_before_rotation(ten: AuditFiles) -> None:
    with open(ten.log, "ab") as stream:
        stream.write(b'{"a')
    rotate(ten)
    with open(ten.log + ".1", "rb") as stream:
        assert json.loads(stream.read().split(b"\n")[-2])["event"] == "audit.repaired"
    assert verify(ten).ok


def test_problems_are_bounded(ten: AuditFiles) -> None:
    with open(ten.log, "wb") as stream:
        stream.write(b"x\n" * 1000)
    assert len(verify(ten).problems) <= 22


def test_the_verification_is_plain_data(ten: AuditFiles) -> None:
    data: dict[str, Any] = verify(ten).to_data()
    assert json.loads(json.dumps(data)) == data
