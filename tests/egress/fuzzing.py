"""How long the property tests of the parsers run: a second each in the suite, MLSANDBOX_FUZZ_EXAMPLES for the long form.

An hour for all of them is about MLSANDBOX_FUZZ_EXAMPLES=300000 on one core.
"""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable

EXAMPLES = int(os.environ.get("MLSANDBOX_FUZZ_EXAMPLES", "150"))
fuzz = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)


def cuts(data: bytes, at: list[int]) -> list[bytes]:
    """`data` in pieces, cut at the given places (taken modulo its length)."""
    places = sorted({place % (len(data) + 1) for place in at} | {0, len(data)})
    return [data[a:b] for a, b in itertools.pairwise(places)]


def mutated(valid: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Valid input with a few bytes changed, inserted, dropped or repeated: deeper than random bytes get."""
    edits = st.lists(st.tuples(st.integers(0, 4000), st.sampled_from("cidr"), st.binary(max_size=3)), max_size=4)
    return st.builds(_edit, valid, edits)


def _edit(data: bytes, edits: list[tuple[int, str, bytes]]) -> bytes:
    for place, kind, piece in edits:
        at = place % (len(data) + 1)
        if kind == "c":
            data = data[:at] + piece + data[at + len(piece) :]
        elif kind == "i":
            data = data[:at] + piece + data[at:]
        elif kind == "d":
            data = data[:at] + data[at + 1 + len(piece) :]
        else:
            data = data[:at] + data[max(0, at - 8) : at] + data[at:]
    return data


def outcome(run: Callable[[], object], *expected: type[BaseException]) -> object:
    """What a parser makes of its input: a value, or the text of an expected refusal. Anything else propagates."""
    try:
        return run()
    except expected as error:
        return (type(error).__name__, str(error))
