"""Names in groups, matched by segments: keychain entries (`service/account`), environment variables, imports."""

from __future__ import annotations

from launcher.capability.glob import LONGEST_PATTERN, parse_segment
from launcher.capability.paths import Segments
from launcher.errors import DocumentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from launcher.capability.paths import Segment


class NamePattern:
    """One name glob: as a path glob, but a name has no root, no `..` and no anchor. `**` alone is every name."""

    __slots__ = ("_names", "segments", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.segments = parse_name(text)
        self._names = Segments(self.segments)

    def matches(self, name: str) -> bool:
        """Whether the whole name matches. An empty name matches nothing."""
        return bool(name) and self._names.match(name.split("/"))

    def __repr__(self) -> str:
        return f"NamePattern({self.text!r})"


def parse_name(text: str) -> tuple[Segment, ...]:
    """name = segment { "/" segment }. Raises DocumentError for an empty name or part."""
    if not text or "\0" in text or len(text) > LONGEST_PATTERN or "" in text.split("/"):
        raise DocumentError(f"name pattern {text[:80]!r}: a name has parts between slashes, none of them empty")
    segments: list[Segment] = []
    for part in text.split("/"):
        segment = None if part == "**" else parse_segment(part)
        if segment is not None or not segments or segments[-1] is not None:
            segments.append(segment)
    return tuple(segments)
