"""Staged writes end to end: a real overlay, a forked job, and what the host looks like afterwards."""

from __future__ import annotations

import os
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.capability import Limits
from tests.enforce.staging.stage import USERS, Room, Stage, allow, outcomes, room, write

pytestmark = pytest.mark.kernel


@pytest.fixture(params=USERS, ids=[f"uid{uid}" for uid in USERS])
def place(request: pytest.FixtureRequest) -> Iterator[Room]:
    with room(request.param) as base:
        yield Room(base, request.param)


def test_what_is_granted_is_committed_and_the_rest_is_discarded(place: Room) -> None:
    for name in ("a.txt", "b.txt", "log", "gone.txt", "keep.txt", "secret.key"):
        place.put(name, f"old {name}")

    def job() -> None:
        write("a.txt", "new")
        write("log", " more", "a")
        os.unlink("gone.txt")
        os.unlink("keep.txt")
        write("made.txt", "made")
        write("made.bin", "x")
        os.mkdir("d")
        write("d/e.txt", "below")
        os.mkdir("empty")

    found = place.run(["file.read,write:*.txt", "file.write:d/*.txt", "file.append:log", "file.delete:gone.txt"], job)
    assert outcomes(found) == {
        "modified a.txt": "committed", "appended log": "committed", "removed gone.txt": "committed",
        "removed keep.txt": "refused", "created made.txt": "committed", "created made.bin": "refused",
        "mkdir d": "committed", "created d/e.txt": "committed", "mkdir empty": "refused",
    }  # fmt: skip
    assert place.names() == ["a.txt", "b.txt", "d", "d/e.txt", "keep.txt", "log", "made.txt", "secret.key"]
    assert (place.read("a.txt"), place.read("log"), place.read("d/e.txt")) == ("new", "old log more", "below")
    refused = next(entry for entry in found if entry["change"] == "removed" and entry["outcome"] == "refused")
    assert refused["operation"] == "file.delete"
    assert "no grant" in refused["reason"]


def test_the_job_sees_granted_names_only_and_reads_none_that_it_may_not(place: Room) -> None:
    """Kernel-facts 2: the lower of an overlay is all visible, so it is a snapshot of what is granted."""
    place.put("in.csv", "data")
    place.put("secret.key", "KEY")
    place.put("out.txt", "SECRET OLD REPORT")
    place.put("big.log", "SECRET" * 20_000)
    place.put("sub/secret.key", "KEY")
    place.put("sub2/x.csv", "1")

    def job() -> None:
        assert sorted(os.listdir(".")) == ["big.log", "in.csv", "out.txt", "sub2"], os.listdir(".")
        assert Path("in.csv").read_text() == "data"
        for name, size in (("out.txt", 17), ("big.log", 120_000)):
            assert os.stat(name).st_size == size
            assert b"SECRET" not in Path(name).read_bytes()
        write("out.txt", "new")
        write("big.log", "!", "a")

    found = place.run(["file.read:**/*.csv", "file.read:*.csv", "file.write:*.txt", "file.append:*.log"], job)
    assert outcomes(found) == {"modified out.txt": "committed", "appended big.log": "committed"}
    assert place.read("out.txt") == "new"
    assert place.read("big.log") == "SECRET" * 20_000 + "!"


@pytest.mark.parametrize("size", [1000, 1_000_000])
def test_a_partial_write_to_a_file_that_may_not_be_read_is_refused(place: Room, size: int) -> None:
    """What the job's file holds around the write is the placeholder, not the host's content."""
    place.put("f", "x" * size)

    def job() -> None:
        fd = os.open("f", os.O_WRONLY)
        os.pwrite(fd, b"new", 300)

    (entry,) = place.run(["file.write:f"], job)
    assert (entry["outcome"], place.read("f")) == ("refused", "x" * size)
    assert "written in part" in entry["reason"]


