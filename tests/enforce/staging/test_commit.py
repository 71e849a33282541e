"""A commit by layers made by hand: whose file it is, what is kept of an old one, what cannot be replaced."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from launcher.enforce.staging.baseline import Baseline, File
from launcher.enforce.staging.changes import changes
from launcher.enforce.staging.commit import Settings, commit
from launcher.enforce.staging.judge import judge
from launcher.enforce.staging.layers import Layers
from launcher.enforce.staging.review import review
from launcher.enforce.staging.tree import DIRECTORY, identity
from launcher.errors import EnforcementError
from launcher.kernel import libc
from tests.enforce.staging.stage import allow, room
from tests.kernel.filtered import in_child

ROOT = os.geteuid() == 0


class Room:
    def __init__(self, base: Path) -> None:
        self.base = base
        for name in ("host", "upper", "lower"):
            (base / name).mkdir(exist_ok=True)

    def old(self, name: str, text: str) -> Path:
        for layer in ("host", "lower"):
            (self.base / layer / name).write_text(text)
        return self.base / "host" / name

    def new(self, name: str, text: str) -> None:
        (self.base / "upper" / name).write_text(text)

    def layers(self) -> Layers:
        files = {}
        for path in (self.base / "host").iterdir():
            found = path.lstat()
            files[path.name] = File(identity(found), found.st_ctime_ns, readable=True)
        upper, lower, host = (os.open(self.base / name, DIRECTORY) for name in ("upper", "lower", "host"))
        return Layers("area0", str(self.base / "host"), (upper, lower, host), Baseline(files))

    def commit(self, layers: Layers | None = None, **settings: Any) -> dict[str, tuple[str, str]]:
        layers = layers or self.layers()
        found = changes(layers.upper, layers.lower, "area0", layers.directory)
        verdict = judge(found, allow(layers.directory, "file.read,write,append,delete:**", "path.write:**"))
        report = commit(verdict, [layers], Settings(str(self.base / "state"), "j", 0o022, **settings))
        return {entry["path"].rpartition("/")[2]: (entry["outcome"], entry["reason"]) for entry in report.entries}


def taking(uid: int, how: str) -> Callable[[], None]:
    def take() -> None:
        os.setgroups([])
        if how == "fsuid":
            libc.setfsgid(uid)
            libc.setfsuid(uid)
        elif how == "effective":
            os.setegid(uid)
            os.seteuid(uid)
        else:
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)

    return take


@pytest.mark.skipif(not ROOT, reason="only root can make files of others")
@pytest.mark.parametrize(
    ("how", "mode", "wanted"),
    [("fsuid", 0o666, "committed"), ("effective", 0o666, "committed"), ("real", 0o666, "refused"),
     ("fsuid", 0o644, "refused"), ("effective", 0o600, "refused")],
)  # fmt: skip
def test_a_file_of_somebody_else_keeps_its_owner_or_is_left_alone(how: str, mode: int, wanted: str) -> None:
    """The user's directory holds a file of uid 1000: the user may write to it if its mode says so, and not own it."""
    with room(65534) as path:
        place = Room(Path(path))
        host = place.old("f", "old")
        place.new("f", "new")
        for name in ("upper", "lower", "upper/f", "lower/f"):
            os.chown(f"{path}/{name}", 65534, 65534)
        os.chown(host, 1000, 1000)
        host.chmod(mode)

        def body() -> Any:
            layers = place.layers()
            taking(65534, how)()
            found = place.commit(layers)
            assert libc.setfsuid(-1) == 65534, "the user's ids are back"
            return found

        outcome, _reason = in_child(body)["f"]
        found = host.stat()
        assert (outcome, host.read_text()) == (wanted, "new" if wanted == "committed" else "old")
        assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (1000, 1000, mode)
        assert [name for name in os.listdir(f"{path}/host") if name != "f"] == []


@pytest.mark.skipif(not ROOT, reason="only root can make files of others")
def test_the_user_s_own_rights_are_not_exceeded() -> None:
    """A directory that the user may not write to: the grant is there, the right is not."""
    with room(65534) as path:
        place = Room(Path(path))
        place.old("f", "old")
        place.new("f", "new")
        place.new("g", "new")
        os.chown(f"{path}/host", 0, 0)

        def body() -> Any:
            layers = place.layers()
            taking(65534, "effective")()
            return place.commit(layers)

        assert {outcome for outcome, _ in in_child(body).values()} == {"failed"}
        assert os.listdir(f"{path}/host") == ["f"]


def test_set_id_and_capabilities_go_with_the_old_content(tmp_path: Path) -> None:
    place = Room(tmp_path)
    host = place.old("tool", "old")
    host.chmod(0o6755)
    place.new("tool", "new")
    assert place.commit()["tool"][0] == "committed"
    assert stat.S_IMODE(host.stat().st_mode) == 0o755


