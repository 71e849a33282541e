"""Cases of shared/attacks.md that staged writes must hold, each by the job itself in a real overlay."""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.enforce.staging.snapshot import existing_directory
from tests.enforce.staging.stage import USERS, Room, Stage, allow, outcomes, room, write

pytestmark = pytest.mark.kernel
ALL = ["file.read,write,append,delete:**", "path.read,write:**"]


@pytest.fixture(params=USERS, ids=[f"uid{uid}" for uid in USERS])
def place(request: pytest.FixtureRequest) -> Iterator[Room]:
    with room(request.param) as base:
        yield Room(base, request.param)


def test_attack_3_symlinks_made_by_the_job_never_reach_the_host(place: Room) -> None:
    place.put("a", "old")

    def job() -> None:
        os.symlink("/etc/shadow", "s")
        os.unlink("a")
        os.symlink("/etc/passwd", "a")
        os.mkdir("d")
        os.symlink("/", "d/root")

    found = outcomes(place.run(ALL, job))
    assert found == {
        "special s": "refused",
        "special a": "refused",
        "mkdir d": "committed",
        "special d/root": "refused",
    }
    assert (place.names(), place.read("a")) == (["a", "d"], "old")


def test_attack_4_a_symlink_in_a_parent_component_is_not_followed(place: Room) -> None:
    """The job makes d a link to /; the host's own d is a link to a victim: neither is followed."""
    victim = Path(place.base) / "victim"
    victim.mkdir(mode=0o777)
    place.put("d/x", "old")
    allowed = allow(str(place.host), *ALL)

    def job() -> None:
        write("d/x", "new")
        write("d/y", "new")
        os.symlink("/", "l")

    def swap(stage: Stage) -> None:
        os.rename(f"{stage.host}/d", f"{stage.base}/moved")
        os.symlink(victim, f"{stage.host}/d")

    found = place.do(lambda stage: stage.run(allowed, job, before_commit=lambda: swap(stage)))
    assert {entry["outcome"] for entry in found} == {"failed", "refused"}
    assert list(victim.iterdir()) == []
    assert (Path(place.base) / "moved" / "x").read_text() == "old"


def test_attack_5_swapping_a_directory_for_a_link_during_the_commit_touches_nothing_outside(place: Room) -> None:
    victim = Path(place.base) / "victim"
    victim.mkdir()
    (victim / "x").write_text("victim's")
    for path in (victim, victim / "x"):
        os.chown(path, place.uid, place.uid)
    for number in range(40):
        place.put(f"d{number}/x", "old")
    allowed = allow(str(place.host), *ALL)

    def job() -> None:
        for number in range(40):
            write(f"d{number}/x", "new")
            write(f"d{number}/new", "new")

    def flip(stage: Stage, stop: threading.Event) -> None:
        os.symlink(victim, f"{stage.base}/link")
        while not stop.is_set():
            for number in range(40):
                os.rename(f"{stage.host}/d{number}", f"{stage.base}/aside")
                os.rename(f"{stage.base}/link", f"{stage.host}/d{number}")
                os.rename(f"{stage.host}/d{number}", f"{stage.base}/link")
                os.rename(f"{stage.base}/aside", f"{stage.host}/d{number}")

    def body(stage: Stage) -> list[str]:
        stop = threading.Event()
        thread = threading.Thread(target=flip, args=(stage, stop))
        try:
            entries = stage.run(allowed, job, before_commit=thread.start)
        finally:
            stop.set()
            thread.join()
        return [entry["outcome"] for entry in entries]

    found = place.do(body)
    assert len(found) == 80
    assert [path.name for path in victim.iterdir()] == ["x"]
    assert (victim / "x").read_text() == "victim's"


def test_attack_6_a_link_where_the_area_is_is_no_area(tmp_path: Path) -> None:
    (tmp_path / "real" / "below").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real")
    assert existing_directory(str(tmp_path / "real" / "below" / "new")) == str(tmp_path / "real" / "below")
    assert existing_directory(str(tmp_path / "link" / "below")) == str(tmp_path)


def test_attack_7_hard_links_never_reach_the_host(place: Room) -> None:
    place.put("protected", "P")
    outside = Path(place.base) / "outside"
    outside.write_text("O")

    def job() -> None:
        for source in ("/etc/passwd", str(outside)):
            with pytest.raises(OSError, match=r"cross-device|not permitted"):
                os.link(source, "h")
        os.link("protected", "second")
        write("second", "changed through the second name")

    found = outcomes(place.run(["file.read:**", "file.write:second"], job))
    assert found == {"modified protected": "refused", "created second": "committed"}
    assert (place.read("protected"), place.read("second")) == ("P", "changed through the second name")
    assert (place.host / "second").stat().st_nlink == 1


