"""From a written path to an opened file: the ways around the check, each an attack, and each must fail."""

from __future__ import annotations

import contextlib
import gc
import os
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.runtime.errors import CapabilityError
from launcher.runtime.stdlib import _disk
from tests.runtime_stdlib.conftest import Workbench

# What is tried against a grant of `data/**`, with /etc/hostname standing for everything outside.
ESCAPES = [
    "/etc/hostname",
    "data/../../../../../../../../etc/hostname",
    "data/./../secret.txt",
    "data//..//secret.txt",
    "data/link-to-file",
    "data/link-to-folder/secret.txt",
    "data/link-to-folder/../secret.txt",
    "data/relative-link",
    "data/chain-1",
    "data/link-to-root/etc/hostname",
    "~/secret.txt",
    "@base/secret.txt",
    "/proc/self/root/etc/hostname",
    "/proc/self/cwd/secret.txt",
    "/dev/fd/0",
    "data2/secret.txt",
    "dataX",
    "DATA/a.txt",
    "data/../data2/secret.txt",
]


@pytest.fixture
def maze(bench: Workbench) -> Workbench:
    bench.put("secret.txt", "s")
    bench.put("data2/secret.txt", "s")
    bench.put("data/a.txt", "a")
    bench.put("data/sub/b.txt", "b")
    for link, target in (
        ("link-to-file", "/etc/hostname"), ("link-to-folder", bench.root), ("relative-link", "../secret.txt"),
        ("chain-1", "chain-2"), ("chain-2", "../secret.txt"), ("link-to-root", "/"), ("inside", "sub/b.txt"),
        ("dangling", "../new.txt"), ("loop", "loop"),
    ):  # fmt: skip
        os.symlink(target, bench.path("data", link))
    bench.hold("file.read,write,append,delete data/**", "path.read,write data/**")
    return bench


@pytest.mark.parametrize("path", ESCAPES)
@pytest.mark.parametrize("function", ["file.read", "file.write", "file.append", "path.listDir", "file.copy"])
def test_escapes(maze: Workbench, path: str, function: str) -> None:
    arguments = {"file.write": ("x",), "file.append": ("x",), "file.copy": ("data/out.txt",)}.get(function, ())
    with pytest.raises(CapabilityError):
        maze.call(function, path, *arguments)
    assert not os.path.exists(maze.path("data/out.txt"))


@pytest.mark.parametrize("path", ESCAPES)
def test_escapes_as_a_destination(maze: Workbench, path: str) -> None:
    for function in ("file.copy", "file.move"):
        with pytest.raises((CapabilityError, OSError)):
            maze.call(function, "data/a.txt", path)
    assert maze.call("file.read", "data/a.txt") == "a"


def test_links_inside_the_grant_are_followed(maze: Workbench) -> None:
    assert maze.call("file.read", "data/inside") == "b"
    assert maze.call("file.read", "data/sub/../inside") == "b"


def test_a_dangling_link_is_judged_by_where_it_leads(maze: Workbench) -> None:
    with pytest.raises(CapabilityError):
        maze.call("file.write", "data/dangling", "x")
    assert not os.path.exists(maze.path("new.txt"))


def test_a_link_in_a_loop_is_an_error(maze: Workbench) -> None:
    with pytest.raises(OSError, match="symbolic links"):
        maze.call("file.read", "data/loop")


def test_deleting_a_link_leaves_what_it_points_to(maze: Workbench) -> None:
    assert maze.call("file.delete", "data/relative-link") is True
    assert os.path.exists(maze.path("secret.txt"))
    assert not os.path.lexists(maze.path("data/relative-link"))


def test_moving_a_link_out_is_judged_by_what_it_points_to(maze: Workbench) -> None:
    with pytest.raises(CapabilityError):
        maze.call("file.move", "data/relative-link", "data/copy.txt")
    maze.call("file.move", "data/inside", "data/moved.txt")
    assert not os.path.islink(maze.path("data/moved.txt"))
    assert maze.call("file.read", "data/moved.txt") == "b"


def test_recursive_removal_does_not_follow_links(maze: Workbench) -> None:
    os.mkdir(maze.path("data/tree"))
    os.symlink(maze.path("data2"), maze.path("data/tree/link"))
    maze.call("path.removeDirRecursive", "data/tree")
    assert os.path.exists(maze.path("data2/secret.txt"))


def test_listings_and_globs_do_not_follow_links(maze: Workbench) -> None:
    found = maze.call("path.walk", "data")
    assert "sub/b.txt" in found
    assert not [name for name in found if "secret" in name]
    assert not [name for name in maze.call("path.glob", "data/**/*.txt") if "secret" in name]


def swap(bench: Workbench, stop: threading.Event) -> None:
    """A name that is a file one moment and a link to the secret the next."""
    while not stop.is_set():
        for target in (bench.path("data/a.txt"), bench.path("secret.txt")):
            os.symlink(target, bench.path("data/swap.new"))
            os.rename(bench.path("data/swap.new"), bench.path("data/swap"))


