"""The front end as one call: bytes of a program to something that `launcher.runtime` can run.

Pure: user modules come from a function of the caller.
"""

from __future__ import annotations

from launcher.language import ast, declare, names
from launcher.language.catalogue import BUILTIN_MODULE, HOST_MODULES, LIBRARY
from launcher.language.codegen import generate, generate_session
from launcher.language.compiled import SESSION, Program, Unit
from launcher.language.diagnostics import Diagnostic, Findings, SourceError
from launcher.language.parser import parse
from launcher.language.source import Source
from launcher.language.uses import uses

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    # Dotted name of a user module -> its source, or None when there is none.
    Loader = Callable[[str], bytes | None]

MAX_MODULES = 200
_TOO_DEEP = Diagnostic("the program is nested too deeply", 0, 0, hint="move inner parts into functions")


def compile_program(data: bytes, name: str, loader: Loader | None = None) -> Program:
    """Compile a program and the user modules that it imports. Raises SourceError."""
    return _Compiler(loader or _no_modules).program(data, name)


def compile_input(text: str, name: str, known: set[str]) -> tuple[Unit, set[str]]:
    """One input of an interactive session, and the top-level names that it binds. Raises SourceError.

    `known` are the names that earlier inputs have bound. Only library modules can be imported.
    """
    source = Source(text, name)
    tree = parse(source)
    found = names.check(tree, source, lambda _path: False, known)
    generated = generate_session(tree, source, found)
    bound = found.scopes[tree].locals
    return Unit(name, text, generated.code, generated.marks, {}), bound


def _no_modules(_name: str) -> bytes | None:
    return None


class _Compiler:
    """One run of the front end."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader
        self.sources: dict[str, bytes | None] = {}
        self.modules: dict[str, Unit] = {}
        self.needs: list[dict[str, Any]] = []

    def program(self, data: bytes, name: str) -> Program:
        source = Source.from_bytes(data, name)
        try:
            main, imports = self.unit(source, "", module=False)
        except RecursionError:
            raise SourceError(source, [_TOO_DEEP]) from None
        return Program(main, self.modules, self.needs, imports)

    def unit(self, source: Source, package: str, *, module: bool) -> tuple[Unit, list[str]]:
        tree = parse(source)
        findings = Findings(source)
        self.needs += declare.needs(tree, source, findings)
        findings.raise_any()
        found = names.check(tree, source, lambda path: bool(self.resolve(path, package)))
        generated = generate(tree, source, found, module=module)
        resolved = {path: full for path in found.modules if (full := self.resolve(path, package))}
        for full in resolved.values():
            self.load(full, source)
        return Unit(source.name, source.text, generated.code, generated.marks, resolved), found.modules

    def resolve(self, path: str, package: str) -> str:
        """The full name of the user module that an import means, or "": library modules go first."""
        if path in LIBRARY or path == BUILTIN_MODULE:
            return ""
        for full in (path, f"{package}.{path}" if package else path):
            if self.source(full) is not None:
                return full
        return ""

    def source(self, full: str) -> bytes | None:
        if full not in self.sources:
            self.sources[full] = self.loader(full)
        return self.sources[full]

    def load(self, full: str, importer: Source) -> None:
        """Compile a user module once. A cycle of imports is allowed: the entry is there before its imports are."""
        if full in self.modules:
            return
        if len(self.modules) >= MAX_MODULES:
            raise SourceError(importer, [Diagnostic(f"more than {MAX_MODULES} modules are imported", 0, 0)])
        source = Source.from_bytes(self.sources[full] or b"", full.replace(".", "/") + ".ml")
        self.modules[full] = _PENDING
        self.modules[full], _imports = self.unit(source, full.rpartition(".")[0], module=True)


_PENDING = Unit("", "", compile("", "", "exec"), (), {})


def declarations(data: bytes, name: str) -> dict[str, Any]:
    """What the reader of untrusted source reports: `needs`, `uses`, `imports`, `diagnostics`, as plain JSON values.

    User modules are not followed: `imports` names what the caller may add.
    """
    return read_program(data, name)[0]


def read_program(data: bytes, name: str) -> tuple[dict[str, Any], Program | None]:
    """`declarations`, and the compiled program where it has no mistakes and imports library modules only."""
    reading = _Reading()
    program = None
    try:
        program = reading.program(Source.from_bytes(b"" if data.startswith(SESSION) else data, name))
    except SourceError as error:
        reading.findings = [diagnostic.to_data(error.source) for diagnostic in error.diagnostics]
    except RecursionError:
        reading.findings = [_TOO_DEEP.to_data(Source("", name))]
    return reading.to_data(), program


class _Reading:
    """What is known of a source; each step adds to it until one fails."""

    def __init__(self) -> None:
        self.needs: list[dict[str, Any]] = []
        self.uses: list[dict[str, Any]] = []
        self.imports: list[str] = []
        self.findings: list[dict[str, object]] = []

    def program(self, source: Source) -> Program | None:
        tree = parse(source)
        self.imports = [".".join(node.path) for node in tree.body if isinstance(node, ast.Import)]
        self.uses = uses(tree, source)
        found = Findings(source)
        self.needs = declare.needs(tree, source, found)
        found.raise_any()
        known = names.check(tree, source, lambda path: path.partition(".")[0] not in HOST_MODULES)
        if not all(path in LIBRARY or path == BUILTIN_MODULE for path in self.imports):
            return None
        made = generate(tree, source, known)
        return Program(Unit(source.name, source.text, made.code, made.marks, {}), {}, self.needs, known.modules)

    def to_data(self) -> dict[str, Any]:
        return {"needs": self.needs, "uses": self.uses, "imports": self.imports, "diagnostics": self.findings}
