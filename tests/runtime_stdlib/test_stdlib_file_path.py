"""Which grant each function of `file`, `path`, `csv`, `log` and `crypto.hash_file` needs, as the fifth seed has it."""

from __future__ import annotations

import itertools
import os
from typing import Any

import pytest

from launcher.runtime.errors import CapabilityError
from tests.runtime_stdlib.conftest import Workbench

# A call, and the grants without any one of which it is refused.
NEEDS: list[tuple[str, tuple[Any, ...], tuple[str, ...]]] = [
    ("file.read", ("in/a.csv",), ("file.read in/*",)),
    ("file.readLines", ("in/a.csv",), ("file.read in/*",)),
    ("file.readBytes", ("in/a.csv",), ("file.read in/*",)),
    ("file.write", ("out/x", "1"), ("file.write out/*",)),
    ("file.writeLines", ("out/x", ["1"]), ("file.write out/*",)),
    ("file.writeBytes", ("out/x", b"1"), ("file.write out/*",)),
    ("file.append", ("out/x", "1"), ("file.append out/*",)),
    ("file.delete", ("in/a.csv",), ("file.delete in/*",)),
    ("file.copy", ("in/a.csv", "out/x"), ("file.read in/*", "file.write out/*")),
    ("file.move", ("in/a.csv", "out/x"), ("file.read in/*", "file.write out/*", "file.delete in/*")),
    ("path.listDir", ("in",), ("path.read in",)),
    ("path.listDir", ("in",), ("path.read in/*",)),
    ("path.walk", ("in",), ("path.read in/**",)),
    ("path.glob", ("in/*.csv",), ("path.read in/*",)),
    ("path.createDir", ("out/new",), ("path.write out/*",)),
    ("path.removeDir", ("empty",), ("path.write empty",)),
    ("path.removeDirRecursive", ("full",), ("path.write full",)),
    ("csv.read", ("in/a.csv",), ("file.read in/*",)),
    ("csv.count_rows", ("in/a.csv",), ("file.read in/*",)),
    ("csv.get_headers", ("in/a.csv",), ("file.read in/*",)),
    ("csv.write", ("out/x", [[1]]), ("file.write out/*",)),
    ("csv.append", ("out/x", [1]), ("file.append out/*",)),
    ("csv.append", ("out/x", [1]), ("file.write out/*",)),
    ("csv.append", ("in/a.csv", {"a": 1}), ("file.read in/*", "file.append in/*")),
    ("crypto.hash_file", ("in/a.csv",), ("file.read in/*",)),
    ("log.add_file", ("out/log",), ("file.append out/*",)),
    ("log.add_file", ("out/log",), ("file.write out/*",)),
]
# Every operation that is not among a call's own: none of them may help.
OTHERS = ("file.read", "file.write", "file.append", "file.delete", "path.read", "path.write")


def layout(bench: Workbench) -> None:
    bench.put("in/a.csv", "a,b\r\n1,2\r\n")
    bench.put("full/x/y", "z")
    os.makedirs(bench.path("empty"))
    os.makedirs(bench.path("out"))


@pytest.mark.parametrize(("function", "arguments", "needs"), NEEDS, ids=[f"{r[0]} {r[2]}" for r in NEEDS])
def test_needs(bench: Workbench, function: str, arguments: tuple[Any, ...], needs: tuple[str, ...]) -> None:
    for missing in needs:
        layout_once = os.path.exists(bench.path("in"))
        if not layout_once:
            layout(bench)
        bench.hold(*[grant for grant in needs if grant != missing])
        with pytest.raises(CapabilityError):
            bench.call(function, *arguments)
    bench.hold(*needs)
    bench.call(function, *arguments)


SINGLE = [(f, a, n[0]) for f, a, n in NEEDS if len(n) == 1 and not f.startswith(("csv.append", "log."))]


@pytest.mark.parametrize(("function", "arguments", "need"), SINGLE, ids=[f"{r[0]} {r[2]}" for r in SINGLE])
def test_no_other_operation_helps(bench: Workbench, function: str, arguments: tuple[Any, ...], need: str) -> None:
    layout(bench)
    own = need.partition(" ")[0]
    # Who may read the files in a directory may list it (and sees those).
    implied = {"path.read": {"file.read"}}.get(own, set())
    for other in OTHERS:
        if other != own and other not in implied:
            bench.hold(f"{other} /**")
            with pytest.raises(CapabilityError):
                bench.call(function, *arguments)


FREE: list[tuple[str, tuple[Any, ...]]] = [
    ("file.exists", ("in/a.csv",)), ("file.isFile", ("in/a.csv",)), ("file.isDirectory", ("in",)),
    ("file.size", ("in/a.csv",)), ("file.modifiedTime", ("in/a.csv",)),
    ("path.join", ("a", "b")), ("path.dirname", ("a/b",)), ("path.basename", ("a/b",)), ("path.extname", ("a.b",)),
    ("path.split", ("a/b",)), ("path.absolute", ("a",)), ("path.normalize", ("a/../b",)), ("path.relative", ("a", "b")),
    ("path.exists", ("in",)), ("path.isFile", ("in",)), ("path.isDirectory", ("in",)), ("path.isAbsolute", ("a",)),
    ("path.cwd", ()), ("path.home", ()), ("path.tempDir", ()), ("path.separator", ()), ("path.delimiter", ()),
    ("csv.read_string", ("a,b",)), ("csv.write_string", ([[1]],)),
]  # fmt: skip


