"""SIGKILL at random points of a commit, then the next start: every host file is old or new, never torn, nothing is left.

The point is the n-th call that the commit makes (sys.setprofile counts calls of Python and of C functions), so that each
point between two system calls is as likely as any other, and a seed reproduces it. MLSANDBOX_CRASHES sets the count.
"""

from __future__ import annotations

import os
import random
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from launcher.enforce.staging.baseline import Baseline, File
from launcher.enforce.staging.changes import changes
from launcher.enforce.staging.commit import Settings, commit, recover
from launcher.enforce.staging.journal import Journal, abandoned
from launcher.enforce.staging.judge import judge
from launcher.enforce.staging.layers import Layers
from launcher.enforce.staging.tree import DIRECTORY, identity
from tests.enforce.staging.stage import allow, json

CRASHES = int(os.environ.get("MLSANDBOX_CRASHES", "100"))
SEED = int(os.environ.get("MLSANDBOX_SEED", str(random.SystemRandom().getrandbits(32))))
PRELOADED = (json,)  # recovery imports it

OLD: dict[str, str | None] = {f"m{n}": f"old {n} " * 400 * n for n in range(1, 6)}
OLD |= {"log": "line\n" * 50, "r1": "gone", "r2": "gone", "d/x": "1", "d/y/z": "2", "keep": "k"}
NEW: dict[str, str | None] = {**{f"m{n}": f"NEW {n} " * 300 * n for n in range(1, 6)}, "log": "line\n" * 50 + "more\n"}
NEW |= {"r1": None, "r2": None, "d/x": None, "d/y/z": None, "keep": "k"}
NEW |= {"c1": "made", "c2": "made too" * 999, "t/a": "in a tree", "t/b/c": "deep"}
OLD |= {name: None for name in NEW if name not in OLD}
TREES = [("t/a", "t/b/c"), ("d/x", "d/y/z")]


def fill(root: Path, content: dict[str, str | None]) -> None:
    for name, text in content.items():
        if text is not None:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)


class Room:
    """A host directory and the layers as an overlay would leave them: whiteouts are 0/0 nodes, which root can make."""

    def __init__(self, base: Path) -> None:
        self.base, self.host, self.upper, self.lower = base, base / "host", base / "upper", base / "lower"
        for path in (self.host, self.upper, self.lower):
            path.mkdir(parents=True)
        fill(self.host, OLD)
        fill(self.lower, OLD)
        fill(self.upper, {name: text for name, text in NEW.items() if text != OLD[name]})
        for name in ("r1", "r2", "d"):
            os.mknod(self.upper / name, 0o020000, 0)
        found = {name: (self.host / name).stat() for name, text in OLD.items() if text is not None}
        self.baseline = Baseline(
            {name: File(identity(it), it.st_ctime_ns, readable=True) for name, it in found.items()}
        )

    def commit(self, *, atomic: bool) -> list[dict[str, Any]]:
        upper, lower, target = (os.open(path, DIRECTORY) for path in (self.upper, self.lower, self.host))
        found = changes(upper, lower, "area0", str(self.host))
        verdict = judge(found, allow(str(self.host), "file.read,write,delete,append:**", "path.write:**"))
        assert verdict.refused == []
        layers = Layers("area0", str(self.host), (upper, lower, target), self.baseline)
        return commit(verdict, [layers], Settings(str(self.base / "state"), "job1", 0o022, atomic=atomic)).entries

    def content(self) -> dict[str, str | None]:
        return {name: (self.host / name).read_text() if (self.host / name).is_file() else None for name in OLD}

    def names(self) -> set[str]:
        return {str(path.relative_to(self.host)) for path in self.host.rglob("*") if path.is_file()}


def killed_at(room: Room, call: int, *, atomic: bool) -> bool:
    """Runs the commit in a child that ends itself at the `call`-th call; False if it came to its end before."""
    pid = os.fork()
    if pid == 0:
        left = call

        def count(_frame: object, event: str, _arg: object) -> None:
            nonlocal left
            if event in {"call", "c_call"}:
                left -= 1
                if left <= 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.setprofile(count)
        try:
            room.commit(atomic=atomic)
            os._exit(0)
        except BaseException as error:
            sys.setprofile(None)
            os.write(2, f"commit: {error!r}\n".encode())
            os._exit(1)
    status = os.waitpid(pid, 0)[1]
    assert status in {0, signal.SIGKILL}, status
    return bool(status)


def calls_of_a_commit(base: Path) -> int:
    counted = 0

    def count(_frame: object, event: str, _arg: object) -> None:
        nonlocal counted
        counted += event in {"call", "c_call"}

    room = Room(base)
    sys.setprofile(count)
    try:
        entries = room.commit(atomic=False)
    finally:
        sys.setprofile(None)
    assert {entry["outcome"] for entry in entries} == {"committed"}, entries
    assert room.content() == NEW
    return counted


