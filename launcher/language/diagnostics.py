"""What is wrong with a program: message, place, source line, caret and hint, several per run."""

from __future__ import annotations

from launcher.errors import SandboxError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from launcher.language.source import Source

# Beyond these a reader learns nothing more, and a hostile program would make a report without end.
MAX_DIAGNOSTICS = 20
MAX_SHOWN_LINE = 160


class Diagnostic:
    """One finding: `start` and `end` are offsets into the source, `code` a stable word (`syntax`, `name`, ...)."""

    __slots__ = ("code", "end", "hint", "message", "start")

    def __init__(self, message: str, start: int, end: int, *, hint: str = "", code: str = "syntax") -> None:
        self.message = message
        self.start = start
        self.end = end
        self.hint = hint
        self.code = code

    def place(self, source: Source) -> str:
        """`file:line:column`."""
        line, column = source.position(self.start)
        return f"{source.name}:{line}:{column}"

    def render(self, source: Source) -> str:
        """The finding for people, several lines."""
        line, column = source.position(self.start)
        lines = [
            f"{source.name}:{line}:{column}: {self.message}",
            *excerpt(source, line, column, self.end - self.start),
        ]
        if self.hint:
            lines.append(f"  hint: {self.hint}")
        return "\n".join(lines)

    def to_data(self, source: Source) -> dict[str, object]:
        """The finding as plain JSON values."""
        line, column = source.position(self.start)
        return {
            "message": self.message,
            "line": line,
            "column": column,
            "hint": self.hint,
            "code": self.code,
            "text": self.render(source),
        }


def excerpt(source: Source, line: int, column: int, length: int = 1) -> list[str]:
    """The source line and a caret line under it, tabs and long lines handled; [] where there is no text."""
    text = source.line(line)
    if not text.strip():
        return []
    start = max(0, column - 1 - MAX_SHOWN_LINE // 2) if len(text) > MAX_SHOWN_LINE else 0
    shown = "".join(c if c.isprintable() or c == "\t" else "\ufffd" for c in text[start : start + MAX_SHOWN_LINE])
    before = shown[: column - 1 - start]
    pad = "".join("\t" if character == "\t" else " " for character in before)
    carets = "^" * max(1, min(length, len(shown) - len(before)))
    number = str(line)
    return [f"  {number} | {shown}", f"  {' ' * len(number)} | {pad}{carets}"]


class SourceError(SandboxError):
    """A program that cannot be run as written. `diagnostics` holds at least one finding."""

    def __init__(self, source: Source, diagnostics: Sequence[Diagnostic]) -> None:
        first = diagnostics[0]
        super().__init__(first.message, hint=first.hint, place=first.place(source))
        self.source = source
        self.diagnostics = tuple(diagnostics[:MAX_DIAGNOSTICS])

    def render(self) -> str:
        """All findings, one after the other."""
        return "\n".join(diagnostic.render(self.source) for diagnostic in self.diagnostics)


class Findings:
    """Collects diagnostics of one program, sorted by place, up to the bound."""

    __slots__ = ("items", "source")

    def __init__(self, source: Source) -> None:
        self.source = source
        self.items: list[Diagnostic] = []

    def add(self, message: str, start: int, end: int, *, hint: str = "", code: str = "syntax") -> None:
        self.items.append(Diagnostic(message, start, end, hint=hint, code=code))

    def raise_any(self) -> None:
        """Raises SourceError when something was found."""
        if self.items:
            raise SourceError(self.source, sorted(self.items, key=lambda item: item.start))
