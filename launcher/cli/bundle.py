"""All modules of a launch in one file: one read instead of six system calls and one unmarshal for each.

`python3 -IS -m launcher.cli.bundle` writes the file into the package's `__pycache__`, as Python writes its own cache:
whoever may write there may already change what a launch executes, so it is trusted exactly as a .pyc is. It holds the
modules that every launch of a command executes, in the order in which they are done, and those that only some need
(what decides, the algebra) as bytes to be executed when they are imported: those can be imported when no file is in
view any more, in pid 1 of a sandbox.

It is never stale: like a .pyc it names the size and modification time of each source, and those of the wheel's RECORD,
which pip writes anew at each installation even where a reproducible wheel gives all its files one time. When anything
differs the whole bundle is left alone and modules are imported one by one; nothing is remembered then either
(`launcher.service.remembered`), because nothing says which code decides.
"""

from __future__ import annotations

import marshal
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import CodeType, ModuleType

    Row = tuple[str, bool, str, CodeType]  # a module's name, whether it is a package, its file, its code
    Stamp = tuple[str, int, int]  # a file, its size, its modification time in ns

_TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# Another interpreter has another marshal format: the tag is in the name, the exact version in the first line.
FILE = f"{_TOP}/__pycache__/launch.{sys.implementation.cache_tag}.bundle"
_MAGIC = f"mlsandbox bundle 1 {sys.hexversion:x}\n".encode()
_DIGEST = 64
_ModuleType = type(sys)
_ModuleSpec = type(sys.__spec__)

# What a launch of a command executes when its decision is remembered; the imports that functions make stand here.
LAUNCH = (
    "launcher.cli.main",
    "launcher.cli.launch",
    "launcher.service.remembered",
    "launcher.kernel.feature_cache",
)
# What decides and what judges later execs.
DECIDING = ("launcher.service.deciding", "launcher.capability.permissions")


def load(path: str = FILE) -> bool:
    """Executes the modules of the bundle at `path`; False, and nothing done, where there is none that is current."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        data = os.read(fd, os.fstat(fd).st_size)
    finally:
        os.close(fd)
    start = len(_MAGIC) + _DIGEST
    if not data.startswith(_MAGIC) or len(data) == start:
        return False
    stamps, rows, deferred = marshal.loads(memoryview(data)[start:])  # noqa: S302  trusted as a .pyc is, see above
    if not _is_current(stamps):
        return False
    sys.meta_path.insert(0, Deferred(data[len(_MAGIC) : start].decode(), deferred))
    _execute(rows)
    return True


class Deferred:
    """The finder and loader of what the bundle holds and a launch does not always execute.

    `identity` is a digest of all code in the bundle: which decisions are this code's own.
    """

    __slots__ = ("_held", "identity")

    def __init__(self, identity: str, held: dict[str, tuple[bool, str, bytes]]) -> None:
        self.identity = identity
        self._held = held

    def holds(self, name: str) -> bool:
        """Whether the module can be imported without any file."""
        return name in self._held

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """See importlib.abc.MetaPathFinder."""
        del path, target
        row = self._held.get(name)
        if row is None:
            return None
        spec = _ModuleSpec(name, self, origin=row[1], is_package=row[0])  # type: ignore[arg-type]
        spec.has_location = True
        if row[0]:
            spec.submodule_search_locations = [os.path.dirname(row[1])]
        return spec

    def create_module(self, spec: ModuleSpec) -> None:
        """None: a module as it always is."""

    def exec_module(self, module: ModuleType) -> None:
        """See importlib.abc.Loader."""
        exec(marshal.loads(self._held[module.__name__][2]), module.__dict__)  # noqa: S102, S302  trusted as above


def _is_current(stamps: list[Stamp]) -> bool:
    """Whether every file has the size and the modification time that it had."""
    stat = os.stat
    try:
        for path, size, modified in stamps:
            found = stat(path)
            if found.st_mtime_ns != modified or found.st_size != size:
                return False
    except OSError:
        return False
    return True


def _execute(rows: list[Row]) -> None:
    """What the import system would do for each row, without looking for it: a row's imports come before it."""
    fresh = [row for row in rows if row[0] not in sys.modules]
    for name, package, file, _code in fresh:
        if package:  # a package may import its own modules while it is executed
            _add(name, file, package=True)
    for name, package, file, code in fresh:
        if not package:
            _add(name, file, package=False)
        exec(code, sys.modules[name].__dict__)  # noqa: S102  a module's own code


