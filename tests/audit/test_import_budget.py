"""The launch path may not pay for the audit: what `launcher.audit.log` brings in, by a bare interpreter."""

from __future__ import annotations

import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OS = {"os", "os.path", "genericpath", "posixpath", "stat", "_stat", "_collections_abc"}
FORBIDDEN = {"typing", "dataclasses", "enum", "re", "json", "collections", "functools", "contextlib", "argparse",
             "logging", "subprocess", "socket", "signal", "datetime", "hashlib", "sqlite3", "_sqlite3", "ctypes", "threading",
             "pathlib", "shutil", "tempfile", "inspect", "cryptography", "_hashlib", "struct"}  # fmt: skip


def test_the_writer_imports_only_what_a_launch_has_anyway() -> None:
    script = (
        f"import sys; before = set(sys.modules); sys.path.insert(0, {ROOT!r})\n"
        "import launcher.audit.log, launcher.audit.ratelimit, launcher.audit.printable\n"
        "print(' '.join(sorted(set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "launcher.audit.log" in loaded
    assert loaded & FORBIDDEN == set()
    ours = {name for name in loaded if not name.startswith("launcher")}
    assert ours <= {*OS, "__future__", "fcntl", "_json", "_sha2", "_sha256"}
