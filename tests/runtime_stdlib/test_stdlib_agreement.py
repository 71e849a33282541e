"""For any grants and any call: the library refuses exactly what the algebra denies, and does it before it acts."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.runtime.errors import CapabilityError
from tests.runtime_stdlib.conftest import Workbench

SEGMENTS = st.sampled_from(["a", "b", "d", "*", "?", "**", "a.txt", "*.txt", "[ab]"])
PATTERNS = st.lists(SEGMENTS, min_size=1, max_size=3).map("/".join)
PATHS = st.lists(st.sampled_from(["a", "b", "d", "a.txt", "b.txt"]), min_size=1, max_size=3).map("/".join)
FILE = st.tuples(st.just("file"), st.sampled_from(["read", "write", "append", "delete"]))
PATH = st.tuples(st.just("path"), st.sampled_from(["read", "write"]))
RULES = st.lists(st.tuples(FILE | PATH, PATTERNS), max_size=4)

# The call, and what it asks for: (type, operation) on its path.
CALLS: dict[str, tuple[tuple[Any, ...], str, str]] = {
    "file.read": ((), "file", "read"),
    "file.write": (("new",), "file", "write"),
    "file.append": (("more",), "file", "append"),
    "file.delete": ((), "file", "delete"),
    "path.listDir": ((), "path", "read"),
    "path.removeDir": ((), "path", "write"),
}


def snapshot(root: str) -> dict[str, bytes]:
    return {
        os.path.join(folder, name): Path(folder, name).read_bytes()
        for folder, _, names in os.walk(root)
        for name in names
    }


@settings(max_examples=150, deadline=None)
@given(RULES, RULES, PATHS, st.sampled_from(sorted(CALLS)), st.booleans())
def test_the_library_refuses_what_the_algebra_denies(
    allows: Any, denies: Any, path: str, function: str, present: bool
) -> None:
    arguments, kind, operation = CALLS[function]
    with tempfile.TemporaryDirectory() as folder:
        bench = Workbench(Path(folder))
        try:
            if present:
                bench.put(path if kind == "file" else f"{path}/inner", "old")
            notation = [
                [f"{rule[0]}.{rule[1]} {bench.path(pattern)}" for rule, pattern in rules] for rules in (allows, denies)
            ]
            root = bench.hold(*notation[0], denies=tuple(notation[1]))
            expected = root.permissions.decide(kind, operation, bench.path(path)).allowed
            before = snapshot(bench.root)
            try:
                bench.call(function, path, *arguments)
                refused = False
            except CapabilityError:
                refused = True
                assert snapshot(bench.root) == before
            except OSError:
                refused = False
            assert refused is not expected
            assert [claim["outcome"] for claim in bench.claims()] == ["DENIED" if refused else "ALLOWED"]
        finally:
            bench.close()
