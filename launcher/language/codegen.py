"""Checked trees to code objects.

The generated text (`launcher.language.generate`) is compiled at once, which is several times quicker than building the
host's tree node by node. Afterwards the prefix of variables is taken off the names that error messages and tracebacks
show.
"""

from __future__ import annotations

import sys

from launcher.language.compiled import FILE_PREFIX
from launcher.language.diagnostics import Diagnostic, SourceError
from launcher.language.generate import Generator

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType

    from launcher.language import ast
    from launcher.language.names import Names
    from launcher.language.source import Source

_FUNCTION_NAMES = {"main": "<program>", "<module>": "<input>"}


class Generated:
    """Host code of one source: the code of its main function, and the ML offset of each of its lines."""

    __slots__ = ("code", "marks")

    def __init__(self, code: CodeType, marks: tuple[int, ...]) -> None:
        self.code = code
        self.marks = marks


def generate(program: ast.Program, source: Source, names: Names, *, module: bool = False) -> Generated:
    """The code of a checked program; of a user `module` the top-level names are exported.

    Raises SourceError for what the host's compiler refuses: more than 20 loops and `try` inside each other, or an
    expression beyond its stack.
    """
    generator = Generator(names, names.scopes[program], source.text)
    try:
        whole = _compiled(generator.program(program, module=module), source, generator.marks)
    except NestingError:
        generator = Generator(names, names.scopes[program], source.text)
        generator.single = True
        whole = _compiled(generator.program(program, module=module), source, generator.marks)
    code = next(constant for constant in whole.co_consts if hasattr(constant, "co_code"))
    return Generated(_renamed(code), tuple(generator.marks))


def generate_session(program: ast.Program, source: Source, names: Names) -> Generated:
    """The code of one input of an interactive session: its top-level variables are globals of the session.

    The value of a final expression statement goes to the function `echo`. Raises SourceError.
    """
    generator = Generator(names, names.scopes[program], source.text)
    generator.session = True
    generator.purity.modules = frozenset()
    text = generator.session_text(program)
    return Generated(_renamed(_compiled(text, source, generator.marks)), tuple(generator.marks))


def _compiled(text: str, source: Source, marks: list[int]) -> CodeType:
    try:
        return _quietly(text, FILE_PREFIX + source.name)
    except (SyntaxError, RecursionError, MemoryError, ValueError) as error:
        kind = NestingError if "nested blocks" in str(error) else SourceError
        raise kind(source, [_refusal(error, marks)]) from None


def _quietly(text: str, name: str) -> CodeType:
    """CPython 3.14 warns of `return` in `finally` (PEP 765), which ML allows and defines."""
    if sys.version_info >= (3, 14):
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            return compile(text, name, "exec", dont_inherit=True)
    return compile(text, name, "exec", dont_inherit=True)


class NestingError(SourceError):
    """The host's bound of 20 blocks inside each other."""


def _refusal(error: BaseException, marks: list[int]) -> Diagnostic:
    line = getattr(error, "lineno", None) or 1
    start = marks[min(line, len(marks)) - 1]
    nested = "nested blocks" in str(error)
    message = "more than 20 loops, try and except inside each other" if nested else f"this is too deep: {error}"
    if "outside function" in str(error):
        return Diagnostic("return outside a function", start, start + 1)
    return Diagnostic(message, start, start + 1, hint="move an inner part into a function")


def _renamed(code: CodeType) -> CodeType:
    """The code with the names of variables as ML writes them; temporaries get a `.`, which no ML name has."""
    constants = tuple([_renamed(item) if hasattr(item, "co_code") else item for item in code.co_consts])
    name = code.co_name[2:] if code.co_name.startswith("v_") else _FUNCTION_NAMES.get(code.co_name, "fn")
    return code.replace(
        co_consts=constants,
        co_name=name,
        co_qualname=name,
        co_varnames=tuple(map(_shown, code.co_varnames)),
        co_cellvars=tuple(map(_shown, code.co_cellvars)),
        co_freevars=tuple(map(_shown, code.co_freevars)),
    )


def _shown(name: str) -> str:
    return name[2:] if name.startswith("v_") else f".{name}"
