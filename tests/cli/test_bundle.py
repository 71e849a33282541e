"""The bundle of a launch: the same modules as one by one, or none of them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LOAD = """
import sys
sys.path.insert(0, {site!r})
from launcher.cli import bundle
print(bundle.load())
"""


class Site:
    """A copy of the package as an installation has it, with its bundle."""

    def __init__(self, top: Path) -> None:
        self.top = top
        for name in ("launcher", "profiles"):
            shutil.copytree(f"{ROOT}/{name}", top / name, ignore=shutil.ignore_patterns("__pycache__"))
        self.record = top / "mlsandbox-1.dist-info" / "RECORD"
        self.record.parent.mkdir()
        self.record.write_text("launcher/__init__.py,,\n")
        self.run(f"import sys; sys.path.insert(0, {str(top)!r}); from launcher.cli.bundle import write; write()")

    def run(self, program: str) -> str:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", program], check=False, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def load(self, more: str = "") -> list[str]:
        return self.run(LOAD.format(site=str(self.top)) + more).split()

    @property
    def file(self) -> Path:
        return self.top / "launcher" / "__pycache__" / f"launch.{sys.implementation.cache_tag}.bundle"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("site"))


def test_a_bundle_executes_the_launch_and_nothing_is_imported_for_it(built: Site) -> None:
    loaded = built.load("before = set(sys.modules)\nimport launcher.cli.launch\nprint(set(sys.modules) - before)")
    assert loaded == ["True", "set()"]


def test_modules_are_as_the_import_system_makes_them(built: Site) -> None:
    program = """
for name in ("launcher.enforce.namespace.init", "launcher.kernel.seccomp", "launcher.policy.cache"):
    module = sys.modules[name]
    print(name == module.__name__, module.__file__.startswith({site!r}), module.__spec__.name == name,
          module.__package__ == (name if hasattr(module, "__path__") else name.rpartition(".")[0]))
import launcher
print(launcher.enforce.namespace.init is sys.modules["launcher.enforce.namespace.init"])
try:
    launcher.enforce.namespace.init.step("x", "y", lambda: 1 / 0)
except ZeroDivisionError as error:
    frame = error.__traceback__.tb_next.tb_frame
    print(frame.f_code.co_filename.endswith("launcher/enforce/namespace/build.py"), frame.f_lineno > 10)
""".replace("{site!r}", repr(str(built.top)))
    assert set(built.load(program)) == {"True"}


def test_what_is_held_is_imported_when_no_file_is_there(built: Site) -> None:
    """pid 1 of a sandbox sees no file of ours."""
    program = """
finder = sys.meta_path[0]
print(finder.hold("launcher.capability.permissions"), not finder.hold("launcher.cli.usage"))
import os
os.chroot("/proc/self/task") if os.geteuid() == 0 else os.rename({site!r} + "/launcher", {site!r} + "/gone")
from launcher.capability.permissions import Permissions
from launcher.capability.limits import Limits
from launcher.capability.scope import Scope
from launcher.capability.grant import NOWHERE, Grant
grant = Grant("cmd", ("execute",), ("git status:*",), {}, "p", NOWHERE)
held = Permissions([grant], (), Limits(), Scope("/", "/"))
print(held.decide("cmd", "execute", ["git", "status", "-s"], file="/g", programs={"git": "/g"}).allowed)
""".replace("{site!r}", repr(str(built.top)))
    try:
        assert set(built.load(program)) == {"True"}
    finally:
        if os.path.exists(built.top / "gone"):
            os.rename(built.top / "gone", built.top / "launcher")


@pytest.mark.parametrize("name", ["launcher/errors.py", "launcher/capability/permissions.py", "launcher/cli/bundle.py"])
def test_a_changed_source_is_seen(built: Site, name: str) -> None:
    source = built.top / name
    before, status = source.read_text(), source.stat()
    try:
        source.write_text(before + "\n")  # another size at the same time stamp
        os.utime(source, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert built.load() == ["False"]
        source.write_text(before)  # the same size at another time
        os.utime(source, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
        assert built.load() == ["False"]
    finally:
        source.write_text(before)
        os.utime(source, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert built.load() == ["True"]


def test_another_installation_is_seen(built: Site) -> None:
    """pip writes RECORD at each installation, whatever the time stamps of the files in the wheel."""
    status = built.record.stat()
    os.utime(built.record, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert built.load() == ["False"]
    os.utime(built.record, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert built.load() == ["True"]


def test_a_bundle_of_another_interpreter_or_half_a_one_is_left_alone(built: Site) -> None:
    whole = built.file.read_bytes()
    try:
        for content in (b"", b"mlsandbox bundle", whole[:60], whole.replace(b"bundle 2", b"bundle 1", 1)):
            built.file.write_bytes(content)
            assert built.load() == ["False"], content[:80]
        built.file.unlink()
        assert built.load() == ["False"]
    finally:
        built.file.write_bytes(whole)
