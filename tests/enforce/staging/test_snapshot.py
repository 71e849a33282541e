from __future__ import annotations

import os
import socket
import stat
import threading
from pathlib import Path

import pytest

from launcher.enforce.staging.areas import Area
from launcher.enforce.staging.baseline import Baseline
from launcher.enforce.staging.snapshot import Budget, Snapshot
from launcher.enforce.staging.tree import DIRECTORY
from launcher.errors import RefusedError
from tests.enforce.staging.stage import NOBODY, allow, room
from tests.kernel.filtered import in_child


class Room:
    def __init__(self, base: Path) -> None:
        self.host, self.lower = base / "host", base / "lower"
        self.host.mkdir()
        self.lower.mkdir()
        self.warnings: list[str] = []

    def put(self, name: str, content: str = "") -> Path:
        path = self.host / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        return path

    def take(self, *rules: str, binds: tuple[str, ...] = (), disk: int = 1 << 20, files: int = 100) -> Baseline:
        area = Area("a", str(self.host), live_lower=False, binds=tuple(str(self.host / name) for name in binds))
        ids = (os.geteuid(), os.getegid())
        snapshot = Snapshot(area, allow(str(self.host), *rules), Budget(disk, files), ids)
        source, target = os.open(self.host, DIRECTORY), os.open(self.lower, DIRECTORY)
        try:
            return snapshot.take(source, target)
        finally:
            self.warnings = snapshot.warnings
            os.close(source)
            os.close(target)

    def names(self) -> list[str]:
        return sorted(str(path.relative_to(self.lower)) for path in self.lower.rglob("*"))


@pytest.fixture
def place(tmp_path: Path) -> Room:
    return Room(tmp_path)


def test_content_mode_and_times_are_the_file_s_own_without_set_id(place: Room) -> None:
    path = place.put("d/tool", "content")
    path.chmod(0o6750)
    path.parent.chmod(0o2551)
    os.utime(path, ns=(1_000_000_001, 2_000_000_003))
    place.take("file.read:**")
    found, directory = (place.lower / "d" / "tool").stat(), (place.lower / "d").stat()
    assert (stat.S_IMODE(found.st_mode), found.st_mtime_ns, (place.lower / "d" / "tool").read_text()) == (
        0o750, 2_000_000_003, "content",
    )  # fmt: skip
    assert stat.S_IMODE(directory.st_mode) == 0o551
    assert directory.st_mtime_ns == path.parent.stat().st_mtime_ns


def test_only_files_and_directories_are_taken(place: Room) -> None:
    place.put("f", "x")
    (place.host / "link").symlink_to("f")
    (place.host / "out").symlink_to("/")
    os.mkfifo(place.host / "fifo")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(place.host / "socket"))
        place.take("file.read,write:**", "path.read:**")
    assert place.names() == ["f"]


def test_directories_are_there_when_something_in_them_is_or_may_be(place: Room) -> None:
    for name in ("src/a.py", "empty/secret", "out/old/secret", "listed/secret"):
        place.put(name)
    place.take("file.read:**/*.py", "file.write:out/**/*.txt", "path.read:listed")
    assert place.names() == ["listed", "out", "out/old", "src", "src/a.py"]


def test_a_tree_that_is_mounted_on_top_stays_empty(place: Room) -> None:
    place.put("data/huge", "x" * 1000)
    place.put("f")
    place.take("file.read:data/**", "file.write:*", binds=("data",), disk=10)
    assert place.names() == ["data", "f"]


@pytest.mark.parametrize(("disk", "files", "limit"), [(9, 100, "max_disk"), (100, 1, "max_files")])
def test_what_does_not_fit_refuses_the_launch(place: Room, disk: int, files: int, limit: str) -> None:
    place.put("a", "x" * 5)
    place.put("b", "x" * 5)
    with pytest.raises(RefusedError, match=limit) as caught:
        place.take("file.read:*", disk=disk, files=files)
    assert "live" in caught.value.hint


def test_a_placeholder_costs_no_scratch(place: Room) -> None:
    with open(place.put("log"), "wb") as file:
        file.truncate(1 << 40)
    baseline = place.take("file.append:log")
    assert (place.lower / "log").stat().st_size == 1 << 40
    assert (place.lower / "log").stat().st_blocks == 0
    assert not baseline.readable("log")


def test_a_denied_file_with_a_second_name_is_warned_about(place: Room) -> None:
    secret = place.put("secret.key", "K")
    os.link(secret, place.host / "copy.txt")
    place.put("alone.key", "K")
    place.take("file.read:**", "!file.read:**/*.key")
    assert place.names() == ["copy.txt"]
    (warning,) = place.warnings
    assert "secret.key is denied and has 2 names" in warning


def test_attack_5_swapping_names_for_links_while_a_snapshot_is_taken_copies_nothing_from_outside(
    tmp_path: Path,
) -> None:
    """As docker cp (CVE-2018-15664) and flatpak (CVE-2024-42472) followed them."""
    outside = tmp_path / "outside"
    (outside / "d").mkdir(parents=True)
    for name in ("f", "d/x"):
        (outside / name).write_text("SECRET")
    source = tmp_path / "host0"
    source.mkdir()
    stop = threading.Event()

    def flip() -> None:
        while not stop.is_set():
            for name in ("f", "d"):
                for target in (outside / name, None):
                    os.rename(source / name, source / "aside")
                    if target:
                        os.symlink(target, source / name)
                        os.unlink(source / name)
                    os.rename(source / "aside", source / name)

    (source / "f").write_text("mine")
    (source / "d").mkdir()
    (source / "d" / "x").write_text("mine")
    thread = threading.Thread(target=flip)
    thread.start()
    try:
        for number in range(150):
            target = tmp_path / f"lower{number}"
            target.mkdir()
            area = Area("a", str(source), live_lower=False)
            allowed = allow(str(source), "file.read,write:**", "path.read:**")
            fds = os.open(source, DIRECTORY), os.open(target, DIRECTORY)
            Snapshot(area, allowed, Budget(1 << 20, 100), (os.geteuid(), os.getegid())).take(*fds)
            assert {path.read_text() for path in target.rglob("*") if path.is_file()} <= {"mine"}
            assert not [path for path in target.rglob("*") if path.is_symlink()]
            for fd in fds:
                os.close(fd)
    finally:
        stop.set()
        thread.join()


@pytest.mark.skipif(os.geteuid() != 0, reason="root makes what the user may not read")
def test_a_grant_gives_nothing_that_the_user_may_not_read_himself() -> None:
    with room(NOBODY) as base:
        os.rmdir(f"{base}/host")
        place = Room(Path(base))
        place.put("mine", "x")
        place.put("theirs", "x").chmod(0o600)
        place.put("closed/x").parent.chmod(0o700)
        os.chown(place.lower, NOBODY, NOBODY)

        def body() -> list[list[str]]:
            place.take("file.read:**")
            return [place.names(), place.warnings]

        names, warnings = in_child(body, uid=NOBODY)
    assert names == ["mine"]
    assert [warning.rpartition("/")[2] for warning in warnings] == [
        "closed is granted and the user may not read it", "theirs is granted and the user may not read it",
    ]  # fmt: skip
