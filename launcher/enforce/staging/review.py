"""A change set as text, for a person to say yes to: one line a change, and a diff where both sides are text.

Not on the launch path: only `--review` imports it.
"""

from __future__ import annotations

import difflib
import os
from typing import TYPE_CHECKING

from launcher.enforce.staging.changes import APPENDED, CREATED, MODIFIED, REMOVED
from launcher.enforce.staging.report import printable
from launcher.enforce.staging.tree import READ, open_beneath

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from launcher.enforce.staging.changes import Change
    from launcher.enforce.staging.judge import Judged, Verdict
    from launcher.enforce.staging.layers import Layers

LARGEST = 256 << 10  # bytes of one side; beyond, a diff is not read by anybody
_LONGEST_DIFF = 400  # lines
_SIGNS = {"created": "+", "mkdir": "+", "removed": "-", "rmdir": "-"}


def review(verdict: Verdict, layers: Sequence[Layers]) -> Iterator[str]:
    """Lines without line ends or what a terminal would act on. Refused changes come first, with the reason."""
    by_name = {area.name: area for area in layers}
    for item in verdict.refused:
        yield f"refused  {_summary(item)}: {printable(item.reason)}"
    for item in verdict.accepted:
        yield f"commit   {_summary(item)}"
        yield from _diff(item.change, by_name[item.change.area])


def _summary(item: Judged) -> str:
    change = item.change
    size = f" ({change.old_size} -> {change.size} bytes)" if change.kind in {MODIFIED, APPENDED} else ""
    return f"{_SIGNS.get(change.kind, '~')} {printable(change.path)}{size}"


def _diff(change: Change, layers: Layers) -> Iterator[str]:
    if change.kind not in {CREATED, MODIFIED, APPENDED, REMOVED}:
        return
    if not layers.baseline.readable(change.inside):
        yield "         (the old content may not be read by the job, and is not shown)"
        return
    old = _text(layers.lower, change.inside) if change.kind != CREATED else ""
    new = _text(layers.upper, change.inside) if change.kind != REMOVED else ""
    if old is None or new is None:
        yield "         (binary, or larger than 256 KiB)"
        return
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), "old", "new", lineterm="")
    for count, line in enumerate(lines):
        if count >= _LONGEST_DIFF:
            yield "         (the diff goes on)"
            return
        yield "         " + printable(line.expandtabs())


def _text(root: int, inside: str) -> str | None:
    fd = open_beneath(root, inside, READ)
    try:
        content = os.pread(fd, LARGEST + 1, 0)
    finally:
        os.close(fd)
    if len(content) > LARGEST or b"\0" in content:
        return None
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None
