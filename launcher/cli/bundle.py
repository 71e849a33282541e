"""All modules of a launch in one file: one read instead of six system calls and one unmarshal for each.

`python3 -IS -m launcher.cli.bundle [COMMAND]` has `launcher.cli.bundle_writer` write the file, and at COMMAND the
command that uses it. The file lies in the package's `__pycache__`, as Python's own cache: whoever may write there may
already change what a launch executes, so it is trusted exactly as a .pyc is. It holds, in this order:

- the code of this module, for the installed command;
- the stamps of the sources, and where everything else lies;
- the modules that every launch of a command executes, in the order in which they are done. A function of them that a
  common launch never calls (`executed.txt`) stands there as a stub of the same signature;
- the code of those functions, and the modules that only some launches need (what decides, the algebra), each as bytes
  that are read when they are called or imported. That works when no file is in view any more, in pid 1 of a sandbox,
  because the file stays open.

It is never stale: like a .pyc it names the size and modification time of each source, and those of the wheel's RECORD,
which pip writes anew at each installation even where a reproducible wheel gives all its files one time. When anything
differs the whole bundle is left alone and modules are imported one by one; nothing is remembered then either
(`launcher.service.remembered`), because nothing says which code decides.
"""

from __future__ import annotations

import fcntl
import gc
import marshal
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from importlib.machinery import ModuleSpec
    from types import CodeType, ModuleType
    from typing import Any

    Row = tuple[str, bool, str, CodeType]  # a module's name, whether it is a package, its file, its code
    Stamp = tuple[str, int, int]  # a file, its size, its modification time in ns
    Later = tuple[bool, str, int, int]  # whether it is a package, its file, where its code is and how long
    Names = dict[str, Any]

_TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# Another interpreter has another marshal format: the tag is in the name, the exact version in the first line.
FILE: str = f"{_TOP}/__pycache__/launch.{sys.implementation.cache_tag}.bundle"
MAGIC: bytes = f"mlsandbox bundle 3 {sys.hexversion:x}\n".encode()
IDENTITY: int = 64  # hexadecimal digits
NUMBER: int = 10  # digits of a length: of this module's own code, of the stamps and places, of the whole file
HEAD: int = len(MAGIC) + IDENTITY + 3 * NUMBER
# A launch makes some ten thousand objects and no garbage; collecting while it does costs it 1 ms. A supervisor that
# lives for days still collects.
_OBJECTS_BEFORE_COLLECTING = 50_000
_HIGH = 64  # above the numbers that a job is handed descriptors at; closed with the rest when its image starts
_ModuleType = type(sys)
_ModuleSpec = type(sys.__spec__)
_FunctionType: Callable[..., Callable[..., Any]] = type(lambda: None)


def load(path: str = FILE) -> bool:
    """Executes the modules of the bundle at `path`; False, and nothing done, where there is none that is current."""
    opened = _open(path)
    if opened is None:
        return False
    fd, identity, start, length = opened
    stamps, others, parts = marshal.loads(os.pread(fd, length, start))  # noqa: S302  trusted as a .pyc is, see above
    if not _is_current(stamps):
        os.close(fd)
        return False
    start += length
    rows = [row for at, size in parts for row in marshal.loads(os.pread(fd, size, start + at))]  # noqa: S302  as above
    deferred = Deferred(identity, path, fd, start, others)
    sys.meta_path.insert(0, deferred)
    _execute(rows, deferred.function)
    return True


def begin(names: Names) -> None:
    """What the installed command calls, which found this module's code in the bundle: `names` are its globals."""
    gc.set_threshold(_OBJECTS_BEFORE_COLLECTING)
    if load():
        _add(__name__, __file__, package=False)
        sys.modules[__name__].__dict__.update(names)


def _open(path: str) -> tuple[int, str, int, int] | None:
    """A descriptor of a whole bundle for this interpreter, its identity, where the stamps start, their length."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    head = os.pread(fd, HEAD, 0)
    if len(head) < HEAD or not head.startswith(MAGIC) or os.fstat(fd).st_size != int(head[-NUMBER:]):
        os.close(fd)
        return None
    loader, length = int(head[-3 * NUMBER : -2 * NUMBER]), int(head[-2 * NUMBER : -NUMBER])
    return fd, head[len(MAGIC) : len(MAGIC) + IDENTITY].decode(), HEAD + loader, length


class Deferred:
    """The finder and loader of what the bundle holds and a launch does not always execute.

    `identity` is a digest of all code in the bundle: which decisions are this code's own.
    """

    __slots__ = ("_fd", "_file", "_functions", "_names", "_path", "_start", "identity")

    def __init__(self, identity: str, path: str, fd: int, start: int, names: dict[str, Later]) -> None:
        """`fd` becomes this object's own."""
        self.identity = identity
        self._path = path
        self._start = start
        self._names = names
        self._functions: dict[int, Callable[..., Any]] = {}
        self._take(fd)

    def hold(self, name: str) -> bool:
        """Whether the module can be imported without any file, as long as the descriptor stays open."""
        return name in self._names and self._is_ours()

    def fileno(self) -> int:
        """The descriptor of the bundle."""
        return self._fd

    def function(self, offset: int, length: int, names: Names) -> Callable[..., Any]:
        """The function whose code lies at `offset`, of the module with the globals `names`: what a stub calls."""
        made = self._functions.get(offset)
        if made is None:
            made = self._functions[offset] = _FunctionType(self._code(offset, length), names)
        return made

    def _code(self, offset: int, length: int) -> CodeType:
        if not self._is_ours():
            self._open_again()
        code: CodeType = marshal.loads(os.pread(self._fd, length, self._start + offset))  # noqa: S302  as above
        return code

    def _take(self, fd: int) -> None:
        try:
            self._fd = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _HIGH)
            os.close(fd)
        except OSError:  # fewer open files than that are allowed
            self._fd = fd
        found = os.fstat(self._fd)
        self._file = (found.st_dev, found.st_ino)

    def _is_ours(self) -> bool:
        """Whether the descriptor is still the bundle's: a process that closed all may have the number for another
        file, whose bytes must never become code.
        """
        try:
            found = os.fstat(self._fd)
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == self._file

    def _open_again(self) -> None:
        opened = _open(self._path)
        if opened is None or opened[1] != self.identity:
            raise ImportError(f"{self._path} was replaced; start again")
        self._take(opened[0])

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """See importlib.abc.MetaPathFinder."""
        del path, target
        row = self._names.get(name)
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
        _package, _file, offset, length = self._names[module.__name__]
        exec(self._code(offset, length), module.__dict__)  # noqa: S102  trusted as above


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


def _execute(rows: list[Row], function: Callable[[int, int, Names], Callable[..., Any]]) -> None:
    """What the import system would do for each row, without looking for it: a row's imports come before it."""
    fresh = [row for row in rows if row[0] not in sys.modules]
    for name, package, file, _code in fresh:
        if package:  # a package may import its own modules while it is executed
            _add(name, file, package=True)
    for name, package, file, code in fresh:
        if not package:
            _add(name, file, package=False)
        names = sys.modules[name].__dict__
        names["__later__"] = function
        exec(code, names)  # noqa: S102  a module's own code


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


if __name__ == "__main__":  # the writer asks for this module under its own name, which the bundle does not hold
    from launcher.cli.bundle_writer import write, write_command

    sys.stdout.write(f"{FILE}: {write()} modules\n")
    if len(sys.argv) > 1:
        write_command(sys.argv[1], sys.executable)