def test_an_access_list_is_kept_and_a_default_one_not_added(tmp_path: Path) -> None:
    acl = bytes.fromhex("0200000001000600ffffffff020004000100000004000400ffffffff10000400ffffffff20000000ffffffff")
    place = Room(tmp_path)
    with_acl, without = place.old("a", "old"), place.old("b", "old")
    try:
        os.setxattr(with_acl, "system.posix_acl_access", acl)
    except OSError:
        pytest.skip("the file system has no access lists")
    os.setxattr(tmp_path / "host", "system.posix_acl_default", acl)
    mode = without.stat().st_mode
    place.new("a", "new")
    place.new("b", "new")
    assert {outcome for outcome, _ in place.commit().values()} == {"committed"}
    assert os.getxattr(with_acl, "system.posix_acl_access") == acl
    assert "system.posix_acl_access" not in os.listxattr(without)
    assert without.stat().st_mode == mode


def test_a_journal_that_cannot_be_written_commits_nothing(tmp_path: Path) -> None:
    place = Room(tmp_path)
    host = place.old("a", "old")
    place.new("a", "new")
    (tmp_path / "state").write_text("in the way")
    with pytest.raises(EnforcementError, match="journal"):
        place.commit()
    assert host.read_text() == "old"
    assert os.listdir(tmp_path / "host") == ["a"]


@pytest.mark.skipif(not ROOT, reason="mounting a small file system needs root")
@pytest.mark.parametrize("atomic", [False, True])
def test_a_full_disk_leaves_whole_files(tmp_path: Path, atomic: bool) -> None:
    def body() -> Any:
        from launcher.kernel.abi import CLONE_NEWNS, MS_PRIVATE, MS_REC

        libc.unshare(CLONE_NEWNS)
        libc.mount("none", "/", "none", MS_REC | MS_PRIVATE)
        (tmp_path / "host").mkdir()
        libc.mount("tmpfs", str(tmp_path / "host"), "tmpfs", 0, "size=1m")
        place = Room(tmp_path)
        for name in "abcdef":
            place.old(name, "old")
            place.new(name, name * 400_000)
        found = place.commit(atomic=atomic)
        content = {path.name: path.read_text()[:3] for path in (tmp_path / "host").iterdir()}
        return [found, content]

    found, content = in_child(body)
    assert set(content) == set("abcdef")
    for name, (outcome, _reason) in found.items():
        assert content[name] == (name * 3 if outcome == "committed" else "old"), (name, outcome)
    committed = [name for name, (outcome, _) in found.items() if outcome == "committed"]
    assert len(committed) == (0 if atomic else 2)
    assert "No space left" in str(found)


def test_a_live_lower_that_changes_while_it_is_compared_stops_nothing(tmp_path: Path) -> None:
    import threading

    (tmp_path / "host" / "d").mkdir(parents=True)
    (tmp_path / "host" / "d" / "x").write_text("old")
    (tmp_path / "host" / "f").write_text("old")
    (tmp_path / "upper" / "d").mkdir(parents=True)
    (tmp_path / "upper" / "d" / "x").write_text("new")
    (tmp_path / "upper" / "f").write_text("new")
    upper, host = os.open(tmp_path / "upper", DIRECTORY), os.open(tmp_path / "host", DIRECTORY)
    stop = threading.Event()

    def flip() -> None:
        while not stop.is_set():
            for name in ("d", "f", "d/x"):
                os.rename(tmp_path / "host" / name, tmp_path / "aside")
                os.symlink("/", tmp_path / "host" / name)
                os.unlink(tmp_path / "host" / name)
                os.rename(tmp_path / "aside", tmp_path / "host" / name)

    thread = threading.Thread(target=flip)
    thread.start()
    seen = set()
    try:
        for _ in range(600):
            found = changes(upper, host, "area0", str(tmp_path / "host"))
            seen |= {repr(change.kind) for change in found}
            assert {change.inside for change in found} == {"d", "d/x", "f"} or {change.inside for change in found} == {
                "d/x",
                "f",
            }
    finally:
        stop.set()
        thread.join()
    assert "'modified'" in seen


def test_many_files_in_one_commit(tmp_path: Path) -> None:
    place = Room(tmp_path)
    for number in range(300):
        place.old(f"f{number}", "old")
        place.new(f"f{number}", f"new {number}")
    assert {outcome for outcome, _ in place.commit().values()} == {"committed"}
    assert {path.read_text() for path in (tmp_path / "host").iterdir()} == {f"new {number}" for number in range(300)}


def test_review_shows_changes_and_text_differences_and_no_escapes(tmp_path: Path) -> None:
    place = Room(tmp_path)
    place.old("a.txt", "one\ntwo\n")
    place.old("bin", "\0old")
    place.new("a.txt", "one\n2 \x1b]52;c;evil\x07\n")
    place.new("bin", "\0new")
    place.new("e\x1b[2Jvil", "x")
    layers = place.layers()
    verdict = judge(
        changes(layers.upper, layers.lower, "area0", layers.directory),
        allow(layers.directory, "file.write:*.txt", "file.write:bin"),
    )
    text = "\n".join(review(verdict, [layers]))
    assert "-two" in text
    assert "+2 \\x1b]52;c;evil\\x07" in text
    assert "refused  + " in text
    assert "(binary, or larger than 256 KiB or 4000 lines)" in text
    assert "\x1b" not in text