def test_atomic_save_and_renames(place: Room) -> None:
    place.put("doc.txt", "old")
    place.put("a.txt", "A")

    def job() -> None:
        write("doc.txt.tmp~", "new")
        os.rename("doc.txt.tmp~", "doc.txt")
        os.rename("a.txt", "b.txt")

    found = place.run(["file.read,write,delete:*.txt"], job)
    assert outcomes(found) == {
        "modified doc.txt": "committed",
        "removed a.txt": "committed",
        "created b.txt": "committed",
    }
    assert (place.names(), place.read("doc.txt"), place.read("b.txt")) == (["b.txt", "doc.txt"], "new", "A")


def test_a_rename_without_the_right_to_delete_leaves_the_source(place: Room) -> None:
    place.put("a.txt", "A")
    found = place.run(["file.read,write:*.txt"], lambda: os.rename("a.txt", "b.txt"))
    assert outcomes(found) == {"removed a.txt": "refused", "created b.txt": "committed"}
    assert place.names() == ["a.txt", "b.txt"]


def test_directories_are_made_and_removed_under_path_write(place: Room) -> None:
    place.put("old/x", "1")
    place.put("old/deep/y", "2")
    place.put("kept/x", "1")
    place.put("kept/hidden.key", "K")

    def job() -> None:
        shutil.rmtree("old")
        shutil.rmtree("kept")
        os.makedirs("new/a/b")
        write("new/a/f", "f")

    rules = ["file.read,write,delete:**", "path.read,write:**", "!file.read,write,delete:**/*.key"]
    found = outcomes(place.run(rules, job))
    assert place.names() == ["kept", "kept/hidden.key", "new", "new/a", "new/a/b", "new/a/f"]
    assert found["rmdir old"] == found["removed old/deep/y"] == found["mkdir new/a/b"] == "committed"
    assert (found["removed kept/x"], found["rmdir kept"]) == ("committed", "conflict")


def test_a_directory_becomes_a_file_and_a_file_a_directory(place: Room) -> None:
    place.put("d/x", "1")
    place.put("f", "2")

    def job() -> None:
        os.unlink("d/x")
        os.rmdir("d")
        write("d", "now a file")
        os.unlink("f")
        os.mkdir("f")
        write("f/in", "now a directory")

    found = outcomes(place.run(["file.read,write,delete:**", "path.read,write:**"], job))
    assert set(found.values()) == {"committed"}, found
    assert (place.read("d"), place.read("f/in")) == ("now a file", "now a directory")


def test_attack_8_a_directory_removed_and_made_anew_is_judged_name_by_name(place: Room) -> None:
    """The new directory is opaque in the upper; names of the lower that are not in it are removals."""
    place.put("d/keep", "1")
    place.put("d/old", "2")

    def job() -> None:
        os.unlink("d/keep")
        os.unlink("d/old")
        os.rmdir("d")
        os.mkdir("d")
        write("d/new", "3")

    found = outcomes(place.run(["file.read,write:**", "file.delete:d/old", "path.read,write:**"], job))
    assert found == {"removed d/keep": "refused", "removed d/old": "committed", "created d/new": "committed"}
    assert place.names() == ["d", "d/keep", "d/new"]


def test_below_a_directory_made_anew_the_old_one_is_hidden_all_the_way_down(place: Room) -> None:
    """Only the topmost new directory is marked opaque."""
    place.put("d/e/old", "1")
    place.put("d/e/f/old", "2")

    def job() -> None:
        shutil.rmtree("d")
        os.makedirs("d/e/f/g")

    found = outcomes(place.run(["file.read,write,delete:**", "path.read,write:**"], job))
    assert found == {"removed d/e/old": "committed", "removed d/e/f/old": "committed", "mkdir d/e/f/g": "committed"}
    assert place.names() == ["d", "d/e", "d/e/f", "d/e/f/g"]


