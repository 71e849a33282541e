"""ML `math`: numbers. Out-of-domain results follow the first implementation (`sqrt(-1)` is 0, `ln(0)` is -999)."""

from __future__ import annotations

import math as host

from launcher.runtime.stdlib._declare import module

TYPE_CHECKING = False
if TYPE_CHECKING:
    Number = int | float

# What `ln` and `log` answer where no logarithm exists: programs compare with it.
NO_LOGARITHM = -999


def _sqrt(x: Number) -> Number:
    return 0 if x < 0 else host.sqrt(x)


def _ln(x: Number) -> Number:
    return NO_LOGARITHM if x <= 0 else host.log(x)


def _log(x: Number, base: Number = 10) -> Number:
    if x <= 0 or base <= 0 or base == 1:
        return NO_LOGARITHM
    return host.log(x) / host.log(base)


def _exp(x: Number) -> float:
    try:
        return host.exp(x)
    except OverflowError:
        return host.inf


def _pow(x: Number, y: Number) -> Number:
    try:
        power = x**y
    except (OverflowError, ZeroDivisionError):
        return host.inf if x > 0 else 0
    if isinstance(power, complex):
        raise ValueError("a negative number to a fractional power is not a real number")  # noqa: TRY004  a matter of values
    return power


def _abs(x: Number) -> Number:
    return abs(x)


def _floor(x: Number) -> int:
    return host.floor(x)


def _ceil(x: Number) -> int:
    return host.ceil(x)


def _round(x: Number) -> int:
    return round(x)


def _min(a: Number, b: Number) -> Number:
    return min(a, b)


def _max(a: Number, b: Number) -> Number:
    return max(a, b)


def _random() -> float:
    from launcher.runtime.stdlib import random

    return random.GENERATOR.random()


def _sign(x: Number) -> int:
    return (x > 0) - (x < 0)


def _factorial(n: int) -> int:
    return 0 if n < 0 else host.factorial(n)


def _sin(x: Number) -> float:
    return host.sin(x)


def _cos(x: Number) -> float:
    return host.cos(x)


def _tan(x: Number) -> float:
    return host.tan(x)


def _asin(x: Number) -> float:
    return host.asin(x)


def _acos(x: Number) -> float:
    return host.acos(x)


def _atan(x: Number) -> float:
    return host.atan(x)


def _atan2(y: Number, x: Number) -> float:
    return host.atan2(y, x)


def _radians(x: Number) -> float:
    return host.radians(x)


def _degrees(x: Number) -> float:
    return host.degrees(x)


def _gcd(a: int, b: int) -> int:
    return host.gcd(a, b)


def _lcm(a: int, b: int) -> int:
    return host.lcm(a, b)


_C = "math.compute"

MODULE = module(
    "math",
    "Numbers: roots, logarithms, trigonometry, rounding.",
    (
        ("sqrt", _sqrt, _C, "sqrt(x): the square root; 0 for a negative x"),
        ("abs", _abs, _C, "abs(x): without the sign"),
        ("sin", _sin, _C, "sin(x): sine of radians"),
        ("cos", _cos, _C, "cos(x): cosine of radians"),
        ("tan", _tan, _C, "tan(x): tangent of radians"),
        ("asin", _asin, _C, "asin(x): arc sine; raises outside -1..1"),
        ("acos", _acos, _C, "acos(x): arc cosine; raises outside -1..1"),
        ("atan", _atan, _C, "atan(x): arc tangent"),
        ("atan2", _atan2, _C, "atan2(y, x): the angle of the point (x, y)"),
        ("ln", _ln, _C, "ln(x): natural logarithm; -999 for x <= 0"),
        ("log", _log, _C, "log(x[, base]): logarithm, base 10 by default; -999 where there is none"),
        ("exp", _exp, _C, "exp(x): e to the x; inf when too large"),
        ("pow", _pow, _C, "pow(x, y): x to the y; exact for integers"),
        ("floor", _floor, _C, "floor(x): the integer at or below x"),
        ("ceil", _ceil, _C, "ceil(x): the integer at or above x"),
        ("round", _round, _C, "round(x): the nearest integer, halves to even"),
        ("min", _min, _C, "min(a, b): the smaller"),
        ("max", _max, _C, "max(a, b): the larger"),
        ("random", _random, _C, "random(): a float from 0 up to but not including 1"),
        ("degToRad radians", _radians, _C, "degToRad(x): degrees to radians"),
        ("radToDeg degrees", _degrees, _C, "radToDeg(x): radians to degrees"),
        ("sign", _sign, _C, "sign(x): -1, 0 or 1"),
        ("factorial", _factorial, _C, "factorial(n): n!; 0 for a negative n"),
        ("gcd", _gcd, _C, "gcd(a, b): greatest common divisor"),
        ("lcm", _lcm, _C, "lcm(a, b): least common multiple"),
    ),
    {"pi": host.pi, "e": host.e},
)
