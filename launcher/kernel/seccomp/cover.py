"""A set of numbers as few masked comparisons that match exactly the set. Pure.

A filter can only compare `argument & mask == value`, one comparison an argument a rule, so a list of thirty fcntl
commands would be thirty rules. Two comparisons that differ in one bit are one comparison without that bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

Match = tuple[int, int]


def cover(values: AbstractSet[int], mask: int) -> tuple[Match, ...]:
    """(mask, value) pairs, sorted, such that some pair matches n exactly if `n & mask` is in `values`.

    Raises ValueError for a value with bits outside `mask`: it could never match.
    """
    for value in values:
        if value & ~mask:
            raise ValueError(f"{value:#x} has bits outside the mask {mask:#x}")
    pairs = {(mask, value) for value in values}
    while merged := _one_merge(pairs):
        pairs = merged
    return tuple(sorted(pairs))


def _one_merge(pairs: set[Match]) -> set[Match] | None:
    for mask, value in sorted(pairs):
        for bit in _bits(mask):
            twin = (mask, value ^ bit)
            if twin in pairs:
                return (pairs - {(mask, value), twin}) | {(mask & ~bit, value & ~bit)}
    return None


def _bits(mask: int) -> list[int]:
    return [1 << position for position in range(mask.bit_length()) if mask >> position & 1]
