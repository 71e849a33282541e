"""The probe's cache: marshal trusts its input, so only a file that nobody else could have written is read."""

from __future__ import annotations

import marshal
import os
from typing import TYPE_CHECKING

import pytest

from launcher.kernel import feature_cache
from launcher.kernel.features import Features, fast

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KEY = {"boot": "b", "uid": "u"}


@pytest.fixture
def known() -> Features:
    return fast().replaced(landlock=42)


@pytest.fixture
def directory(tmp_path: Path, known: Features) -> Path:
    place = tmp_path / "cache"
    feature_cache.store(str(place), KEY, known)
    return place


def file_in(directory: Path) -> Path:
    (file,) = directory.iterdir()
    return file


def test_what_was_stored_is_loaded_for_the_same_key_only(directory: Path, known: Features) -> None:
    assert feature_cache.load(str(directory), KEY) == known
    assert feature_cache.load(str(directory), {**KEY, "boot": "after a reboot"}) is None


def test_storing_replaces(directory: Path, known: Features) -> None:
    feature_cache.store(str(directory), KEY, known.replaced(landlock=43))
    loaded = feature_cache.load(str(directory), KEY)
    assert loaded is not None
    assert loaded.landlock == 43
    assert file_in(directory).stat().st_mode & 0o777 == 0o600


def overwrite(data: bytes) -> Callable[[Path], None]:
    def spoil(directory: Path) -> None:
        file_in(directory).write_bytes(data)

    return spoil


def link(directory: Path) -> None:
    file = file_in(directory)
    target = directory.parent / "elsewhere"
    file.rename(target)
    file.symlink_to(target)


def fifo(directory: Path) -> None:
    file = file_in(directory)
    file.unlink()
    os.mkfifo(file, 0o600)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda directory: directory.chmod(0o777),
        lambda directory: directory.chmod(0o770),
        lambda directory: file_in(directory).chmod(0o666),
        lambda directory: file_in(directory).chmod(0o620),
        link,
        fifo,
        overwrite(b""),
        overwrite(b"\xff" * 100),
        overwrite(marshal.dumps(7)),
        overwrite(marshal.dumps((KEY, {"landlock": 7}))),  # another release's
        overwrite(marshal.dumps((KEY, [1, 2]))),
    ],
)
def test_a_file_that_is_not_ours_alone_or_not_a_result_is_not_believed(
    directory: Path, spoil: Callable[[Path], None]
) -> None:
    spoil(directory)
    assert feature_cache.load(str(directory), KEY) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_another_owners_file_or_directory_is_not_believed(directory: Path) -> None:
    os.chown(file_in(directory), 65534, 65534)
    assert feature_cache.load(str(directory), KEY) is None
    os.chown(file_in(directory), 0, 0)
    os.chown(directory, 65534, 65534)
    assert feature_cache.load(str(directory), KEY) is None


def test_a_place_that_cannot_be_written_is_no_error(tmp_path: Path, known: Features) -> None:
    (tmp_path / "file").write_text("")
    feature_cache.store(str(tmp_path / "file" / "below"), KEY, known)
    assert feature_cache.load(str(tmp_path / "file" / "below"), KEY) is None
