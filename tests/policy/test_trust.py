"""Attacks 101 and 102: documents that a tenant could have written."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from launcher.errors import ConfigurationError
from launcher.policy.trust import MAX_BYTES, Reader, ancestors

if TYPE_CHECKING:
    from pathlib import Path

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to another user")
TENANT = 54321


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory that only its owner can write, holding one document."""
    directory = tmp_path / "policies"
    directory.mkdir(mode=0o755)
    tmp_path.chmod(0o755)
    (directory / "p.yaml").write_text("policy: {}")
    (directory / "p.yaml").chmod(0o644)
    return directory


def refused(path: Path) -> ConfigurationError:
    """What the strict reader says about `path`."""
    with pytest.raises(ConfigurationError) as caught:
        Reader(strict=True).read(str(path))
    return caught.value


def test_an_owners_document_is_read_with_the_stat_of_its_descriptor(place: Path) -> None:
    content = Reader(strict=True).read(str(place / "p.yaml"))
    assert content is not None
    assert content[0] == b"policy: {}"
    assert content[1].st_ino == (place / "p.yaml").stat().st_ino


def test_what_does_not_exist_is_none(place: Path) -> None:
    for strict in (True, False):
        assert Reader(strict=strict).read(str(place / "q.yaml")) is None
        assert Reader(strict=strict).read(str(place / "no" / "q.yaml")) is None
        assert Reader(strict=strict).names(str(place / "no")) == []


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o666])
def test_a_document_that_others_can_write_is_refused(place: Path, mode: int) -> None:
    (place / "p.yaml").chmod(mode)
    error = refused(place / "p.yaml")
    assert f"{place / 'p.yaml'} can be written by others" in error.message
    assert error.hint == f"run: chmod go-w {place / 'p.yaml'}"


@pytest.mark.parametrize("depth", [0, 1])
def test_a_directory_above_that_others_can_write_is_refused(place: Path, depth: int) -> None:
    above = [place, place.parent][depth]
    above.chmod(0o775)
    error = refused(place / "p.yaml")
    assert str(above) in error.message
    assert str(above) in error.hint


def test_a_sticky_directory_is_no_way_in(place: Path) -> None:
    place.parent.chmod(0o1777)
    assert Reader(strict=True).read(str(place / "p.yaml")) is not None


def test_the_sticky_directory_that_holds_the_document_itself_is_refused(place: Path) -> None:
    place.chmod(0o1777)
    error = refused(place / "p.yaml")
    assert "can be written by others" in error.message
    assert error.hint == f"move the documents out of {place}"


@root_only
def test_in_a_sticky_directory_the_tenants_directory_is_named(place: Path) -> None:
    place.parent.chmod(0o1777)
    os.chown(place, TENANT, TENANT)
    error = refused(place / "p.yaml")
    assert f"{place} belongs to uid {TENANT}" in error.message
    assert error.hint == f"run: chown root: {place}"


@root_only
@pytest.mark.parametrize("which", ["file", "directory", "above"])
def test_a_tenants_document_or_directory_is_refused(place: Path, which: str) -> None:
    owned = {"file": place / "p.yaml", "directory": place, "above": place.parent}[which]
    os.chown(owned, TENANT, TENANT)
    error = refused(place / "p.yaml")
    assert f"{owned} belongs to uid {TENANT}" in error.message
    assert "chown" in error.hint


@pytest.mark.parametrize("where", ["file", "directory"])
def test_a_symbolic_link_is_refused(place: Path, where: str) -> None:
    if where == "file":
        link = place / "q.yaml"
        link.symlink_to("p.yaml")
        target = link
    else:
        link = place.parent / "link"
        link.symlink_to(place)
        target = link / "p.yaml"
    assert f"{link} is a symbolic link" in refused(target).message
    assert Reader(strict=False).read(str(target)) is not None


def test_a_fifo_or_directory_is_no_document_and_does_not_block(place: Path) -> None:
    os.mkfifo(place / "f.yaml", 0o600)
    (place / "d.yaml").mkdir()
    for name in ("f.yaml", "d.yaml"):
        for strict in (True, False):
            with pytest.raises(ConfigurationError, match="not a regular file"):
                Reader(strict=strict).read(str(place / name))


def test_a_document_without_end_is_refused(place: Path) -> None:
    with (place / "big.yaml").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    assert "larger than" in refused(place / "big.yaml").message


@pytest.fixture
def program(tmp_path: Path) -> tuple[Path, Reader]:
    """A checkout that was made with umask 002: the code, and the profiles beside it."""
    for name in ("profiles", "launcher"):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(0o775)
        (tmp_path / name / "file").write_text("x")
        (tmp_path / name / "file").chmod(0o664)
    reader = Reader(strict=True, shipped=str(tmp_path / "profiles"), code=str(tmp_path / "launcher" / "file"))
    return tmp_path, reader


@root_only
def test_a_developers_checkout_run_as_root_has_usable_profiles(program: tuple[Path, Reader]) -> None:
    top, reader = program
    for path in (top, *top.rglob("*")):
        os.chown(path, TENANT, TENANT)
    assert reader.names(str(top / "profiles")) == ["file"]
    assert reader.read(str(top / "profiles" / "file")) is not None


@pytest.mark.parametrize("which", ["profiles", "profiles/file"])
def test_a_profile_that_more_can_write_than_the_code_is_refused(program: tuple[Path, Reader], which: str) -> None:
    top, reader = program
    (top / which).chmod(0o777)
    with pytest.raises(ConfigurationError, match="can be written by others"):
        reader.read(str(top / "profiles" / "file"))


@root_only
@pytest.mark.parametrize("which", ["profiles", "profiles/file"])
def test_a_profile_of_another_owner_or_group_than_the_codes_is_refused(
    program: tuple[Path, Reader], which: str
) -> None:
    top, reader = program
    os.chown(top / which, TENANT, -1)
    with pytest.raises(ConfigurationError, match="belongs to uid"):
        reader.read(str(top / "profiles" / "file"))
    os.chown(top / which, 0, TENANT)
    with pytest.raises(ConfigurationError, match="can be written by others"):
        reader.read(str(top / "profiles" / "file"))


def test_a_profile_that_is_a_link_is_refused(program: tuple[Path, Reader]) -> None:
    top, reader = program
    (top / "profiles" / "link").symlink_to("file")
    with pytest.raises(ConfigurationError, match="symbolic link"):
        reader.read(str(top / "profiles" / "link"))


def test_no_descriptor_is_left_open(place: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    place.chmod(0o777)
    for _ in range(3):
        refused(place / "p.yaml")
    place.chmod(0o755)
    Reader(strict=True).read(str(place / "p.yaml"))
    Reader(strict=True).check(str(place / "p.yaml"))
    Reader(strict=True).names(str(place))
    assert len(os.listdir("/proc/self/fd")) == before


def test_ancestors_are_the_directories_above() -> None:
    assert list(ancestors("/a/b/c")) == ["/", "/a", "/a/b"]
    assert list(ancestors("/a")) == ["/"]