def test_existing_files_keep_mode_owner_and_attributes_new_ones_follow_the_umask(place: Room) -> None:
    path = place.put("a.txt", "old", mode=0o640)
    xattrs = True
    try:
        os.setxattr(path, "user.note", b"kept")
    except OSError:
        xattrs = False

    def job() -> None:
        os.chmod("a.txt", 0o777)
        write("a.txt", "new")
        write("b.txt", "b")
        os.chmod("b.txt", 0o777)
        write("c.txt", "c")
        os.chmod("c.txt", 0o600)
        os.mkdir("d", 0o700)
        write("d/x.txt", "")

    place.run(["file.read,write:**/*.txt"], job)
    modes = {name: stat.S_IMODE((place.host / name).stat().st_mode) for name in place.names()}
    assert modes == {"a.txt": 0o640, "b.txt": 0o644, "c.txt": 0o600, "d": 0o700, "d/x.txt": 0o644}
    assert {(place.host / name).stat().st_uid for name in place.names()} == {place.uid}
    assert not xattrs or os.getxattr(place.host / "a.txt", "user.note") == b"kept"


def test_a_changed_mode_alone_is_reported_and_not_kept(place: Room) -> None:
    path = place.put("a.txt", "old", mode=0o600)
    (entry,) = place.run(["file.read,write:*.txt"], lambda: os.chmod("a.txt", 0o666))
    assert (entry["change"], entry["outcome"], stat.S_IMODE(path.stat().st_mode)) == ("mode", "refused", 0o600)


def test_sizes(place: Room) -> None:
    def job() -> None:
        write("small", "x" * 10)
        write("large", "x" * 11)

    found = outcomes(place.run(["file.write:*"], job, constraints={"max_file_size": 10}))
    assert found == {"created small": "committed", "created large": "refused"}
    found = outcomes(place.run(["file.write:*"], lambda: write("n", "x" * 6), limits=Limits(max_file_size=5)))
    assert found == {"created n": "refused"}


def test_attack_82_a_sparse_file_and_hard_links_do_not_fill_the_host(place: Room) -> None:
    def job() -> None:
        fd = os.open("sparse", os.O_CREAT | os.O_WRONLY)
        os.ftruncate(fd, 8 << 40)
        write("m", "x" * (10 << 20))
        for number in range(20):
            os.link("m", f"m{number}")

    found = place.run(["file.read,write:*"], job)
    by_name = outcomes(found)
    assert by_name["created sparse"] == "refused"
    assert sum(entry["size"] for entry in found if entry["outcome"] == "committed") <= 64 << 20
    assert sum(path.stat().st_size for path in place.host.iterdir()) <= 64 << 20


def test_commit_success_is_all_or_nothing(place: Room) -> None:
    place.put("a.txt", "old")

    def job() -> None:
        write("a.txt", "new")
        write("b.bin", "not granted")

    found = outcomes(place.run(["file.read,write:*.txt"], job, success_only=True))
    assert found == {"modified a.txt": "refused", "created b.bin": "refused"}
    assert place.names() == ["a.txt"]
    assert place.read("a.txt") == "old"


def test_commit_success_takes_back_what_it_did_when_the_host_changed(place: Room) -> None:
    place.put("a.txt", "old")
    place.put("z.txt", "old")
    allowed = allow(str(place.host), "file.read,write,delete:*.txt")

    def job() -> None:
        write("a.txt", "new")
        write("m.txt", "new")
        write("z.txt", "new")

    found = place.do(lambda stage: stage.run(
        allowed, job, success_only=True, before_commit=lambda: write(f"{stage.host}/z.txt", "host's own")))  # fmt: skip
    assert set(outcomes(found).values()) == {"refused", "conflict"}
    assert (place.names(), place.read("a.txt"), place.read("z.txt")) == (["a.txt", "z.txt"], "old", "host's own")


