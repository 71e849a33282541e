"""What one launch imports: a Python launcher's cost is its imports (design section 13)."""

from __future__ import annotations

import os
import site
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BANNED = frozenset(
    """typing dataclasses enum re json collections functools contextlib argparse logging subprocess socket signal
    datetime hashlib sqlite3 ctypes yaml jwt threading pathlib shutil tempfile inspect asyncio pyroute2 cryptography
    docker importlib.abc importlib.util ast traceback random string""".split()  # noqa: SIM905  a list of words
)
# A real launch; os._exit, which ends it, is told to say first what had been imported.
LAUNCH = """
import os, sys
sys.path[:0] = {path!r}
leave, launcher = os._exit, os.getpid()
def told(status):
    if os.getpid() == launcher:
        os.write({pipe}, " ".join(sys.modules).encode())
    leave(status)
os._exit = told
sys.argv = ["mlsandbox", *{words!r}]
from launcher.cli.entry import start
start()
"""
POLICY = "policy: {{applies_to: {{users: ['{name}']}}, capabilities: {{cmd: ['true']}}}}\n"


def imported(top: Path, *words: str) -> tuple[int, set[str]]:
    """The exit status of a launch and the names of the modules that its launcher imported."""
    reader, writer = os.pipe()
    program = LAUNCH.format(path=[ROOT, *site.getsitepackages()], words=list(words), pipe=writer)
    environment = {"PATH": "/usr/bin:/bin", "MLSANDBOX_ROOT": str(top / "root")}
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", program],
        env=environment,
        pass_fds=(writer,),
        cwd=top / "workspace",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    os.close(writer)
    with open(reader, encoding="utf-8") as pipe:
        names = set(pipe.read().split())
    message = process.communicate()[1].decode()
    assert process.returncode == 0, message
    return process.returncode, names


@pytest.fixture
def top(tmp_path: Path) -> Path:
    import pwd

    (tmp_path / "root" / "policies").mkdir(parents=True)
    (tmp_path / "workspace").mkdir()
    name = pwd.getpwuid(os.getuid()).pw_name
    (tmp_path / "root" / "policies" / "one.yaml").write_text(POLICY.format(name=name))
    return tmp_path


def warm_launch(top: Path) -> set[str]:
    """What the third launch imports: the first reads YAML and compiles the filter, the second fills the caches."""
    for pause in (0.15, 0.0):  # a snapshot is believed when its sources are 0.1 s older than itself
        imported(top, "launch", "--allow-degraded", "--", "true")
        time.sleep(pause)
    return imported(top, "launch", "--allow-degraded", "--", "true")[1]


def test_a_launch_imports_nothing_heavy(top: Path) -> None:
    names = warm_launch(top)
    assert "launcher.enforce.namespace.supervise" in names
    assert names & BANNED == set()


def test_the_bundle_holds_what_a_launch_imports(top: Path) -> None:
    """A module that a launch imports beside the bundle costs six system calls and is what nobody meant."""
    names = warm_launch(top)
    program = (
        f"import sys; sys.path.insert(0, {ROOT!r})\n"
        "from launcher.cli import bundle_writer\n"
        "executed, others = bundle_writer.modules_of_a_launch()\n"
        "print(*executed, *others)"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], check=True, capture_output=True, text=True, timeout=60
    )
    ours = {name for name in names if name.startswith("launcher")}
    before = {"launcher", "launcher.cli", "launcher.cli.entry", "launcher.cli.bundle"}
    assert ours - set(done.stdout.split()) - before == set()
