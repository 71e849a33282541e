from __future__ import annotations

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.audit.event import FIELDS, GENESIS, MAX_LINE, MAX_TEXT, bounded, event, sealed, timestamp
from launcher.audit.tail import sequence

TEXT = st.text(st.characters())  # every code point, lone surrogates too
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT | st.binary(max_size=20) | st.floats(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


class GrantLike:
    policy = "analysts"
    place = "analysts.yaml:3:7"


def test_every_line_has_every_field() -> None:
    line = sealed(event("launch", "policy", "ALLOWED", user="alice"), 7, GENESIS)
    data = json.loads(line)
    assert data.keys() == set(FIELDS)
    assert (data["seq"], data["prev"], data["actor"]) == (7, GENESIS, "alice")
    assert b"\n" not in line


def test_deciders_are_named_by_policy_and_place() -> None:
    made = event("access", "policy", "DENIED", deciders=[GrantLike(), {"policy": "x", "place": "y"}])
    assert made["deciders"] == [
        {"policy": "analysts", "place": "analysts.yaml:3:7"},
        {"policy": "x", "place": "y"},
    ]


@pytest.mark.parametrize(("layer", "outcome"), [("nobody", "DENIED"), ("policy", "denied")])
def test_unknown_layers_and_outcomes_are_refused(layer: str, outcome: str) -> None:
    with pytest.raises(ValueError, match="no audit layer"):
        event("access", layer, outcome)


def test_a_field_that_the_log_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="no audit field 'usr'"):
        sealed({"usr": "alice"}, 1, GENESIS)


def test_the_time_sorts_as_text() -> None:
    assert timestamp(1_759_487_402_000_000_000) == "2025-10-03T10:30:02.000000Z"
    assert timestamp(1_759_487_402_000_999_999) == "2025-10-03T10:30:02.000999Z"


@given(resource=TEXT, detail=st.dictionaries(TEXT, JSON, max_size=4), seq=st.integers(1, 2**63))
def test_whatever_a_job_writes_is_one_line_whose_sequence_is_found(
    resource: str, detail: dict[str, object], seq: int
) -> None:
    line = sealed(event("access", "runtime", "DENIED", resource=resource, detail=detail), seq, GENESIS)
    assert b"\n" not in line
    assert line.isascii()
    assert len(line) <= MAX_LINE
    assert sequence(line) == json.loads(line)["seq"] == seq


@given(st.binary(max_size=200))
def test_names_that_are_not_utf8_come_back_byte_for_byte(name: bytes) -> None:
    made = event("access", "kernel", "DENIED", capability="file", operation="read", resource=os.fsdecode(name))
    assert os.fsencode(json.loads(sealed(made, 1, GENESIS))["resource"]) == name


def test_what_looks_like_a_sequence_inside_the_event_is_not_taken_for_it() -> None:
    made = event("x", "runtime", resource='a","seq":99,"', detail={"seq": 98, "z": ',"seq":97,'}, user=',"seq":96')
    assert sequence(sealed(made, 5, GENESIS)) == 5


def test_a_flood_in_one_event_is_cut() -> None:
    made = event("launch", "policy", resource="\udcff" * 100_000, detail={"argv": ["\u00e9" * 9000] * 5000})
    line = sealed(made, 1, GENESIS)
    assert len(line) <= MAX_LINE
    assert "dropped" in json.loads(line)["detail"]


def test_long_texts_say_how_much_is_missing() -> None:
    assert bounded("x" * (MAX_TEXT + 3)) == "x" * MAX_TEXT + "...(+3)"
    assert bounded([0] * 300) == [0] * 256 + ["...(+44)"]
