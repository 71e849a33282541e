"""Every interleaving of one step with one act of the host: what the host wrote is never lost, and nothing is left.

The host acts at the n-th call that the step makes, for every n (as in test_crash), so no lucky timing is needed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from launcher.enforce.staging import steps
from launcher.enforce.staging.layers import Places
from launcher.enforce.staging.steps import CREATE, REMOVE, REPLACE, ConflictError, Step
from launcher.enforce.staging.tree import DIRECTORY, identity


def write(path: Path, text: str) -> None:
    path.write_text(text)


def host_replaces(path: Path) -> None:
    write(path.parent / "other", "host")
    os.rename(path.parent / "other", path)


def host_writes(path: Path) -> None:
    write(path, "host")


def host_removes(path: Path) -> None:
    path.unlink(missing_ok=True)


def host_links(path: Path) -> None:
    os.symlink("/etc/passwd", path.parent / "other")
    os.rename(path.parent / "other", path)


class Case:
    def __init__(self, base: Path, kind: str) -> None:
        self.host = base
        base.mkdir()
        self.target = base / "f"
        if kind != CREATE:
            write(self.target, "old")
            os.utime(self.target, ns=(1, 1))
        self.fd = os.open(base, DIRECTORY)
        self.places = Places([("a", self.fd)])
        self.step = Step(kind, "a", "", "f", ".mlsandbox-j-0")
        if kind != REMOVE:
            write(base / self.step.temporary, "ours")
            self.step.made = identity((base / self.step.temporary).stat())
        if kind != CREATE:
            self.step.expected = identity(self.target.stat())

    def run(self, at: int, act: Callable[[Path], None]) -> tuple[str, bool]:
        """The outcome, and whether the host came to act."""
        left, acted = at, False

        def count(_frame: object, event: str, _arg: object) -> None:
            nonlocal left, acted
            left -= event in {"call", "c_call", "return", "c_return"}
            if left <= 0 and not acted:
                acted = True
                act(self.target)

        sys.setprofile(count)
        try:
            steps.apply(self.step, self.places)
            outcome = "committed"
        except ConflictError:
            outcome = "conflict"
        finally:
            sys.setprofile(None)
        steps.clear(self.step, self.places)
        self.places.close()
        os.close(self.fd)
        return outcome, acted

    def content(self) -> str | None:
        if self.target.is_symlink():
            return "link"
        return self.target.read_text() if self.target.exists() else None


FINAL: dict[Callable[[Path], None], str | None] = {
    host_replaces: "host",
    host_writes: "host",
    host_removes: None,
    host_links: "link",
}


@pytest.mark.parametrize("kind", [CREATE, REPLACE, REMOVE])
@pytest.mark.parametrize("act", FINAL, ids=lambda act: act.__name__)
def test_the_host_s_act_survives_at_every_point(tmp_path: Path, kind: str, act: Callable[[Path], None]) -> None:
    seen = set()
    for at in range(1, 400):
        case = Case(tmp_path / f"c{at}", kind)
        outcome, acted = case.run(at, act)
        if not acted:
            break
        seen.add(outcome)
        content = case.content()
        if act is host_removes and kind == CREATE and content == "ours":
            assert outcome == "committed"  # it removed nothing: the file came after
        else:
            assert content == FINAL[act], (at, outcome, content)
        assert os.listdir(case.host) == ([] if content is None else ["f"]), (at, outcome)
    else:
        raise AssertionError("the step makes more calls than were tried")
    assert at > 10
    assert seen == {"committed", "conflict"} or (kind == CREATE and act is host_removes)


@pytest.mark.parametrize("kind", [CREATE, REPLACE, REMOVE])
def test_a_step_can_be_repeated_and_taken_back(tmp_path: Path, kind: str) -> None:
    case = Case(tmp_path / "c", kind)
    before = case.content()
    for _ in range(2):
        steps.apply(case.step, case.places)
        assert case.content() == {CREATE: "ours", REPLACE: "ours", REMOVE: None}[kind]
    for _ in range(2):
        steps.revert(case.step, case.places)
        assert case.content() == before
    steps.clear(case.step, case.places)
    assert sorted(os.listdir(case.host)) == ([] if kind == CREATE else ["f"])


def test_a_removed_directory_with_a_new_name_in_it_comes_back(tmp_path: Path) -> None:
    (tmp_path / "d" / "e").mkdir(parents=True)
    write(tmp_path / "d" / "e" / "x", "1")
    fd = os.open(tmp_path, DIRECTORY)
    step = Step(REMOVE, "a", "", "d", ".mlsandbox-j-0")
    step.expected = identity((tmp_path / "d").stat())
    step.manifest = {name: identity((tmp_path / "d" / name).stat()) for name in ("e", "e/x")}
    write(tmp_path / "d" / "e" / "new", "host's")
    with pytest.raises(ConflictError):
        steps.apply(step, Places([("a", fd)]))
    assert (tmp_path / "d" / "e" / "new").read_text() == "host's"
    os.unlink(tmp_path / "d" / "e" / "new")
    steps.apply(step, Places([("a", fd)]))
    steps.clear(step, Places([("a", fd)]))
    assert os.listdir(tmp_path) == []


def test_steps_survive_the_journal(tmp_path: Path) -> None:
    case = Case(tmp_path / "c", REPLACE)
    case.step.manifest = {"a\udcff": (1, 2, 3, 4)}
    again = Step.from_data(case.step.to_data())
    assert again.to_data() == case.step.to_data()
    assert again.expected == case.step.expected