def _add(name: str, file: str, *, package: bool) -> None:
    module = _ModuleType(name)
    parent, _, last = name.rpartition(".")
    spec = _ModuleSpec(name, None, origin=file, is_package=package)
    names = module.__dict__
    names["__file__"], names["__spec__"] = file, spec
    names["__package__"] = name if package else parent
    if package:
        names["__path__"] = spec.submodule_search_locations = [os.path.dirname(file)]
    sys.modules[name] = module
    if parent:
        sys.modules[parent].__dict__[last] = module


# -- writing it --------------------------------------------------------------------------------------------------------


def write(path: str = FILE) -> int:
    """Writes the bundle at `path`; the number of modules in it. To be called in a process that does nothing else."""
    executed, others = _modules_of_a_launch()
    files = [str(sys.modules[name].__file__) for name in (*executed, *others, "launcher", __name__)]
    stamps = [_stamp(file) for file in (*files, *_records())]
    deferred = {name: (package, file, marshal.dumps(code)) for name, package, file, code in map(_row, others)}
    body = marshal.dumps((stamps, [_row(name) for name in executed], deferred))
    from launcher.canonical import sha256_hex

    temporary = f"{path}.{os.getpid()}"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(temporary, "xb") as target:
        target.write(_MAGIC + sha256_hex(body).encode() + body)
        target.flush()
        os.fsync(target.fileno())
    os.replace(temporary, path)
    return len(executed) + len(others)


def _modules_of_a_launch() -> tuple[list[str], list[str]]:
    """What every launch executes, in order, and what one that has to decide, or to judge an exec, imports beside it."""
    done = _record_executions()
    for name in LAUNCH:
        __import__(name)
    executed = list(done)
    for name in DECIDING:
        __import__(name)
    return executed, done[len(executed) :]


def _record_executions() -> list[str]:
    """A list that grows by the name of each module of ours when its execution is done."""
    from importlib.machinery import SourceFileLoader

    done: list[str] = []
    execute = SourceFileLoader.exec_module

    def exec_module(self: SourceFileLoader, module: ModuleType) -> None:
        execute(self, module)
        if module.__name__.startswith("launcher"):
            done.append(module.__name__)

    SourceFileLoader.exec_module = exec_module  # type: ignore[method-assign, assignment]
    return done


def _row(name: str) -> Row:
    module = sys.modules[name]
    file = str(module.__file__)
    with open(file, "rb") as source:
        # as under -OO: nothing on the path of a launch asks for a docstring, and no check is an assertion
        code = compile(source.read(), file, "exec", dont_inherit=True, optimize=2)
    return name, hasattr(module, "__path__"), file, code


def _stamp(path: str) -> Stamp:
    found = os.stat(path)
    return path, found.st_size, found.st_mtime_ns


def _records() -> list[str]:
    """RECORD of the installed distribution; nothing in a checkout."""
    site = os.path.dirname(_TOP)
    names = [name for name in os.listdir(site) if name.startswith("mlsandbox-") and name.endswith(".dist-info")]
    return [f"{site}/{name}/RECORD" for name in names]


if __name__ == "__main__":
    from launcher.cli.bundle import write as _write  # the module under its own name, which the bundle does not hold

    sys.stdout.write(f"{FILE}: {_write()} modules\n")