def test_a_link_that_is_swapped_never_leads_outside(maze: Workbench) -> None:
    stop = threading.Event()
    thread = threading.Thread(target=swap, args=(maze, stop))
    os.symlink(maze.path("data/a.txt"), maze.path("data/swap"))
    thread.start()
    seen = set()
    try:
        for _ in range(300):
            try:
                seen.add(maze.call("file.read", "data/swap"))
            except (CapabilityError, OSError):
                seen.add("refused")
    finally:
        stop.set()
        thread.join()
    assert "s" not in seen
    assert "a" in seen


def test_a_directory_that_becomes_a_link_after_the_check_is_an_error(maze: Workbench) -> None:
    checked = _disk.resolved("data/sub/b.txt")
    os.rename(maze.path("data/sub"), maze.path("data/gone"))
    os.symlink(maze.path("data2"), maze.path("data/sub"))
    os.rename(maze.path("data2/secret.txt"), maze.path("data2/b.txt"))
    with pytest.raises(OSError, match="Not a directory"):
        _disk.open_checked(checked, os.O_RDONLY)


def test_a_file_that_becomes_a_link_after_the_check_is_an_error(maze: Workbench) -> None:
    checked = _disk.resolved("data/a.txt")
    os.unlink(checked)
    os.symlink(maze.path("secret.txt"), checked)
    for flags in (os.O_RDONLY, os.O_WRONLY | os.O_CREAT | os.O_TRUNC):
        with pytest.raises(OSError, match="symbolic links"):
            _disk.open_checked(checked, flags)


BAD: list[tuple[Any, type[Exception]]] = [
    ("data/a\0b", ValueError),
    ("", ValueError),
    (None, TypeError),
    (5, TypeError),
    (["data/a.txt"], TypeError),
    (b"data/a.txt", TypeError),
    ("data/\ud800", UnicodeEncodeError),
    ("data/" + "x" * 300, OSError),
    ("data/" + "x/" * 3000, OSError),
]


@pytest.mark.parametrize(("path", "error"), BAD)
def test_what_is_no_path(maze: Workbench, path: Any, error: type[Exception]) -> None:
    for function in ("file.read", "path.listDir"):
        with pytest.raises((error, CapabilityError)):
            maze.call(function, path)


def test_names_that_are_not_utf8(maze: Workbench) -> None:
    name = os.fsdecode(b"data/caf\xe9\n.txt")
    maze.call("file.write", name, "x")
    assert os.fsdecode(b"caf\xe9\n.txt") in maze.call("path.listDir", "data")
    assert maze.call("file.read", name) == "x"


NAMES = st.sampled_from(["a", "b", "data", "secret", "..", ".", "", "x"])
PATHS = st.lists(NAMES, min_size=1, max_size=7).map("/".join)
PLACES = PATHS.filter(lambda path: ".." not in path)  # a job makes links where it may write
TREES = st.lists(st.tuples(PLACES, PATHS, st.booleans()), max_size=8)


@given(TREES, st.lists(PATHS, min_size=1, max_size=5))
@settings(max_examples=100, deadline=None)
def test_no_tree_of_links_leads_outside(tree: list[tuple[str, str, bool]], paths: list[str]) -> None:
    """Whatever links a job makes, what it reads is a file of `data`, and what it writes stays in `data`."""
    with tempfile.TemporaryDirectory() as folder:
        made = Workbench(Path(folder))
        try:
            made.put("secret", "outside")
            made.put("data/a", "inside")
            for at, target, absolute in tree:
                with contextlib.suppress(OSError):
                    where = target.lstrip("/")
                    os.symlink(made.path(where) if absolute else where or ".", made.path("data", at.lstrip("/")))
            made.hold("file.read,write data/**")
            for path in paths:
                for written in (path, f"data/{path}", made.path(path.lstrip("/"))):
                    try:
                        assert made.call("file.read", written) in {"inside", "new"}
                    except (CapabilityError, OSError, ValueError):
                        pass
                    try:
                        made.call("file.write", written, "new")
                    except (CapabilityError, OSError, ValueError):
                        pass
            assert Path(made.path("secret")).read_text() == "outside"
            assert sorted(os.listdir(made.root)) == ["data", "secret"]
        finally:
            made.close()


WORK: list[tuple[str, tuple[Any, ...]]] = [
    ("file.read", ("data/a.txt",)),
    ("file.read", ("data/none",)),
    ("file.read", ("data/sub",)),
    ("path.walk", ("data",)),
    ("file.copy", ("data/a.txt", "data/n/c.txt")),
    ("file.copy", ("data/a.txt", "data/a.txt")),
    ("file.copy", ("data/sub", "data/n/d.txt")),
    ("path.removeDirRecursive", ("data/n",)),
    ("file.write", ("data/a.txt/b", "x")),
    ("path.createDir", ("data/a.txt",)),
    ("path.removeDir", ("data/sub",)),
]


def test_descriptors_are_closed(maze: Workbench) -> None:
    gc.collect()  # what other tests left for it must not count
    before = len(os.listdir("/proc/self/fd"))
    for function, arguments in WORK:
        try:
            maze.call(function, *arguments)
        except (OSError, ValueError):
            pass
    assert len(os.listdir("/proc/self/fd")) == before
