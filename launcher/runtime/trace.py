"""The report of an uncaught error: kind, text, source line, and the ML functions that led there."""

from __future__ import annotations

from launcher.language.compiled import FILE_PREFIX
from launcher.language.diagnostics import excerpt
from launcher.language.source import Source
from launcher.runtime.errors import CapabilityError, RethrownError, UserError, described

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from launcher.language.compiled import Unit

    Frame = tuple[str, str, int, int]  # function, unit, line, column

# Recursion makes thousands of equal frames: the first and the last say it all.
_SHOWN_FIRST, _SHOWN_LAST = 12, 4


def report(error: BaseException, units: Mapping[str, Unit]) -> str:
    """The error for people, several lines; the innermost function comes first."""
    found = frames(error.__traceback__, units)
    kind, text = described(error)
    lines = [f"{kind}: {text}"]
    if found:
        _function, name, line, column = found[0]
        lines = [f"{name}:{line}:{column}: {kind}: {text}"]
        lines += excerpt(Source(units[name].text, name), line, column)
    hint = _hint(error)
    if hint:
        lines.append(f"  hint: {hint}")
    return "\n".join([*lines, *_calls(found)])


def _hint(error: BaseException) -> str:
    if isinstance(error, CapabilityError):
        return error.hint
    if isinstance(error, RecursionError):
        return "a function calls itself without end, or too deeply"
    if isinstance(error, (UserError, RethrownError)):
        return "the program threw this; catch it with try { } except (e) { }"
    return ""


def _calls(found: list[Frame]) -> list[str]:
    lines = [
        f"  {'called from' if index else 'in'} {function}, {name}:{line}"
        for index, (function, name, line, _column) in enumerate(found)
    ]
    hidden = len(lines) - _SHOWN_FIRST - _SHOWN_LAST
    if hidden > 0:
        lines[_SHOWN_FIRST:-_SHOWN_LAST] = [f"  ... {hidden} more calls"]
    return lines


def frames(traceback: TracebackType | None, units: Mapping[str, Unit]) -> list[Frame]:
    """The ML functions on the way to an error, innermost first; host frames are left out."""
    found: list[Frame] = []
    sources: dict[str, Source] = {}
    while traceback is not None:
        code = traceback.tb_frame.f_code
        name = code.co_filename.removeprefix(FILE_PREFIX)
        if code.co_filename.startswith(FILE_PREFIX) and name in units:
            unit = units[name]
            source = sources.setdefault(name, Source(unit.text, name))
            offset = unit.marks[min(traceback.tb_lineno, len(unit.marks)) - 1]
            found.append((code.co_name, name, *source.position(offset)))
        traceback = traceback.tb_next
    return found[::-1]
