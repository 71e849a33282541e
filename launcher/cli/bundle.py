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
    import ast
    from importlib.machinery import ModuleSpec
    from types import CodeType, ModuleType

    Row = tuple[str, bool, str, CodeType]  # a module's name, whether it is a package, its file, its code
    Stamp = tuple[str, int, int]  # a file, its size, its modification time in ns

_TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# Another interpreter has another marshal format: the tag is in the name, the exact version in the first line.
FILE = f"{_TOP}/__pycache__/launch.{sys.implementation.cache_tag}.bundle"
_MAGIC = f"mlsandbox bundle 2 {sys.hexversion:x}\n".encode()
_NUMBER = 10  # digits: the length of the part that is always read
_HEAD = len(_MAGIC) + 64 + _NUMBER
_ModuleType = type(sys)
_ModuleSpec = type(sys.__spec__)

# What a launch of a command executes when its decision is remembered; the imports that functions make stand here.
LAUNCH = (
    "launcher.cli.main",
    "launcher.cli.launch",
    "launcher.service.remembered",
    "launcher.kernel.feature_cache",
)
# What decides and what judges later execs: all of it, imports inside functions too, because `identity` vouches for it.
DECIDING = ("launcher.service.deciding", "launcher.capability.permissions", "launcher.capability.containment")


def load(path: str = FILE) -> bool:
    """Executes the modules of the bundle at `path`; False, and nothing done, where there is none that is current."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        head = os.read(fd, _HEAD)
        if len(head) < _HEAD or not head.startswith(_MAGIC):
            return False
        identity, first = head[len(_MAGIC) : -_NUMBER].decode(), int(head[-_NUMBER:])
        stamps, others, rows = marshal.loads(os.read(fd, first))  # noqa: S302  trusted as a .pyc is, see above
    finally:
        os.close(fd)
    if not _is_current(stamps):
        return False
    sys.meta_path.insert(0, Deferred(identity, path, _HEAD + first, others))
    _execute(rows)
    return True


class Deferred:
    """The finder and loader of what the bundle holds and a launch does not always execute.

    `identity` is a digest of all code in the bundle: which decisions are this code's own. The code itself is read when
    the first of these modules is asked for, or by `hold`.
    """

    __slots__ = ("_code", "_names", "_path", "_start", "identity")

    def __init__(self, identity: str, path: str, start: int, names: list[str]) -> None:
        self.identity = identity
        self._path = path
        self._start = start
        self._names = frozenset(names)
        self._code: dict[str, tuple[bool, str, bytes]] | None = None

    def hold(self, name: str) -> bool:
        """Whether the module can from now on be imported without any file."""
        return name in self._names and name in self._held()

    def _held(self) -> dict[str, tuple[bool, str, bytes]]:
        if self._code is None:
            with open(self._path, "rb", buffering=0) as file:
                head = os.pread(file.fileno(), _HEAD, 0)
                data = os.pread(file.fileno(), os.fstat(file.fileno()).st_size, self._start)
            # another one by now, of another installation: then everything is imported as if there were none
            self._code = marshal.loads(data) if head[len(_MAGIC) : -_NUMBER].decode() == self.identity else {}  # noqa: S302
        return self._code

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """See importlib.abc.MetaPathFinder."""
        del path, target
        row = self._held().get(name) if name in self._names else None
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
        exec(marshal.loads(self._held()[module.__name__][2]), module.__dict__)  # noqa: S102, S302  trusted as above


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
    first = marshal.dumps((stamps, others, [_row(name) for name in executed]))
    rest = marshal.dumps(deferred)
    from launcher.canonical import sha256_hex

    temporary = f"{path}.{os.getpid()}"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(temporary, "xb") as target:
        target.write(_MAGIC + sha256_hex(first + rest).encode() + b"%*d" % (_NUMBER, len(first)) + first + rest)
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
        code = compile(_for_the_machine(source.read()), file, "exec", dont_inherit=True, optimize=2)
    return name, hasattr(module, "__path__"), file, code


def _for_the_machine(source: bytes) -> ast.Module:
    """The module without what only a type checker reads: a fifth of the code, and of the time to load it."""
    import ast

    class Untyped(ast.NodeTransformer):
        def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
            node.returns = None
            for argument in ast.walk(node.args):
                if isinstance(argument, ast.arg):
                    argument.annotation = None
            return self.generic_visit(node)

        def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
            if node.value is None:
                return ast.copy_location(ast.Pass(), node)
            return ast.copy_location(ast.Assign([node.target], self.visit(node.value)), node)

        def visit_If(self, node: ast.If) -> ast.AST:
            if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING" and not node.orelse:
                return ast.copy_location(ast.Pass(), node)
            return self.generic_visit(node)

        def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST:
            return ast.copy_location(ast.Pass(), node) if node.module == "__future__" else node

    tree: ast.Module = Untyped().visit(ast.parse(source))
    return ast.fix_missing_locations(tree)


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
