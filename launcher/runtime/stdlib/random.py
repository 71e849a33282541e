"""ML `random`: CPython's MT19937 with CPython's derivations, so that a seed gives the same numbers everywhere.

The derivations stand here and not in Python's `random`, because that import costs 6 ms and its details move between
versions, while a program's seeded output may not.
"""

from __future__ import annotations

import math as host
from _random import Random

from launcher.runtime.stdlib._declare import module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Array = list[Any]
    Number = int | float

# Kinderman and Monahan's constants are not needed: CPython's gauss() is the polar pair below.
TWO_PI = 2.0 * host.pi


class Generator:
    """The Mersenne Twister and CPython's ways to numbers, choices and samples."""

    __slots__ = ("_other_normal", "_twister")

    def __init__(self) -> None:
        self._twister = Random()
        self._other_normal: float | None = None

    def seed(self, value: object) -> None:
        """Start again from `value` as CPython's seed version 2 does: integers as they are, text by its SHA-512."""
        if isinstance(value, (str, bytes)):
            from hashlib import sha512

            data = value.encode() if isinstance(value, str) else value
            value = int.from_bytes(data + sha512(data).digest(), "big")
        elif value is not None and not isinstance(value, (int, float)):
            raise TypeError(
                "The only supported seed types are: None,\nint, float, str, bytes, and bytearray."  # CPython's words
            )
        self._twister.seed(value)
        self._other_normal = None

    def state_word(self) -> int:
        return int(self._twister.getstate()[0])

    def random(self) -> float:
        return self._twister.random()

    def below(self, n: int) -> int:
        """A number from 0 up to but not including `n`, by rejection as CPython does."""
        bits = n.bit_length()
        drawn = self._twister.getrandbits(bits)
        while drawn >= n:
            drawn = self._twister.getrandbits(bits)
        return drawn

    def between(self, low: Number, high: Number) -> int:
        """An integer from `low` up to but not including `high`."""
        start, stop = _whole(low), _whole(high)
        if stop <= start:
            raise ValueError(f"empty range for randrange() ({start}, {stop}, {stop - start})")
        return start + self.below(stop - start)

    def uniform(self, low: Number, high: Number) -> float:
        return low + (high - low) * self.random()

    def gauss(self, mean: Number, deviation: Number) -> float:
        normal = self._other_normal
        self._other_normal = None
        if normal is None:
            angle = self.random() * TWO_PI
            radius = host.sqrt(-2.0 * host.log(1.0 - self.random()))
            normal = host.cos(angle) * radius
            self._other_normal = host.sin(angle) * radius
        return mean + normal * deviation

    def triangular(self, low: Number, high: Number, mode: Number | None) -> Number:
        drawn = self.random()
        try:
            split = 0.5 if mode is None else (mode - low) / (high - low)
        except ZeroDivisionError:
            return low
        if drawn > split:
            drawn, split = 1.0 - drawn, 1.0 - split
            low, high = high, low
        return low + (high - low) * host.sqrt(drawn * split)

    def shuffled(self, a: Array) -> Array:
        order = list(a)
        for i in reversed(range(1, len(order))):
            j = self.below(i + 1)
            order[i], order[j] = order[j], order[i]
        return order

    def sample(self, a: Array, n: int) -> Array:
        """`n` different elements. Small samples of much remember what was chosen, others move a pool (as CPython)."""
        if n < 0:
            raise ValueError("Sample larger than population or is negative")
        size = 21 + (4 ** host.ceil(host.log(n * 3, 4)) if n > 5 else 0)
        if len(a) <= size:
            return self._sample_of_pool(list(a), n)
        chosen: dict[int, None] = {}
        while len(chosen) < n:
            chosen[self.below(len(a))] = None
        return [a[i] for i in chosen]

    def _sample_of_pool(self, pool: Array, n: int) -> Array:
        drawn = []
        for i in range(n):
            j = self.below(len(pool) - i)
            drawn.append(pool[j])
            pool[j] = pool[len(pool) - i - 1]
        return drawn


def _whole(bound: Number) -> int:
    if isinstance(bound, float) and bound.is_integer():
        return int(bound)
    if not isinstance(bound, int):
        raise TypeError(f"'{type(bound).__name__}' object cannot be interpreted as an integer")
    return bound


GENERATOR = Generator()


def _set_seed(n: object) -> object:
    GENERATOR.seed(n)
    return n


def _get_seed() -> int:
    return GENERATOR.state_word()


def _next_int() -> int:
    return GENERATOR.between(0, 2**32)


def _random() -> float:
    return GENERATOR.random()


def _random_float(low: Number = 0.0, high: Number = 1.0) -> float:
    return GENERATOR.uniform(low, high)


def _random_int(low: Number = 0, high: Number = 100) -> int:
    return GENERATOR.between(low, high)


def _random_bool() -> bool:
    return GENERATOR.random() < 0.5


def _random_bool_weighted(p: Number) -> bool:
    return GENERATOR.random() < p


def _gauss(mean: Number = 0.0, deviation: Number = 1.0) -> float:
    return GENERATOR.gauss(mean, deviation)


def _uniform(low: Number, high: Number) -> float:
    return GENERATOR.uniform(low, high)


def _triangular(low: Number, high: Number, mode: Number | None = None) -> Number:
    return GENERATOR.triangular(low, high, mode)


def _choice(a: Array) -> object:
    return a[GENERATOR.below(len(a))] if len(a) else None


def _shuffle(a: Array) -> Array:
    return GENERATOR.shuffled(a)


def _sample(a: Array, n: int) -> Array:
    return GENERATOR.shuffled(a) if n >= len(a) else GENERATOR.sample(a, n)


def _random_indices(length: int, n: int) -> Array:
    return _sample(list(range(length)), n)


_G = "random.generate"
_S = "random.sample"

MODULE = module(
    "random",
    "Pseudo-random numbers; seeded, they are the same on every machine.",
    (
        ("setSeed set_seed", _set_seed, _G, "setSeed(n): start again from n; gives n"),
        ("getSeed get_seed", _get_seed, _G, "getSeed(): a word of the generator's state"),
        ("nextInt next_int", _next_int, _G, "nextInt(): 0 to 2^32 - 1"),
        ("random", _random, _G, "random(): a float from 0 up to but not including 1"),
        ("randomFloat random_float", _random_float, _G, "randomFloat([low, high]): a float between"),
        ("randomInt random_int", _random_int, _G, "randomInt([low = 0, high = 100]): high is not included"),
        ("randomBool random_bool", _random_bool, _G, "randomBool(): true or false"),
        ("randomBoolWeighted", _random_bool_weighted, _G, "randomBoolWeighted(p): true with probability p"),
        ("randomNormal random_normal", _gauss, _G, "randomNormal([mean, deviation]): normally distributed"),
        ("uniform", _uniform, _G, "uniform(low, high): a float between"),
        ("gaussian", _gauss, _G, "gaussian([mean, deviation]): normally distributed"),
        ("triangular", _triangular, _G, "triangular(low, high[, mode]): triangularly distributed"),
        ("choice", _choice, _S, "choice(a): one element, null of none"),
        ("shuffle", _shuffle, _S, "shuffle(a): a new array in another order"),
        ("sample", _sample, _S, "sample(a, n): n different elements"),
        ("randomIndices random_indices", _random_indices, _S, "randomIndices(length, n): n different indices"),
    ),
)
