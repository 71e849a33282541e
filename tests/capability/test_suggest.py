from __future__ import annotations

import pytest

from launcher.capability import KINDS, suggest


@pytest.mark.parametrize(
    ("word", "expected"),
    [("fil", "file"), ("netwrok", "network"), ("NETWORK", "network"), ("xyzzy", ""), ("", ""), ("k" * 5000, "")],
)
def test_nearest(word: str, expected: str) -> None:
    assert suggest(word, KINDS) == expected
