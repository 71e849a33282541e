"""The nearest valid word, for hints."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# Beyond this a wrong word is data, not a slip, and comparing it would cost quadratic time.
LONGEST_WORD = 64


def suggest(word: str, words: Iterable[str]) -> str:
    """The word of `words` that needs the fewest single-letter edits to become `word`, or "" when none is near.

    Near is a third of the letters, at least one, at most three; ties go to the alphabetically first.
    """
    if not word or len(word) > LONGEST_WORD:
        return ""
    bound = min(3, max(1, len(word) // 3))
    best = min([(distance(word.lower(), known.lower()), known) for known in words], default=(bound + 1, ""))
    return best[1] if best[0] <= bound else ""


def distance(left: str, right: str) -> int:
    """Optimal string alignment distance: insertions, deletions, substitutions and swaps of neighbours."""
    before: list[int] = []
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        before, last, row = row, before, [i]
        for j, b in enumerate(right, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (a != b))
            if last and j > 1 and a == right[j - 2] and left[i - 2] == b:
                cost = min(cost, last[j - 2] + 1)
            row.append(cost)
    return row[-1]
