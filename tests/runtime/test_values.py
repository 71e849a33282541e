"""Sums as CPython 3.12 makes them, and conversions."""

import math
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.runtime.values import compensated, rounded, text, to_int, total, typeof

SUMS = [
    ([0.1] * 10, 1.0),
    ([1e16, 1, -1e16], 0.0),
    ([1e16, 1.0, -1e16], 1.0),
    ([1e308, 1e308, -1e308], math.inf),
    ([0.1, 0.2, 0.3], 0.6),
    ([1, 2, 3], 6),
    ([True, True, 0.5], 2.5),
    ([], 0),
    ([2**70, 0.5], 2.0**70),
]
# What `sum` of CPython 3.12 gives.
OF_THE_HOST: list[tuple[list[float], float]] = [
    ([2, 0.07243628666754276, -2.6862216617482896e16, 0.9097040631431023], -2.6862216617482892e16),
    ([0.08594723368917168, 1e300, -5.1867399974595e16], 1e300),
    ([1e300, 0.8268521246720381, 8.94899401414975e16, 0.5771029486174987, 1e300, 0.9762551055929201], 2e300),
    ([-1, 1e300], 1e300),
    ([1.418273792934688e16, -7, 100000000000000000000], 1.0001418273792934e20),
    ([1.2873658626677328e16, 10000000000000000000000], 1.0000012873658626e22),
    ([1e300, 0.1, -0.0, -0.0, 0.1, -100000000000000000], 1e300),
    ([-3, 1.4884742051734208e16, -0.0], 1.4884742051734204e16),
    ([-0.0, -100000000000000000, -7.638684434900758e16, 1e300], 1e300),
    ([0.1, 5, 1e300], 1e300),
    ([5.291417324256262e16, 0.1], 5.291417324256262e16),
    ([0.1, -0.0, -0.0, 6.799355610250829e16], 6.799355610250829e16),
    ([-0.0, -8.786611448055606e16, -100000000000000000, -0.0], -1.8786611448055606e17),
    ([1e300, 0.1, 0.9406485666460938, 0.1], 1e300),
]


@pytest.mark.parametrize(("values", "expected"), SUMS)
def test_sum(values: list[float], expected: float) -> None:
    assert total(values) == expected
    assert type(total(values)) is type(expected)


@given(st.lists(st.floats(-1e100, 1e100), max_size=30))
def test_sum_is_as_good_as_compensation_promises(values: list[float]) -> None:
    """Neumaier's error does not grow with the number of terms: within two units of the exact sum of magnitudes."""
    exact = math.fsum(values)
    bound = 4 * sys.float_info.epsilon * max(abs(exact), 1e-300) + len(values) ** 2 * 1e-31 * math.fsum(
        map(abs, values)
    )
    assert abs(total(values) - exact) <= bound


@given(st.lists(st.integers(), max_size=20))
def test_sum_of_integers_is_exact(values: list[int]) -> None:
    assert total(values) == sum(values)


@pytest.mark.parametrize(("values", "expected"), OF_THE_HOST)
def test_sum_is_the_host_s(values: list[float], expected: float) -> None:
    assert repr(compensated(values)) == repr(total(values)) == repr(expected)


if sys.version_info >= (3, 12):

    @given(st.lists(st.one_of(st.floats(), st.booleans(), st.integers(-(2**80), 2**80)), max_size=20))
    def test_every_sum_is_the_host_s(values: list[float]) -> None:
        assert repr(compensated(values)) == repr(sum(values))


def test_infinite_sums_stay_infinite() -> None:
    assert total([math.inf, 1.0, 0.1]) == math.inf
    assert math.isnan(total([math.inf, -math.inf]))


CONVERSIONS = [("12", 12), ("3.9", 3), ("-3.9", -3), ("1e3", 1000), (" 7 ", 7), (True, 1), (3.99, 3), (10**30, 10**30)]


@pytest.mark.parametrize(("given_value", "expected"), CONVERSIONS)
def test_int(given_value: object, expected: int) -> None:
    assert to_int(given_value) == expected


def test_integers_in_strings_lose_precision_as_they_did() -> None:
    assert to_int(str(2**53 + 1)) == 2**53


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_round_of_a_float_is_a_float(x: float) -> None:
    assert type(rounded(x)) is float
    assert rounded(x) == round(x)


def test_texts() -> None:
    assert [text(x) for x in (True, False, None, 1.0, [True], "s")] == ["true", "false", "None", "1.0", "[True]", "s"]


def test_kinds_of_subclasses_do_not_exist() -> None:
    assert typeof(type("Sub", (dict,), {})()) == "unknown"
