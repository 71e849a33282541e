"""Source text with positions: bytes in, characters, lines and columns out.

Positions inside the front end are offsets into the text; they become `line:column` (both from 1, columns in code
points) only when somebody reads them.
"""

from __future__ import annotations

from bisect import bisect_right

from launcher.language.diagnostics import Diagnostic, SourceError

# A program is written by people or by a generator of theirs. 4 MiB is a hundred times the largest that we know, and
# lexing it takes less than the wall limit of the reader that parses untrusted source.
MAX_SOURCE = 4 * 1024 * 1024


class Source:
    """One program text and its name."""

    __slots__ = ("_starts", "name", "text")

    def __init__(self, text: str, name: str = "program.ml") -> None:
        self.text = text
        self.name = name
        self._starts: list[int] = []

    @classmethod
    def from_bytes(cls, data: bytes, name: str = "program.ml") -> Source:
        """Decode UTF-8 (a byte order mark is skipped). Raises SourceError for oversized or undecodable input."""
        if len(data) > MAX_SOURCE:
            raise SourceError(
                cls("", name),
                [Diagnostic(f"the program is larger than {MAX_SOURCE} bytes", 0, 0, hint="split it into modules")],
            )
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            before = data[: error.start].decode("utf-8")
            source = cls(before, name)
            message = f"byte {data[error.start]:#04x} is not UTF-8"
            raise SourceError(
                source, [Diagnostic(message, len(before), len(before), hint="save the file as UTF-8")]
            ) from None
        return cls(text.removeprefix("\ufeff"), name)

    def _lines(self) -> list[int]:
        if not self._starts:
            starts = [0]
            find = self.text.find
            at = find("\n")
            while at >= 0:
                starts.append(at + 1)
                at = find("\n", at + 1)
            self._starts = starts
        return self._starts

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column of an offset, both from 1."""
        starts = self._lines()
        line = bisect_right(starts, offset)
        return line, offset - starts[line - 1] + 1

    def line(self, number: int) -> str:
        """The text of a line (from 1) without its end; "" beyond the last."""
        starts = self._lines()
        if not 1 <= number <= len(starts):
            return ""
        end = starts[number] - 1 if number < len(starts) else len(self.text)
        return self.text[starts[number - 1] : end].rstrip("\r")

    def line_table(self) -> tuple[int, ...]:
        """The offset at which each line starts."""
        return tuple(self._lines())
