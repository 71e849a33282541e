"""The directory that steps share is never one that something else covers by now."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from launcher.enforce.namespace.operations import View, place

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def view(tmp_path: Path) -> Iterator[View]:
    (tmp_path / "a" / "b").mkdir(parents=True)
    root = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    yield View(root)
    os.close(root)


def inode(view: View, path: str) -> int:
    fd = view.directory(path)
    try:
        return os.fstat(fd).st_ino
    finally:
        os.close(fd)


def exchange(top: Path) -> None:
    """Another directory stands at the name, as after a mount."""
    (top / "a").rename(top / "old")
    (top / "a" / "b").mkdir(parents=True)


def test_the_last_directory_is_kept(view: View, tmp_path: Path) -> None:
    before = inode(view, "a/b")
    exchange(tmp_path)
    assert inode(view, "a/b") == before
    assert inode(view, "a") == os.stat(tmp_path / "a").st_ino
    assert inode(view, "a/b") == os.stat(tmp_path / "a" / "b").st_ino != before


@pytest.mark.parametrize("target", ["/a/b", "/a"], ids=["itself", "above"])
def test_what_is_mounted_over_it_or_above_it_is_seen(view: View, tmp_path: Path, target: str) -> None:
    """Attack 12: a step would else go into the tree under a mask."""
    inode(view, "a/b")
    exchange(tmp_path)
    view.cover(target)
    assert inode(view, "a/b") == os.stat(tmp_path / "a" / "b").st_ino


def test_what_is_mounted_beside_it_changes_nothing(view: View, tmp_path: Path) -> None:
    before = inode(view, "a/b")
    exchange(tmp_path)
    view.cover("/a/bc")
    view.cover("/a/b/c")
    assert inode(view, "a/b") == before


def test_a_mount_point_that_is_made_covers(view: View, tmp_path: Path) -> None:
    inode(view, "a/b")
    exchange(tmp_path)
    os.close(place(view, "/a/b", directory=True)[0])
    assert inode(view, "a/b") == os.stat(tmp_path / "a" / "b").st_ino


def test_a_link_is_never_walked(view: View, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("a")
    with pytest.raises(OSError, match="link"):
        view.directory("link/b")