@pytest.mark.parametrize("live", [False, True])
def test_what_the_host_changed_meanwhile_is_a_conflict(place: Room, live: bool) -> None:
    for name in ("a", "b", "c", "d"):
        place.put(name, "old")
    os.utime(place.host / "a", ns=(1, 1))
    time.sleep(0.02)  # a live lower is compared with the kernel's coarse clock of the launch
    allowed = allow(str(place.host), "file.read,write,delete:**", "path.read:**")

    def job() -> None:
        write("a", "job's")
        os.unlink("b")
        write("c", "job's")
        write("new", "job's")
        write("d", "job's")

    def meanwhile(stage: Stage) -> None:
        write(f"{stage.host}/a", "host")
        os.utime(f"{stage.host}/a", ns=(1, 1))
        write(f"{stage.host}/b", "host")
        write(f"{stage.host}/c.tmp", "host")
        os.rename(f"{stage.host}/c.tmp", f"{stage.host}/c")
        write(f"{stage.host}/new", "host")

    found = place.do(lambda stage: stage.run(allowed, job, live=live, before_commit=lambda: meanwhile(stage)))
    kinds = {entry["path"].rpartition("/")[2]: entry["outcome"] for entry in found}
    assert kinds == {"a": "conflict", "b": "conflict", "c": "conflict", "new": "conflict", "d": "committed"}
    assert {name: place.read(name) for name in place.names()} == {
        "a": "host", "b": "host", "c": "host", "new": "host", "d": "job's",
    }  # fmt: skip


def test_appends_are_applied_again_to_what_the_host_has(place: Room) -> None:
    place.put("log", "one\n")
    place.put("blind", "one\n")
    place.put("cut", "one\ntwo\n")
    allowed = allow(str(place.host), "file.read,append:log", "file.append:blind", "file.read,append:cut")

    def job() -> None:
        for name in ("log", "blind", "cut"):
            write(name, "job\n", "a")

    def meanwhile(stage: Stage) -> None:
        write(f"{stage.host}/log", "host\n", "a")
        write(f"{stage.host}/blind", "host\n", "a")
        write(f"{stage.host}/cut", "other\n")

    found = place.do(lambda stage: stage.run(allowed, job, before_commit=lambda: meanwhile(stage)))
    assert outcomes(found) == {"appended log": "committed", "appended blind": "committed", "appended cut": "conflict"}
    assert place.read("log") == place.read("blind") == "one\nhost\njob\n"
    assert place.read("cut") == "other\n"


def test_append_only_files_cannot_be_rewritten(place: Room) -> None:
    for name in ("a.log", "b.log", "c.log"):
        place.put(name, "one\n")

    def job() -> None:
        write("a.log", "ONE\ntwo\n")
        os.truncate("b.log", 2)
        write("c.log", "one\ntwo\n")  # rewritten, with the old content as an unchanged beginning
        write("new.log", "x")

    found = outcomes(place.run(["file.read,append:*.log"], job))
    assert found == {
        "modified a.log": "refused",
        "modified b.log": "refused",
        "appended c.log": "committed",
        "created new.log": "committed",
    }
    assert (place.read("a.log"), place.read("b.log"), place.read("c.log")) == ("one\n", "one\n", "one\ntwo\n")


def test_a_file_with_a_second_name_is_replaced_only_when_asked(place: Room) -> None:
    path = place.put("a", "old")
    os.link(path, Path(place.base) / "elsewhere")
    (entry,) = place.run(["file.read,write:a"], lambda: write("a", "new"))
    assert (entry["outcome"], place.read("a")) == ("refused", "old")
    (entry,) = place.run(["file.read,write:a"], lambda: write("a", "new"), break_links=True)
    assert (entry["outcome"], place.read("a"), (Path(place.base) / "elsewhere").read_text()) == (
        "committed",
        "new",
        "old",
    )


def test_an_untouched_or_rewritten_same_file_is_no_change(place: Room) -> None:
    path = place.put("a", "same")
    before = path.stat()
    assert place.run(["file.read,write:a"], lambda: write("a", "same")) == []
    assert path.stat().st_ino == before.st_ino


def test_live_lower_sees_everything_and_commits_the_same_way(place: Room) -> None:
    place.put("a", "old")
    place.put("deep/tree/x", "old")
    time.sleep(0.02)

    def job() -> None:
        write("deep/tree/x", "new")
        write("deep/tree/y", "new")
        os.unlink("a")

    found = outcomes(place.run(["file.read,write:**", "path.read:**"], job, live=True))
    assert found == {"removed a": "refused", "modified deep/tree/x": "committed", "created deep/tree/y": "committed"}
    assert (place.read("a"), place.read("deep/tree/x"), place.read("deep/tree/y")) == ("old", "new", "new")