def test_attack_8_moving_a_protected_file_or_its_ancestor_away_and_back(place: Room) -> None:
    place.put("repo/.git/hooks/pre-commit.sample", "s")
    place.put("repo/.git/config", "protected")
    rules = [*ALL, "!file.write,append,delete:**/.git/**", "!path.write:**/.git/**"]

    def job() -> None:
        import shutil

        shutil.copytree("repo/.git", "repo/g2")  # rename(2) of a lower directory is EXDEV; mv copies
        shutil.rmtree("repo/.git")
        write("repo/g2/config", "evil")
        write("repo/g2/hooks/pre-commit", "evil")
        os.rename("repo/g2", "repo/.git")

    found = place.run(rules, job)
    assert {entry["outcome"] for entry in found if "/.git/" in entry["path"]} == {"refused"}
    assert place.read("repo/.git/config") == "protected"
    assert "repo/.git/hooks/pre-commit" not in place.names()


def test_attack_9_a_protected_file_that_does_not_exist_yet(place: Room) -> None:
    """CVE-2026-25725; and no stub of it is left (sandbox-runtime#85)."""
    place.put("repo/f", "1")
    rules = [*ALL, "!file.write:**/.git/hooks/*", "!file.write:**/.claude/**", "!file.write:**/.bash_profile"]

    def job() -> None:
        for name in (".git/hooks/pre-commit", ".claude/settings.json", ".bash_profile", "ok"):
            os.makedirs(os.path.dirname(f"repo/{name}"), exist_ok=True)
            write(f"repo/{name}", "evil")

    found = outcomes(place.run(rules, job))
    assert found["created repo/.git/hooks/pre-commit"] == found["created repo/.claude/settings.json"] == "refused"
    assert found["created repo/.bash_profile"] == "refused"
    assert [name for name in place.names() if (place.host / name).is_file()] == ["repo/f", "repo/ok"]


NAMES = [b".env", b"new\nline", b"\xff\xfe", b"x" * 255, "\N{SNOWMAN}".encode(), b"[a]*?\\", b" ", b"-rf", b"%s:;$(x)"]


def test_attack_10_denied_names_in_every_spelling(place: Room) -> None:
    """A deny holds for names made by the job; a name that differs in case is another name; a directory of it too."""
    rules = [*ALL, "!file.write,append:**/.env", "!path.write:**/.env"]

    def job() -> None:
        os.mkdir("sub")
        write("sub/.env", "evil")
        write(".ENV", "other")
        os.mkdir(".env")
        write(".env/inside", "x")
        write("tmp", "evil")
        os.rename("tmp", "sub/.env")
        for name in NAMES[1:]:
            with open(b"sub/" + name, "wb") as file:
                file.write(name)

    found = place.run(rules, job)
    refused = sorted(entry["path"].partition("/host/")[2] for entry in found if entry["outcome"] == "refused")
    assert refused == [".env", ".env/inside", "sub/.env"]
    assert sorted(os.listdir(os.fsencode(place.host / "sub"))) == sorted(NAMES[1:])
    for name in NAMES[1:]:
        with open(os.fsencode(place.host) + b"/sub/" + name, "rb") as file:
            assert file.read() == name


def test_attack_10_the_snapshot_hides_denied_names_in_every_spelling(place: Room) -> None:
    for name in NAMES:
        place.put(os.fsdecode(name), "secret" if name == b".env" else "open")
    place.put("sub/.env", "secret")

    def job() -> None:
        found = sorted(os.listdir(b"."))
        assert found == sorted([*NAMES[1:], b"sub"]), found
        assert os.listdir("sub") == []

    assert place.run([*ALL, "!file.read,write,append,delete:**/.env"], job) == []


def test_attack_19_set_id_bits_never_reach_the_host(place: Room) -> None:
    place.put("old", "x", mode=0o755)

    def job() -> None:
        for name in ("old", "new"):
            write(name, "evil")
            os.chmod(name, 0o6755)
            assert os.stat(name).st_mode & 0o6000
        os.mkdir("d")
        os.chmod("d", 0o3777)
        write("d/x", "")

    place.run(ALL, job)
    modes = {name: stat.S_IMODE((place.host / name).stat().st_mode) for name in place.names()}
    assert modes == {"old": 0o755, "new": 0o644, "d": 0o755, "d/x": 0o644}


