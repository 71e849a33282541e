"""Profile: one value, one byte form, one digest."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.canonical import canonical_json
from launcher.compile.profile import SCHEMA, Profile
from launcher.errors import ConfigurationError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def profile(**fields: Any) -> Profile:
    return Profile({"schema": SCHEMA, **fields})


@given(VALUES)
def test_bytes_round_trip_to_an_equal_profile_with_the_same_digest(value: Any) -> None:
    made = profile(value=value)
    again = Profile.from_bytes(made.to_bytes())
    assert (again, again.digest, hash(again)) == (made, made.digest, hash(made))


def test_a_name_that_is_not_utf8_has_a_form() -> None:
    name = b"/data/\xff.csv".decode("utf-8", "surrogateescape")
    assert Profile.from_bytes(profile(name=name).to_bytes()).data["name"] == name


def test_key_order_does_not_matter_and_content_does() -> None:
    assert profile(a=1, b=2).digest == profile(b=2, a=1).digest
    assert profile(a=1) != profile(a=2)
    assert profile(a=1).digest != profile(a=2).digest
    assert profile(a=1) != {"schema": SCHEMA, "a": 1}


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "not a profile"),
        (b"\xff\xfe", "not a profile"),
        (b"[]", "schema: None"),
        (b'{"schema":"mlsandbox.profile/2"}', "mlsandbox.profile/2"),
        (b'{"schema": "mlsandbox.profile/1"}', "canonical"),
        (b'{"a":1.5,"schema":"mlsandbox.profile/1"}', "float"),
        (b'{"a":NaN,"schema":"mlsandbox.profile/1"}', "float"),
        (b'{"a":1,"a":2,"schema":"mlsandbox.profile/1"}', "canonical"),
        (b"[" * 200_000, "not a profile"),
    ],
)
def test_other_bytes_are_refused_and_never_a_traceback(data: bytes, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        Profile.from_bytes(data)


def test_the_bytes_are_canonical_json() -> None:
    made = profile(b=[1, True, None], a="\u20ac")
    assert made.to_bytes() == canonical_json(json.loads(made.to_bytes()))
    assert made.digest in repr(made)