@pytest.mark.parametrize(("function", "arguments"), FREE, ids=[row[0] for row in FREE])
def test_free_operations_need_nothing(bench: Workbench, function: str, arguments: tuple[Any, ...]) -> None:
    layout(bench)
    bench.hold()
    bench.call(function, *arguments)
    assert bench.claims() == []


# --- the seed's pattern examples ----------------------------------------------------------------------------------

SEED = [
    ("file.read /data/*", "read", "/data/x", True),
    ("file.read /data/*", "read", "/data/sub/x", False),
    ("file.read /data/**/*.txt", "read", "/data/a/b/c.txt", True),
    ("file.read /data/**/*.txt", "read", "/data/c.txt", True),
    ("file.read /data/**/*.txt", "read", "/data/c.md", False),
    ("file.read ~/.config/*", "read", "{home}/.config/x", True),
    ("file.write **/results/*.json", "write", "/any/where/results/a.json", True),
    ("file.append **/*.log", "append", "/logs/a.log", True),
    ("file.read /logs/app[123].log", "read", "/logs/app2.log", True),
    ("file.read /logs/app[123].log", "read", "/logs/app4.log", False),
    ("file.write /data/file[0-9].txt", "write", "/data/file7.txt", True),
]


@pytest.mark.parametrize(("notation", "operation", "path", "allowed"), SEED)
def test_patterns_of_the_seed(bench: Workbench, notation: str, operation: str, path: str, allowed: bool) -> None:
    root = bench.hold(notation)
    assert root.can_access_resource("file", path.format(home=bench.root), operation) is allowed


# --- behaviours ---------------------------------------------------------------------------------------------------


def test_writing_makes_parents_without_path_write(bench: Workbench) -> None:
    bench.hold("file.write out/**")
    bench.call("file.write", "out/a/b/c.txt", "x")
    assert os.path.isfile(bench.path("out/a/b/c.txt"))


def test_directories_need_each_missing_one_or_a_granted_file_below(bench: Workbench) -> None:
    bench.hold("path.write out/a/b")
    with pytest.raises(CapabilityError):
        bench.call("path.createDir", "out/a/b")
    assert not os.path.exists(bench.path("out"))
    bench.hold("path.write out/a/b", "file.write out/a/b/*")
    bench.call("path.createDir", "out/a/b")
    assert os.path.isdir(bench.path("out/a/b"))


def test_who_may_read_files_sees_those_files_only(bench: Workbench) -> None:
    for name in ("d/a.csv", "d/b.txt", "d/sub/c.csv"):
        bench.put(name)
    bench.hold("file.read d/*.csv")
    assert bench.call("path.listDir", "d") == ["a.csv"]
    assert bench.call("path.walk", "d") == ["a.csv"]
    bench.hold("path.read d")
    assert bench.call("path.listDir", "d") == ["a.csv", "b.txt", "sub"]


def test_directories_below_that_are_not_granted_stay_closed(bench: Workbench) -> None:
    for name in ("d/a", "d/open/b", "d/shut/c"):
        bench.put(name)
    bench.hold("path.read d d/open")
    assert bench.call("path.walk", "d") == ["a", "open/b"]
    assert [os.path.basename(p) for p in bench.call("path.glob", "d/**/*")] == ["a", "open", "b", "shut"]


def test_recursive_removal_is_all_or_nothing_where_a_rule_denies(bench: Workbench) -> None:
    bench.put("tree/a")
    bench.put("tree/keep/k")
    bench.hold("path.write tree", denies=("file.delete tree/keep/*",))
    with pytest.raises(CapabilityError):
        bench.call("path.removeDirRecursive", "tree")
    assert os.path.exists(bench.path("tree/a"))
    assert os.path.exists(bench.path("tree/keep/k"))


def test_a_denied_copy_changes_nothing(bench: Workbench) -> None:
    bench.put("a", "new")
    bench.put("b", "old")
    for grants in (("file.read a",), ("file.write b",), ("file.read a", "file.write b")):
        bench.hold(*grants)
        try:
            bench.call("file.move", "a", "b")
        except CapabilityError:
            pass
    assert [bench.call("file.exists", name) for name in ("a", "b")] == [True, True]
    with open(bench.path("b")) as stream:
        assert stream.read() == "old"


def test_moves_between_file_systems(bench: Workbench) -> None:
    if os.stat("/dev/shm").st_dev == os.stat(bench.root).st_dev:
        pytest.skip("one file system")
    there = f"/dev/shm/mlsandbox-test-{os.getpid()}"
    bench.put("a", "data")
    bench.hold("file.read,write,delete /**")
    try:
        bench.call("file.move", "a", there)
        assert bench.call("file.read", there) == "data"
        assert not os.path.exists(bench.path("a"))
    finally:
        os.unlink(there)


def test_permutations_of_one_name(bench: Workbench) -> None:
    """Every spelling of a path means the same file: the verdict may not depend on the spelling."""
    bench.put("d/x.txt", "1")
    bench.hold("file.read d/x.txt")
    for parts in itertools.product(("", "./", "d/../"), ("d/", "d//", "d/./"), ("x.txt", "./x.txt", "../d/x.txt")):
        assert bench.call("file.read", "".join(parts)) == "1"
    assert bench.call("file.read", "~/d/x.txt") == "1"
    assert bench.call("file.read", "@base/d/x.txt") == "1"
