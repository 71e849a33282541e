"""User modules: the ML files beside a program that its imports name, read by the launcher for the job.

They are the tenant's files: opened below the program's directory, by descriptor, refusing symbolic links, with the
tenant's ids where the launcher is root; so that an import can bring in nothing that the tenant could not read.
"""

from __future__ import annotations

import os

from launcher.enforce.namespace.fork import Effective
from launcher.errors import UsageError
from launcher.kernel import libc
from launcher.kernel.abi import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from launcher.enforce.namespace.spec import Identity
    from launcher.service.declarations import Declared

_MOST_MODULES = 200
_LARGEST = 4 << 20  # bytes of one module, as of a program
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")


class ModuleReader:
    """Collects modules by full name; `read` gives the declarations of one source."""

    __slots__ = ("_directory", "_identity", "_read", "found")

    def __init__(self, program: str, identity: Identity | None, read: Callable[[bytes, str], Declared]) -> None:
        self._directory = os.path.dirname(program) or "."
        self._identity = identity
        self._read = read
        self.found: dict[str, bytes] = {}

    def collect(self, declared: Declared, importer: str = "") -> None:
        """Reads what `declared` imports, and what those import, and adds their needs and diagnostics to it."""
        for name in declared.imports:
            for full in _candidates(name, importer):
                source = None if full in self.found else self._source(full)
                if source is None:
                    continue
                self._add(full, source)
                module = self._read(source, full.replace(".", "/") + ".ml")
                self.collect(module, full)
                declared.needs += module.needs
                declared.diagnostics += module.diagnostics

    def _add(self, name: str, source: bytes) -> None:
        if len(self.found) >= _MOST_MODULES:
            raise UsageError(f"the program imports more than {_MOST_MODULES} modules")
        self.found[name] = source

    def _source(self, name: str) -> bytes | None:
        """The bytes of the module's file, None where there is none. Raises UsageError for one that is too large."""
        effective = Effective(self._identity) if self._identity else None
        try:
            return _read_beneath(self._directory, name.replace(".", "/") + ".ml")
        finally:
            if effective:
                effective.restore()


def _candidates(name: str, importer: str) -> Iterable[str]:
    """The full names that an import may mean: beside the importing file, and beside the program."""
    if not all(part and _LETTERS.issuperset(part) for part in name.split(".")):
        return ()
    beside = importer.rpartition(".")[0]
    return dict.fromkeys([f"{beside}.{name}" if beside else name, name])


def _read_beneath(directory: str, path: str) -> bytes | None:
    try:
        top = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            flags = os.O_RDONLY | os.O_NONBLOCK
            fd = libc.openat2(top, path, flags, 0, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)
        finally:
            os.close(top)
    except OSError:
        return None
    try:
        if not os.path.isfile(f"/proc/self/fd/{fd}"):
            return None
        source = os.read(fd, _LARGEST + 1)
    finally:
        os.close(fd)
    if len(source) > _LARGEST:
        raise UsageError(f"the module {path} is larger than {_LARGEST} bytes")
    return source
