"""compile and the fast probe are on the path of every launch: they import nothing heavy (interfaces.md, section 0)."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

ROOT = os.path.join(os.path.dirname(__file__), "..", "..")
HEAVY = [
    "typing",
    "dataclasses",
    "enum",
    "re",
    "json",
    "collections",
    "functools",
    "contextlib",
    "argparse",
    "logging",
    "subprocess",
    "socket",
    "signal",
    "datetime",
    "hashlib",
    "sqlite3",
    "ctypes",
    "yaml",
    "jwt",
    "threading",
    "pathlib",
    "shutil",
    "tempfile",
    "inspect",
    "jsonschema",
]


@pytest.mark.parametrize(
    "module",
    ["launcher.compile.compiler", "launcher.kernel.features", "launcher.kernel.feature_cache", "launcher.compile.base"],
)
def test_nothing_heavy_is_imported(module: str) -> None:
    program = f"import sys; sys.path.insert(0, {ROOT!r}); import {module}; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=True)
    assert not set(HEAVY) & set(found.stdout.split())
