"""Writes the bundle of a launch (`launcher.cli.bundle`), when the product is installed."""

from __future__ import annotations

import ast
import marshal
import os
import sys

from launcher.canonical import sha256_hex
from launcher.cli.bundle import FILE, HEAD, MAGIC, NUMBER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, ModuleType

    from launcher.cli.bundle import Later, Row, Stamp

# What a launch of a command executes when its decision is remembered; the imports that functions make stand here.
LAUNCH = (
    "launcher.cli.main",
    "launcher.cli.launch",
    "launcher.service.launching",
    "launcher.service.remembered",
    "launcher.kernel.feature_cache",
)
# What decides and what judges later execs: all of it, imports inside functions too, because `identity` vouches for it.
DECIDING = ("launcher.service.deciding", "launcher.capability.permissions", "launcher.capability.containment")
# The functions that a launch calls, as tests/bench/executed_functions.py found them: MODULE:QUALIFIED.NAME a line.
# It says what is loaded early, never what can be called; a name that is missing costs its call 0.05 ms.
EXECUTED = f"{os.path.dirname(__file__)}/executed.txt"
_PART = 64 << 10
_SHORT = 400  # bytes of code for which a stub saves nothing


def write(path: str = FILE) -> int:
    """Writes the bundle at `path`; the number of modules in it. To be called in a process that does nothing else."""
    executed, others = modules_of_a_launch()
    names = (*executed, *others, "launcher", "launcher.cli", "launcher.cli.bundle", "launcher.cli.entry")
    stamps = [_stamp(str(_module(name).__file__)) for name in dict.fromkeys(names)]
    pool = _Pool()
    called = _called()
    rows = [_slim_row(name, called, pool) for name in ("launcher", "launcher.cli", "launcher.cli.entry", *executed)]
    deferred = {name: _later(name, pool) for name in others}
    stamps += [_stamp(file) for file in (*_records(), EXECUTED)]
    parts = [pool.add(part) for part in _parts(rows)]
    loader, first = marshal.dumps(compiled(*tree_of("launcher.cli.bundle"))), marshal.dumps((stamps, deferred, parts))
    body = loader + first + bytes(pool.data)
    lengths = (len(loader), len(first), HEAD + len(body))
    head = MAGIC + sha256_hex(body).encode() + b"".join([b"%*d" % (NUMBER, length) for length in lengths])
    _replace(path, head + body, 0o644)
    return len(executed) + len(others)


def _replace(path: str, content: bytes, mode: int) -> None:
    temporary = f"{path}.{os.getpid()}"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(temporary, "xb") as target:
        target.write(content)
        target.flush()
        os.fchmod(target.fileno(), mode)
        os.fsync(target.fileno())
    os.replace(temporary, path)


_ROOM = 4096  # what follows is ignored: a bundle that is written anew may begin with a somewhat longer loader
# Python does not keep the compiled form of a command, so it is short. It takes the loader out of the bundle, because
# finding three modules on the path costs as much as executing half of them.
_COMMAND = """\
#!{python} -IS
import marshal
import posix
import sys

sys.path.insert(0, {library!r})
if sys.hexversion == {version} and sys.argv[1:2] in (["launch"], ["shell"]):
    names = {{"__name__": "launcher.cli.bundle", "__file__": {module!r}}}
    try:
        file = posix.open({bundle!r}, posix.O_CLOEXEC)
        names["loader"] = marshal.loads(posix.pread(file, {length}, {head}))
        posix.close(file)
    except (OSError, ValueError, EOFError, TypeError):
        pass
    else:
        exec(names["loader"], names)
        names["begin"](names)
from launcher.cli.entry import start

start()
"""


def write_command(path: str, python: str) -> None:
    """Writes the command, for the interpreter `python`, to `path`."""
    module = str(_module("launcher.cli.bundle").__file__)
    with open(FILE, "rb") as file:
        length = int(file.read(HEAD)[-3 * NUMBER : -2 * NUMBER]) + _ROOM
    text = _COMMAND.format(
        python=python, library=_site(), version=sys.hexversion, module=module, bundle=FILE, length=length, head=HEAD
    )
    _replace(path, os.fsencode(text), 0o755)


def _parts(rows: list[Row]) -> list[list[Row]]:
    """The rows in pieces that malloc takes from its heap: above 128 KiB it maps fresh pages for each, and faults."""
    parts: list[list[Row]] = [[]]
    size = 0
    for row in rows:
        size += len(marshal.dumps(row))
        if size > _PART:
            parts.append([])
            size = len(marshal.dumps(row))
        parts[-1].append(row)
    return parts


class _Pool:
    """Code that is read one piece at a time."""

    def __init__(self) -> None:
        self.data = bytearray()

    def add(self, code: CodeType | list[Row]) -> tuple[int, int]:
        """Where it lies, and how long it is."""
        content = marshal.dumps(code)
        self.data += content
        return len(self.data) - len(content), len(content)


