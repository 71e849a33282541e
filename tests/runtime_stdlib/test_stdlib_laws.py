# ruff: noqa: DTZ001, DTZ901  ML times have no zone
"""Laws of the pure modules, against the plain way of computing the same."""

from __future__ import annotations

import calendar
import datetime as dt
import json as host_json
import string as host_string
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.runtime import stdlib
from launcher.runtime.library import Function
from launcher.runtime.stdlib._moments import DateTimeObject


def call(name: str, *arguments: Any) -> Any:
    module, _, function = name.partition(".")
    found = stdlib.load(module)
    assert found is not None
    return found.members[function].call(*arguments)


LAWS = settings(deadline=None)  # the machine may be busy
MOMENTS = st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2200, 1, 1))
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
ARRAYS = st.lists(st.integers(-3, 3) | st.text("ab", max_size=2) | st.lists(st.integers(0, 2), max_size=2), max_size=12)


# --- datetime -----------------------------------------------------------------------------------------------------


@LAWS
@given(MOMENTS, st.integers(-60, 60))
def test_business_days_one_by_one(moment: dt.datetime, n: int) -> None:
    current, left = moment, abs(n)
    while left:
        current += dt.timedelta(days=1 if n > 0 else -1)
        left -= current.weekday() < 5
    assert call("datetime.addBusinessDays", DateTimeObject(moment), n).value == current


@LAWS
@given(MOMENTS, st.integers(-20, 100))
def test_business_days_between_one_by_one(moment: dt.datetime, days: int) -> None:
    end = moment + dt.timedelta(days=days)
    counted = sum((moment.date() + dt.timedelta(days=i)).weekday() < 5 for i in range(days + 1))
    assert call("datetime.businessDaysBetween", DateTimeObject(moment), DateTimeObject(end)) == counted


@LAWS
@given(MOMENTS)
def test_ends_of_months_and_years(moment: dt.datetime) -> None:
    ours = DateTimeObject(moment)
    last = calendar.monthrange(moment.year, moment.month)[1]
    assert ours.end_of_month().value == dt.datetime(moment.year, moment.month, last, 23, 59, 59, 999999)
    assert call("datetime.daysInMonth", moment.year, moment.month) == last
    assert call("datetime.isLeapYear", moment.year) == calendar.isleap(moment.year)
    assert ours.start_of_year().value <= ours.start_of_month().value <= ours.start_of_day().value <= moment
    assert moment <= ours.end_of_day().value <= ours.end_of_month().value <= ours.end_of_year().value
    assert call("datetime.parseISO", ours.iso()).value == moment


def test_the_last_month_of_all() -> None:
    assert DateTimeObject(dt.datetime(9999, 12, 5)).end_of_month().value == dt.datetime.max
    assert DateTimeObject(dt.datetime(9999, 2, 5)).end_of_month().value.day == 28


# --- json ---------------------------------------------------------------------------------------------------------


@LAWS
@given(JSON)
def test_json_round_trip(value: Any) -> None:
    text = call("json.stringify", value)
    assert text == host_json.dumps(value)
    assert call("json.parse", text) == value
    assert call("json.validate", text) is True
    assert call("json.parse", call("json.prettyPrint", value)) == value


def depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max([depth(item) for item in inner], default=0)


@LAWS
@given(JSON, st.integers(0, 6))
def test_safe_parse_is_parse_up_to_the_depth(value: Any, limit: int) -> None:
    text = host_json.dumps(value)
    if depth(value) <= limit:
        assert call("json.safeParse", text, limit) == value
    else:
        with pytest.raises(ValueError, match="nested deeper"):
            call("json.safeParse", text, limit)


@LAWS
@given(st.text('{}[]",:1ae\\ ', max_size=30))
def test_bad_json_is_a_value_error(text: str) -> None:
    try:
        call("json.parse", text)
        valid = True
    except ValueError as error:
        valid = False
        assert str(error).startswith("JSON parsing failed: ")
    assert call("json.validate", text) is valid


def test_deep_json_is_an_error_and_no_crash() -> None:
    with pytest.raises((ValueError, RecursionError)):
        call("json.parse", "[" * 100_000)
    with pytest.raises(ValueError, match="nested deeper than 100"):
        call("json.safeParse", "[" * 100_000)
    assert call("json.validate", "[" * 100_000 + "]" * 100_000) is False