def test_attack_20_extended_attributes_made_by_the_job_never_reach_the_host(place: Room) -> None:
    place.put("old", "x")

    def job() -> None:
        for name in ("old", "new"):
            write(name, "changed")
            for xattr in ("user.evil", "security.capability", "user.overlay.opaque", "trusted.overlay.whiteout"):
                try:
                    os.setxattr(name, xattr, b"y")
                except OSError:
                    continue

    place.run(ALL, job)
    assert {xattr for name in ("old", "new") for xattr in os.listxattr(place.host / name)} <= {"security.selinux"}
    assert place.read("old") == place.read("new") == "changed"


def test_attack_18_devices_fifos_and_sockets_never_reach_the_host(place: Room) -> None:
    def job() -> None:
        import socket

        os.mkfifo("fifo")
        with socket.socket(socket.AF_UNIX) as made:
            made.bind("socket")
        try:
            os.mknod("whiteout", stat.S_IFCHR | 0o666, 0)
        except OSError:
            write("whiteout-refused", "")

    found = outcomes(place.run(ALL, job))
    assert found.pop("special fifo") == found.pop("special socket") == "refused"
    assert set(place.names()) <= {"whiteout-refused"}


def test_attack_21_whiteouts_made_by_hand_remove_nothing_that_is_not_granted(place: Room) -> None:
    """A 0/0 device that a job could make in the overlay means a removal, and is judged as one."""
    place.put("keep", "1")
    place.put("d/keep", "1")

    def job() -> None:
        for name in ("keep", "d/keep"):
            os.unlink(name)
            try:
                os.mknod(name, stat.S_IFCHR | 0o666, 0)
            except OSError:
                continue

    found = place.run(["file.read,write:**", "path.read:**"], job)
    assert {entry["outcome"] for entry in found} == {"refused"}
    assert place.names() == ["d", "d/keep", "keep"]


def test_attack_82_a_million_names_and_deep_directories_stay_in_scratch(place: Room) -> None:
    def job() -> None:
        made = 0
        try:
            for number in range(30_000):
                os.close(os.open(f"f{number}", os.O_CREAT | os.O_WRONLY))
                made += 1
        except OSError:
            pass
        assert made < 20_000, "the scratch has a limit of inodes"
        for number in range(made):
            os.unlink(f"f{number}")
        for _ in range(300):
            os.mkdir("d")
            os.chdir("d")
        write("deep", "x")

    found = place.run(ALL, job)
    assert [entry["outcome"] for entry in found if entry["change"] == "special"] == ["refused"]
    assert len(place.names()) <= 128


def test_a_job_that_takes_all_rights_from_its_files_hides_nothing(place: Room) -> None:
    place.put("a", "old")

    def job() -> None:
        write("a", "new")
        os.chmod("a", 0)
        os.mkdir("d")
        write("d/secret", "x")
        os.chmod("d/secret", 0)
        os.chmod("d", 0)

    found = outcomes(place.run(["file.read,write:a", "file.write:d/x"], job))
    assert found == {"modified a": "committed", "mkdir d": "refused", "created d/secret": "refused"}
    assert place.read("a") == "new"


def test_a_host_file_that_became_a_link_or_directory_is_never_written_through(place: Room) -> None:
    for name in ("link", "directory", "deleted"):
        place.put(name, "old")
    outside = Path(place.base) / "outside"
    outside.write_text("outside")
    os.chown(outside, place.uid, place.uid)
    allowed = allow(str(place.host), *ALL)

    def job() -> None:
        for name in ("link", "directory"):
            write(name, "evil")
        write("deleted", "+", "a")

    def meanwhile(stage: Stage) -> None:
        time.sleep(0.01)
        for name in ("link", "directory", "deleted"):
            os.unlink(f"{stage.host}/{name}")
        os.symlink(outside, f"{stage.host}/link")
        os.mkdir(f"{stage.host}/directory")

    found = place.do(lambda stage: stage.run(allowed, job, before_commit=lambda: meanwhile(stage)))
    assert not [entry for entry in found if entry["outcome"] == "committed"]
    assert outside.read_text() == "outside"
    assert place.names() == ["directory", "link"]
