"""The bundle of a launch: the same modules as one by one, or none of them."""

from __future__ import annotations

import ast
import marshal
import os
import shutil
import subprocess
import sys
from types import FunctionType
from typing import TYPE_CHECKING, Any

import pytest

from launcher.cli import bundle_writer

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
        self.run(f"import sys; sys.path.insert(0, {str(top)!r}); from launcher.cli.bundle_writer import write; write()")

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
        for content in (b"", b"mlsandbox bundle", whole[:60], whole.replace(b"bundle 3", b"bundle 2", 1)):
            built.file.write_bytes(content)
            assert built.load() == ["False"], content[:80]
        built.file.unlink()
        assert built.load() == ["False"]
    finally:
        built.file.write_bytes(whole)


LATER = """
finder = sys.meta_path[0]
from launcher.cli import options
from launcher.kernel import netlink
"""


SOURCE = """
def plain(a, b=2, /, c=3, *more, d, e=5, **others):
    return a, b, c, more, d, e, others

class One:
    def method(self, word="x"):
        return [word, __name__]

    @property
    def both(self):
        return 1

    @both.setter
    def both(self, value):
        raise ValueError(value)

    def __private(self):
        return 7

    def shown(self):
        return self.__private()

def closed(x):
    return lambda: x
"""


def test_a_stub_passes_on_what_it_was_called_with() -> None:
    tree, pool = ast.parse(SOURCE), bundle_writer._Pool()
    functions = bundle_writer.functions_of(bundle_writer.compiled(tree, "made.py"))
    assert set(functions) == {"plain", "One.method", "One.__private", "One.shown", "closed"}
    bundle_writer._Stubs({name: pool.add(code) for name, code in functions.items()}).visit(tree)
    names: dict[str, Any] = {"__name__": "made"}

    def later(offset: int, length: int, found: dict[str, Any]) -> FunctionType:
        return FunctionType(marshal.loads(pool.data[offset : offset + length]), found)

    names["__later__"] = later
    exec(bundle_writer.compiled(ast.fix_missing_locations(tree), "made.py"), names)
    assert "__later__" in names["plain"].__code__.co_names
    assert names["plain"](1, d=4) == (1, 2, 3, (), 4, 5, {})
    assert names["plain"](1, 2, 30, 40, d=4, e=6, f=7) == (1, 2, 30, (40,), 4, 6, {"f": 7})
    assert names["plain"](1, b=20, d=4) == (1, 2, 3, (), 4, 5, {"b": 20})
    one = names["One"]()
    assert (one.method(), one.method(word="y"), one.shown(), one.both) == (["x", "made"], ["y", "made"], 7, 1)
    with pytest.raises(ValueError, match="3"):
        one.both = 3
    assert names["closed"](8)() == 8


def test_a_function_that_is_seldom_called_is_loaded_when_it_is(built: Site) -> None:
    program = (
        LATER
        + """
print("__later__" in netlink.message.__code__.co_names)
print(netlink.message(24, 4, 1, b"abc") == netlink.message(kind=24, flags=4, sequence=1, payload=b"abc"))
print(netlink.message(24, 4, 1, b"abc").hex() == "13000000180005000100000000000000" + "61626300")
"""
    )
    assert set(built.load(program)) == {"True"}


def test_no_other_file_becomes_code_where_the_descriptor_was_closed(built: Site) -> None:
    """A process that closes everything may get the number again, for a file that a tenant wrote."""
    program = (
        LATER
        + """
import os
number = finder.fileno()
os.close(number)
other = os.open("/etc/hosts", os.O_RDONLY)
os.dup2(other, number)
print(not finder.hold("launcher.capability.permissions"))
print(netlink.message(24, 4, 1, b"abc").hex() == "13000000180005000100000000000000" + "61626300")
print(os.fstat(finder.fileno()).st_ino == os.stat({file!r}).st_ino)
""".replace("{file!r}", repr(str(built.file)))
    )
    assert set(built.load(program)) == {"True"}


def test_a_bundle_that_was_replaced_is_not_mixed_with_what_runs(built: Site) -> None:
    program = (
        LATER
        + """
import os
os.close(finder.fileno())
with open({file!r}, "r+b") as file:
    file.seek(len("mlsandbox bundle 3 ") + 12)
    file.write(b"0" * 8)
try:
    netlink.message(24, 4, 1, b"abc")
except ImportError as error:
    print("was replaced" in str(error))
""".replace("{file!r}", repr(str(built.file)))
    )
    whole = built.file.read_bytes()
    try:
        assert set(built.load(program)) == {"True"}
    finally:
        built.file.write_bytes(whole)


def test_the_list_of_functions_names_functions() -> None:
    """A name that is not there costs each launch its loading; tests/bench/executed_functions.py writes the list."""
    program = f"""
import sys
sys.path.insert(0, {ROOT!r})
from launcher.cli import bundle_writer as writer
names = {{
    f"{{module}}:{{function}}"
    for module in writer.modules_of_a_launch()[0]
    for function in writer.functions_of(writer.compiled(*writer.tree_of(module)))
}}
listed = open(writer.EXECUTED).read().split()
print(len(listed), len([name for name in listed if name in names]))
"""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], check=True, capture_output=True, text=True, timeout=60
    )
    listed, found = map(int, done.stdout.split())
    assert listed > 300
    assert found > listed * 0.9


@pytest.fixture
def command(built: Site) -> Path:
    """The installed command, as `script/install` has it written; its verb is one that starts nothing."""
    path = built.top / "mlsandbox"
    built.run(
        f"import sys; sys.path.insert(0, {str(built.top)!r}); from launcher.cli.bundle_writer import write_command; "
        f"write_command({str(path)!r}, sys.executable)"
    )
    return path


def run_command(command: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The command, and on stderr whether the bundle was executed."""
    told = command.read_text().replace(
        "start()", "import os; os.write(2, str(hasattr(sys.meta_path[0], 'identity')).encode()); start()"
    )
    return subprocess.run(
        [sys.executable, "-I", "-S", "-c", told, *words], check=False, capture_output=True, text=True, timeout=60
    )


def test_the_command_executes_the_bundle(command: Path) -> None:
    done = run_command(command, "launch", "--help")
    assert done.returncode == 0
    assert "usage: mlsandbox launch" in done.stdout
    assert done.stderr == "True"


def test_the_command_of_another_verb_leaves_it_alone(command: Path) -> None:
    done = run_command(command, "--version")
    assert (done.returncode, done.stderr) == (0, "False")


@pytest.mark.parametrize("content", [b"", b"mlsandbox bundle 3", None], ids=["empty", "half", "absent"])
def test_the_command_works_without_a_bundle(built: Site, command: Path, content: bytes | None) -> None:
    whole = built.file.read_bytes()
    try:
        built.file.unlink() if content is None else built.file.write_bytes(content)
        done = run_command(command, "launch", "--help")
        assert (done.returncode, done.stderr) == (0, "False")
        assert "usage: mlsandbox launch" in done.stdout
    finally:
        built.file.write_bytes(whole)


def test_the_command_with_half_a_loader_works_without_it(built: Site, command: Path) -> None:
    whole = built.file.read_bytes()
    try:
        built.file.write_bytes(whole[:2000])
        done = run_command(command, "launch", "--help")
        assert (done.returncode, done.stderr) == (0, "False")
    finally:
        built.file.write_bytes(whole)
