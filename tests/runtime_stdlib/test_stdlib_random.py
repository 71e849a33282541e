"""`random` against CPython's own generator: the same seed, the same numbers, whatever is drawn in between."""

from __future__ import annotations

import random as host
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.runtime import stdlib


def call(name: str, *arguments: Any) -> Any:
    module = stdlib.load("random")
    assert module is not None
    return module.members[name].call(*arguments)


def shuffled(generator: host.Random, a: list[int]) -> list[int]:
    order = list(a)
    generator.shuffle(order)
    return order


A = list(range(200))
DRAWS: list[tuple[str, tuple[Any, ...], Any]] = [
    ("random", (), lambda r: r.random()),
    ("randomInt", (1, 100), lambda r: r.randrange(1, 100)),
    ("random_int", (-5, 2**40), lambda r: r.randrange(-5, 2**40)),
    ("randomInt", (), lambda r: r.randrange(0, 100)),
    ("nextInt", (), lambda r: r.randrange(2**32)),
    ("uniform", (2, 3.5), lambda r: r.uniform(2, 3.5)),
    ("randomFloat", (), lambda r: r.uniform(0.0, 1.0)),
    ("gaussian", (), lambda r: r.gauss(0.0, 1.0)),
    ("randomNormal", (5, 2), lambda r: r.gauss(5, 2)),
    ("triangular", (1, 9), lambda r: r.triangular(1, 9)),
    ("triangular", (1, 9, 2), lambda r: r.triangular(1, 9, 2)),
    ("triangular", (3, 3, 3), lambda r: r.triangular(3, 3, 3)),
    ("choice", (A,), lambda r: r.choice(A)),
    ("shuffle", (A,), lambda r: shuffled(r, A)),
    ("sample", (A, 3), lambda r: r.sample(A, 3)),
    ("sample", (A, 60), lambda r: r.sample(A, 60)),
    ("sample", (A, 0), lambda r: r.sample(A, 0)),
    ("sample", (A[:7], 7), lambda r: shuffled(r, A[:7])),
    ("randomIndices", (50, 4), lambda r: r.sample(range(50), 4)),
]


@settings(deadline=None)  # the machine may be busy
@given(
    st.integers(-(2**80), 2**80) | st.floats(allow_nan=False) | st.text() | st.binary(),
    st.lists(st.sampled_from(range(len(DRAWS))), max_size=30),
)
def test_the_same_numbers_as_cpython(seed: Any, draws: list[int]) -> None:
    ours, theirs = call("setSeed", seed), host.Random(seed)
    assert ours == seed
    for number in draws:
        name, arguments, expected = DRAWS[number]
        assert call(name, *arguments) == expected(theirs), name


def test_a_list_is_no_seed() -> None:
    with pytest.raises(TypeError):
        call("setSeed", [1])


def test_unseeded_generators_differ() -> None:
    call("setSeed", None)
    first = [call("nextInt") for _ in range(4)]
    call("setSeed", None)
    assert first != [call("nextInt") for _ in range(4)]


@pytest.mark.parametrize("bounds", [(5, 5), (6, 5), (1.5, 3), ("a", 3)])
def test_bad_bounds(bounds: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        call("randomInt", *bounds)