# -- which modules -----------------------------------------------------------------------------------------------------


def modules_of_a_launch() -> tuple[list[str], list[str]]:
    """What every launch executes, in order, and what one that has to decide, or to judge an exec, imports beside it."""
    before = [name for name in sys.modules if name.startswith("launcher")]
    done = _record_executions()
    for name in LAUNCH:
        __import__(name)
    # what this module itself imported is of the launch as well, and was done first; the writer is not
    executed = [name for name in before if name not in ("launcher", "launcher.cli", __name__)] + done
    executed = [name for name in dict.fromkeys(executed) if name != "launcher.cli.bundle"]
    for name in DECIDING:
        __import__(name)
    return executed, [name for name in done if name not in executed]


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


def _module(name: str) -> ModuleType:
    __import__(name)
    return sys.modules[name]


def _stamp(path: str) -> Stamp:
    found = os.stat(path)
    return path, found.st_size, found.st_mtime_ns


def _records() -> list[str]:
    """RECORD of the installed distribution; nothing in a checkout."""
    site = _site()
    names = [name for name in os.listdir(site) if name.startswith("mlsandbox-") and name.endswith(".dist-info")]
    return [f"{site}/{name}/RECORD" for name in names]


def _site() -> str:
    return os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


# -- their code --------------------------------------------------------------------------------------------------------


def _slim_row(name: str, called: set[str], pool: _Pool) -> Row:
    tree, file = tree_of(name)
    later = {
        qualified: pool.add(code)
        for qualified, code in functions_of(compiled(tree, file)).items()
        if f"{name}:{qualified}" not in called and len(marshal.dumps(code)) > _SHORT
    }
    _Stubs(later).visit(tree)
    return name, hasattr(_module(name), "__path__"), file, compiled(ast.fix_missing_locations(tree), file)


def _later(name: str, pool: _Pool) -> Later:
    tree, file = tree_of(name)
    return hasattr(_module(name), "__path__"), file, *pool.add(compiled(tree, file))


def tree_of(name: str) -> tuple[ast.Module, str]:
    file = str(_module(name).__file__)
    with open(file, "rb") as source:
        tree: ast.Module = _Untyped().visit(ast.parse(source.read()))
    return ast.fix_missing_locations(tree), file


def compiled(tree: ast.Module, file: str) -> CodeType:
    # as under -OO: nothing on the path of a launch asks for a docstring, and no check is an assertion
    return compile(tree, file, "exec", dont_inherit=True, optimize=2)


def functions_of(code: CodeType) -> dict[str, CodeType]:
    """The functions of a module and of its classes, by qualified name.

    None that closes over names of another scope (`super()` does): its code means nothing without them. None whose name
    has another meaning as well (the getter and the setter of one property).
    """
    found: list[CodeType] = []
    _collect(code, found)
    names = [each.co_qualname for each in found]
    return {each.co_qualname: each for each in found if names.count(each.co_qualname) == 1 and not each.co_freevars}


def _collect(code: CodeType, found: list[CodeType]) -> None:
    for constant in code.co_consts:
        if isinstance(constant, type(code)) and not constant.co_name.startswith("<"):
            if constant.co_flags & _OPTIMIZED:
                found.append(constant)
            else:  # the body of a class
                _collect(constant, found)


_OPTIMIZED = 0x1  # inspect.CO_OPTIMIZED: the code of a function


def _called() -> set[str]:
    with open(EXECUTED, encoding="ascii") as file:
        return set(file.read().split())


class _Untyped(ast.NodeTransformer):
    """The module without what only a type checker reads: a fifth of the code, and of the time to load it."""

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


class _Stubs(ast.NodeTransformer):
    """Puts `return __later__(OFFSET, LENGTH, globals())(ARGUMENTS)` in the place of the bodies that lie elsewhere."""

    def __init__(self, later: dict[str, tuple[int, int]]) -> None:
        self._later = later
        self._scope: list[str] = []

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        self._scope.append(node.name)
        self.generic_visit(node)
        self._scope.pop()
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        place = self._later.get(".".join([*self._scope, node.name]))
        if place is not None:
            node.body = [ast.copy_location(ast.Return(_call(node.args, *place)), node)]
        return node


def _call(taken: ast.arguments, offset: int, length: int) -> ast.Call:
    """A call of what lies at `offset` with all that the function of these arguments was called with."""
    function = ast.parse(f"__later__({offset}, {length}, globals())", mode="eval").body
    given: list[ast.expr] = [_name(each) for each in (*taken.posonlyargs, *taken.args)]
    if taken.vararg:
        given.append(ast.Starred(_name(taken.vararg), ast.Load()))
    keywords = [ast.keyword(each.arg, _name(each)) for each in taken.kwonlyargs]
    if taken.kwarg:
        keywords.append(ast.keyword(None, _name(taken.kwarg)))
    return ast.Call(function, given, keywords)


def _name(argument: ast.arg) -> ast.Name:
    return ast.Name(argument.arg, ast.Load())
