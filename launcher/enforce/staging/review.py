"""A change set as text, for a person to say yes to: one line a change, then a diff where both sides are text.

Names and contents are the job's choice, so nothing that a terminal acts on passes, every change has its line before
any content is shown (no flood of text pushes one out of sight unannounced), and what is compared is bounded: a diff
is quadratic in the number of lines. Not on the launch path: only `--review` imports it.
"""

from __future__ import annotations

import difflib
import os
from typing import TYPE_CHECKING

from launcher.audit.printable import printable
from launcher.enforce.staging.changes import APPENDED, CREATED, MODIFIED, REMOVED
from launcher.enforce.staging.tree import READ, open_beneath

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from launcher.enforce.staging.changes import Change
    from launcher.enforce.staging.judge import Judged, Verdict
    from launcher.enforce.staging.layers import Layers

LARGEST = 256 << 10  # bytes of one side; beyond, a diff is not read by anybody
_MOST_LINES = 4000  # of one side: two such sides, chosen to be slow, take 0.7 s to compare
_MOST_COMPARED = 80_000  # lines of all files, both sides
_LONGEST_DIFF = 400  # lines of one file
_LONGEST = 4000  # lines of all diffs
_SIGNS = {"created": "+", "mkdir": "+", "removed": "-", "rmdir": "-"}
_INDENT = "         "


def review(verdict: Verdict, layers: Sequence[Layers]) -> Iterator[str]:
    """Lines without line ends or what a terminal would act on. Refused changes come first, with the reason."""
    for item in verdict.refused:
        yield f"refused  {_summary(item)}: {printable(item.reason)}"
    for item in verdict.accepted:
        yield f"commit   {_summary(item)}"
    by_name = {area.name: area for area in layers}
    shown = compared = 0
    for item in verdict.accepted:
        if shown > _LONGEST or compared > _MOST_COMPARED:
            yield "(the diffs go on)"
            return
        difference = _Difference(item.change, by_name[item.change.area])
        for line in difference.lines():
            yield line
            shown += 1
        compared += difference.compared


def _summary(item: Judged) -> str:
    change = item.change
    size = f" ({change.old_size} -> {change.size} bytes)" if change.kind in {MODIFIED, APPENDED} else ""
    return f"{_SIGNS.get(change.kind, '~')} {printable(change.path)}{size}"


class _Difference:
    """The content of one change, before and after; `compared` are the lines that were held against each other."""

    def __init__(self, change: Change, layers: Layers) -> None:
        self._change = change
        self._layers = layers
        self.compared = 0

    def lines(self) -> Iterator[str]:
        change, layers = self._change, self._layers
        if change.kind not in {CREATED, MODIFIED, APPENDED, REMOVED}:
            return
        yield f"--- {printable(change.path)}"
        if not layers.baseline.readable(change.inside):
            yield f"{_INDENT}(the old content may not be read by the job, and is not shown)"
            return
        old = _lines(layers.lower, change.inside) if change.kind != CREATED else []
        new = _lines(layers.upper, change.inside) if change.kind != REMOVED else []
        if old is None or new is None:
            yield f"{_INDENT}(binary, or larger than {LARGEST >> 10} KiB or {_MOST_LINES} lines)"
            return
        self.compared = len(old) + len(new)
        for count, line in enumerate(difflib.unified_diff(old, new, "old", "new", lineterm="")):
            if count >= _LONGEST_DIFF:
                yield f"{_INDENT}(the diff goes on)"
                return
            yield _INDENT + _shown(line)


def _shown(line: str) -> str:
    """One line of content; a backslash stays one, as a diff of code is read by people."""
    return "".join([char if char == "\\" else printable(char) for char in line.expandtabs()])


def _lines(root: int, inside: str) -> list[str] | None:
    """The lines of a text (by line feeds alone: a carriage return is content, and is shown), None for anything else."""
    fd = open_beneath(root, inside, READ)
    try:
        content = os.pread(fd, LARGEST + 1, 0)
    finally:
        os.close(fd)
    if len(content) > LARGEST or b"\0" in content or content.count(b"\n") > _MOST_LINES:
        return None
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return None
    return text.split("\n") if text else []
