"""A compiled program as bytes and back: all that starting a program from a cache needs of the front end.

`marshal` is code: bytes must come from where the interpreter itself is trusted, or be run only where the program may
do anything anyway (the job's own sandbox; docs/decisions/compiled-programs.md).
"""

from __future__ import annotations

import marshal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType
    from typing import Any

# Changes whenever the same source would give other code.
LANGUAGE_VERSION = 1
# A source that begins so is no program but asks for an interactive session on stdin: `launcher.runtime.main`.
SESSION = b"#!mlsandbox repl"
# The file name in code objects by which tracebacks know ML frames; the program's name follows.
FILE_PREFIX = "ml:"


class Unit:
    """One compiled source: its name and text (for stack traces), its code, the offset of each line of the code, and
    the full names of the user modules that its imports mean.
    """

    __slots__ = ("code", "marks", "modules", "name", "text")

    def __init__(self, name: str, text: str, code: CodeType, marks: tuple[int, ...], modules: dict[str, str]) -> None:
        self.name = name
        self.text = text
        self.code = code
        self.marks = marks
        self.modules = modules

    def parts(self) -> tuple[Any, ...]:
        return self.name, self.text, self.code, self.marks, self.modules


class Program:
    """A compiled program: its main unit, its user modules by full name, and what it declares and imports.

    `needs` is a list of `Grant.to_data()` values, `imports` the dotted names in order.
    """

    __slots__ = ("imports", "main", "modules", "needs")

    def __init__(self, main: Unit, modules: dict[str, Unit], needs: list[dict[str, Any]], imports: list[str]) -> None:
        self.main = main
        self.modules = modules
        self.needs = needs
        self.imports = imports

    def to_bytes(self) -> bytes:
        """The program for a cache."""
        modules = {name: unit.parts() for name, unit in self.modules.items()}
        return marshal.dumps((_version(), self.main.parts(), modules, self.needs, self.imports))

    @classmethod
    def from_bytes(cls, data: bytes) -> Program:
        """The inverse of `to_bytes`; the bytes must be trusted. Raises ValueError when another version wrote them."""
        version, main, modules, needs, imports = marshal.loads(data)  # noqa: S302  a trusted cache, see above
        if version != _version():
            raise ValueError("compiled by another version")
        return cls(Unit(*main), {name: Unit(*parts) for name, parts in modules.items()}, needs, imports)


def _version() -> tuple[Any, ...]:
    return LANGUAGE_VERSION, sys.implementation.cache_tag, sys.hexversion