@pytest.fixture
def base(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("making whiteouts outside of an overlay needs root; test_stage runs as a user")
    yield tmp_path


@pytest.mark.parametrize("atomic", [False, True])
def test_every_file_is_old_or_new_after_a_crash(base: Path, atomic: bool) -> None:
    print(f"MLSANDBOX_SEED={SEED}")
    randomness = random.Random(SEED + atomic)
    total = calls_of_a_commit(base / "count")
    seen = {"finished": 0, "undone": 0, "nothing": 0}
    for number in range(CRASHES // 2):
        room = Room(base / f"r{number}")
        call = randomness.randrange(1, total)
        killed_at(room, call, atomic=atomic)
        outcomes = recover(str(room.base / "state"))
        context = (SEED, number, call, outcomes)
        content = room.content()
        for name, text in content.items():
            assert text in (OLD[name], NEW[name]), (context, name)
        for tree in TREES:
            assert len({content[name] == NEW[name] for name in tree}) == 1, (context, "a tree is one step", content)
        if atomic:
            assert content in (OLD, NEW), context
        if outcomes:
            ((job, outcome),) = outcomes
            assert (job, content) == ("job1", {"finished": NEW, "undone": OLD}[outcome]), context
        seen[outcomes[0][1] if outcomes else "nothing"] += 1
        assert room.names() == {name for name, text in content.items() if text is not None}, (context, "left over")
        assert not (room.base / "state").exists() or os.listdir(room.base / "state") == [], context
    assert CRASHES < 100 or (seen["finished"] and seen["undone"]), seen


def test_a_crash_of_the_recovery_is_recovered_too(base: Path) -> None:
    randomness = random.Random(SEED)
    total = calls_of_a_commit(base / "count")
    for number in range(10):
        room = Room(base / f"r{number}")
        killed_at(room, randomness.randrange(total // 2, total), atomic=False)
        for _ in range(3):
            pid = os.fork()
            if pid == 0:
                left = randomness.randrange(20, 400) + os.getpid() % 50

                def count(_frame: object, _event: str, _arg: object) -> None:
                    nonlocal left
                    left -= 1
                    if left <= 0:
                        os.kill(os.getpid(), signal.SIGKILL)

                sys.setprofile(count)
                recover(str(room.base / "state"))
                os._exit(0)
            os.waitpid(pid, 0)
        recover(str(room.base / "state"))
        content = room.content()
        assert all(text in (OLD[name], NEW[name]) for name, text in content.items()), (SEED, number)
        assert room.names() == {name for name, text in content.items() if text is not None}


def test_a_running_commit_is_left_alone(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path), "job1")
    journal.write({"record": "begin", "areas": {}, "temporaries": []})
    assert recover(str(tmp_path)) == []
    assert abandoned(journal.path) is None
    journal.leave()
    assert recover(str(tmp_path)) == [("job1", "undone")]
    assert os.listdir(tmp_path) == []


def test_ids_that_are_refused_leave_the_journal_alone(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path), "job1")
    journal.write({"record": "begin", "areas": {}, "temporaries": [], "ids": [0, 0, [0]]})
    journal.leave()

    def refuse(begin: dict[str, Any]) -> None:
        raise ValueError(f"ids {begin['ids']} of somebody else")

    ((_, outcome),) = recover(str(tmp_path), refuse)
    assert outcome.startswith("stuck")
    assert os.listdir(tmp_path) == ["job1.journal"]


@pytest.mark.parametrize(
    "lines",
    [
        [{"record": "begin"}],
        [{"areas": [], "temporaries": 5}],
        [{"areas": {}, "temporaries": []}, {"steps": [{}]}],
        [7],
    ],
)
def test_what_is_no_journal_is_stuck_and_no_traceback(tmp_path: Path, lines: list[Any]) -> None:
    journal = Journal(str(tmp_path), "job1")
    for line in lines:
        journal.write(line)
    journal.leave()
    ((_, outcome),) = recover(str(tmp_path), lambda begin: begin.get("ids"))
    assert outcome.startswith("stuck: this is no journal")


def test_a_torn_record_counts_as_none(tmp_path: Path) -> None:
    from launcher.enforce.staging.journal import records

    journal = Journal(str(tmp_path), "job1")
    journal.write({"record": "begin"})
    journal.write({"record": "commit"})
    journal.leave()
    whole = Path(journal.path).read_bytes()
    for size in range(len(whole)):
        Path(journal.path).write_bytes(whole[:size])
        with open(journal.path, "rb") as file:
            found = [record["record"] for record in records(file.fileno())]
        assert found == ["begin", "commit"][: whole[:size].count(b"\n") + (whole[size : size + 1] == b"\n")]


def test_a_directory_that_was_replaced_is_stuck_and_untouched(base: Path) -> None:
    """Attack 5: between crash and recovery somebody puts another directory, or a link, where the area was."""
    room = Room(base / "r")
    total = calls_of_a_commit(base / "count")
    killed_at(room, total * 2 // 3, atomic=False)
    os.rename(room.host, base / "moved")
    victim = base / "victim"
    fill(victim, OLD)
    os.symlink(victim, room.host)
    ((_, outcome),) = recover(str(room.base / "state"))
    assert outcome.startswith("stuck")
    assert {name: (victim / name).read_text() for name, text in OLD.items() if text} == {
        n: t for n, t in OLD.items() if t
    }
    room.host.unlink()
    os.rename(base / "moved", room.host)
    ((_, outcome),) = recover(str(room.base / "state"))
    assert outcome in {"finished", "undone"}
    assert room.names() == {name for name, text in room.content().items() if text is not None}
