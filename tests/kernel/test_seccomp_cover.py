from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.kernel.seccomp.cover import cover

small = st.sets(st.integers(0, 255), max_size=40)


@given(small, st.integers(0, 255))
def test_matches_exactly_the_set(values: set[int], other: int) -> None:
    pairs = cover(values, 0xFF)
    assert any(other & mask == value for mask, value in pairs) == (other in values)


@given(small, st.integers(0, 0xFFFF))
def test_bits_outside_the_mask_never_count(values: set[int], other: int) -> None:
    pairs = cover(values, 0xFF)
    assert any(other & mask == value for mask, value in pairs) == (other & 0xFF in values)


def test_neighbours_become_one_comparison() -> None:
    assert cover(set(range(16)), 0xFFFFFFFF) == ((0xFFFFFFF0, 0),)


def test_a_value_that_can_never_match_is_refused() -> None:
    with pytest.raises(ValueError, match="outside the mask"):
        cover({0x100}, 0xFF)