# --- collections and functional -----------------------------------------------------------------------------------


@LAWS
@given(ARRAYS)
def test_unique_keeps_the_first_of_equals(a: list[Any]) -> None:
    expected: list[Any] = []
    for x in a:
        if x not in expected:
            expected.append(x)
    assert call("collections.unique", a) == expected


@LAWS
@given(ARRAYS, st.integers(-4, 15))
def test_parts_put_together_are_the_whole(a: list[Any], n: int) -> None:
    before = list(a)
    assert call("collections.take", a, n) + call("collections.drop", a, n) == a
    if n > 0:
        chunks = call("collections.chunk", a, n)
        assert chunks == call("functional.chunk", n, a)
        assert [x for chunk in chunks for x in chunk] == a
    matching, rest = call("functional.partition", bool, a)
    assert sorted(map(repr, matching + rest)) == sorted(map(repr, a))
    assert call("collections.reverse", call("collections.reverse", a)) == a
    assert call("collections.removeAt", a, n) == (a[:n] + a[n + 1 :] if 0 <= n < len(a) else a)
    assert a == before


@LAWS
@given(st.lists(st.integers(0, 9), min_size=3, max_size=3), st.lists(st.integers(1, 3), max_size=5))
def test_curry_takes_any_grouping(values: list[int], sizes: list[int]) -> None:
    held = call("functional.curry", lambda a, b, c: [a, b, c])
    rest = list(values)
    for size in [*sizes, 3]:
        assert isinstance(held, Function)
        part, rest = rest[:size], rest[size:]
        if part:
            held = held.call(*part)
        if isinstance(held, list):
            break
    assert held == values


# --- string and csv -------------------------------------------------------------------------------------------------


@LAWS
@given(st.text(host_string.printable, max_size=20), st.integers(0, 30), st.text("ab", min_size=1, max_size=3))
def test_padding_reaches_the_width(s: str, width: int, fill: str) -> None:
    for function in ("padStart", "padEnd", "padCenter"):
        padded = call(f"string.{function}", s, width, fill)
        assert len(padded) == max(width, len(s))
        assert s in padded


@LAWS
@given(st.text("{}a0.[_! ", max_size=12), st.lists(st.integers(), max_size=3))
def test_format_knows_three_fields_and_no_more(template: str, values: list[int]) -> None:
    try:
        result = call("string.format", template, *values)
    except (ValueError, IndexError, KeyError):
        return
    assert type(result) is str
    assert "<" not in result


@LAWS
@given(st.text(max_size=12))
def test_format_gives_plain_text_back(text: str) -> None:
    assert call("string.format", text.replace("{", "{{").replace("}", "}}")) == text


CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\n"), max_size=6)


@LAWS
@given(st.lists(st.lists(CELLS, min_size=2, max_size=2), min_size=1, max_size=5), st.sampled_from(",;|\t"))
def test_csv_round_trip(rows: list[list[str]], delimiter: str) -> None:
    text = call("csv.write_string", rows, delimiter)
    assert text.endswith("\r\n")
    assert call("csv.read_string", text, delimiter, False) == rows


# --- crypto ---------------------------------------------------------------------------------------------------------


@LAWS
@given(st.text(max_size=40), st.text(max_size=10))
def test_digests_are_the_hosts(s: str, salt: str) -> None:
    import hashlib
    import hmac
    import uuid

    assert call("crypto.sha256", s, salt) == hashlib.sha256((salt + s).encode()).hexdigest()
    mac = call("crypto.hmac", s, salt, "sha512")
    assert mac == hmac.new(salt.encode(), s.encode(), "sha512").hexdigest()
    assert call("crypto.verify_hmac", s, mac, salt, "sha512")
    assert not call("crypto.verify_hmac", s + "x", mac, salt, "sha512")
    assert call("crypto.uuid_from_string", s) == str(uuid.uuid5(uuid.NAMESPACE_DNS, s))


def test_random_values_are_spread() -> None:
    import uuid

    assert uuid.UUID(call("crypto.uuid")).version == 4
    assert {call("crypto.random_int", 1, 3) for _ in range(200)} == {1, 2, 3}
    assert len({call("crypto.random_hex", 16) for _ in range(50)}) == 50
    assert all(0 <= call("crypto.random_float") < 1 for _ in range(100))
