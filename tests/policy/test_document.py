"""Documents: one reading, or an error with the place."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.errors import DocumentError
from launcher.policy.document import MAX_BYTES, MAX_DEPTH, load

BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join(['*' + chr(97 + n)] * 10)}]\n" for n in range(9)
)

REFUSED = [
    # document, line, column, words of the message, words of the hint
    ("a: 1\nb: 2\na: 3\n", 3, 1, "'a' stands twice", ""),
    ("a: {x: 1, x: 2}\n", 1, 11, "'x' stands twice", ""),
    ("a: &x {y: 1}\nb:\n  <<: *x\n", 3, 3, "merge keys", "extends"),
    ("a: !!python/object:os.system x\n", 1, 4, "tag", "remove"),
    ("a: !!str x\n", 1, 4, "tag", "remove"),
    ("- !file.read:/x\n", 1, 3, "tag", "quotes"),
    ("a: &a [*a]\n", 1, 8, "inside of what it names", ""),
    ("a: *nothing\n", 1, 4, "no anchor", "quotes"),
    ("- *.txt\n", 1, 4, "not YAML", "quotes"),
    ("a: @base/x\n", 1, 4, "not YAML", "quotes"),
    ("a: %x\n", 1, 4, "not YAML", "quotes"),
    ("a: b: c\n", 1, 5, "not YAML", ""),
    ("a:\n\t- x\n", 2, 1, "not YAML", "tabs"),
    ("a: [x\n", 2, 1, "not YAML", ""),
    ("a: 1\n---\nb: 2\n", 2, 1, "second document", ""),
    ("", 1, 1, "empty", ""),
    ("# nothing\n", 1, 1, "empty", ""),
    ("? [a]\n: 1\n", 1, 3, "key must be plain text", ""),
    ("? {a: 1}\n: 1\n", 1, 3, "key must be plain text", ""),
    ("a: \x01\n", 1, 4, "not allowed", ""),
    ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), 1, MAX_DEPTH + 1, "deeper", ""),
    ("[" * 100_000, 1, MAX_DEPTH + 1, "deeper", ""),
    (BOMB, 5, 28, "expands to more", ""),
]


@pytest.mark.parametrize(("text", "line", "column", "message", "hint"), REFUSED)
def test_what_has_no_single_reading_is_refused_with_its_place(
    text: str, line: int, column: int, message: str, hint: str
) -> None:
    with pytest.raises(DocumentError) as caught:
        load(text.encode(), "p.yaml")
    assert message in caught.value.message
    assert hint in caught.value.hint
    place = caught.value.place.split(":")
    assert (place[0], int(place[1])) == ("p.yaml", line)
    if text is not BOMB:
        assert int(place[2]) == column


def test_size_and_encoding_are_bounded() -> None:
    with pytest.raises(DocumentError, match="bytes"):
        load(b"a: " + b"x" * MAX_BYTES, "p.yaml")
    with pytest.raises(DocumentError) as caught:
        load(b"a: 1\nb: \xff\n", "p.yaml")
    assert caught.value.place == "p.yaml:2:4"
    with pytest.raises(DocumentError):
        load("a: 1".encode("utf-16"), "p.yaml")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),  # Norway: a YAML 1.1 boolean
        ("on", "on"),
        ("1:30", "1:30"),  # YAML 1.1: ninety
        ("0644", "0644"),  # octal in one reading, decimal in the other: text
        ("0x10", "0x10"),
        ("1_000", "1_000"),
        ("2026-01-01", "2026-01-01"),
        ("true", True),
        ("~", None),
        ("-5", -5),
        ("0", 0),
        ("1.5", 1.5),
        ("1e3", "1e3"),
        (".inf", ".inf"),
        ("9" * 30, "9" * 30),
        ('"1"', "1"),
        ("'true'", "true"),
        ('"a\\nb"', "a\nb"),
    ],
)
def test_scalars_have_one_reading(text: str, value: object) -> None:
    found = load(f"a: {text}\n".encode(), "p.yaml").plain()
    assert found == {"a": value}
    assert type(found["a"]) is type(value)


def test_places_count_characters_from_one() -> None:
    node = load("é: [ä, {b: c}]\n".encode(), "p.yaml")
    inner = node.members["é"].items[1]
    assert str(inner.place) == "p.yaml:1:8"
    assert str(inner.keys["b"]) == "p.yaml:1:9"


def test_an_alias_within_bounds_is_what_it_names() -> None:
    assert load(b"a: &x [1, 2]\nb: *x\n", "p.yaml").plain() == {"a": [1, 2], "b": [1, 2]}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("{'a': 1}", 1),
        ('{"a": 1,}', 1),
        ('{\n"a": 1 # x\n}', 2),
        ('{"a": NaN}', 1),
        ("a: 1", 1),
        ('{"a": 1, "a": 2}', 1),
    ],
)
def test_a_json_file_must_be_json(text: str, line: int) -> None:
    with pytest.raises(DocumentError) as caught:
        load(text.encode(), "p.json")
    assert int(caught.value.place.split(":")[1]) == line


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(min_value=-(10**17), max_value=10**17)
    | st.text(st.characters(min_codepoint=32, max_codepoint=0xFFFD, exclude_categories=["Cs", "Cc"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcdef", max_size=4), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text("abcdef", min_size=1, max_size=4), JSON, max_size=4))
@settings(max_examples=150, deadline=None)
def test_json_reads_as_itself(value: dict[str, object]) -> None:
    text = json.dumps(value, ensure_ascii=False, indent=1)
    for file in ("p.json", "p.yaml"):
        assert load(text.encode(), file).plain() == value


@given(st.binary(max_size=60) | st.text(st.sampled_from("ab:-[]{}&*!|>'\"#%@,? \n\t1"), max_size=60).map(str.encode))
@settings(max_examples=400, deadline=None)
def test_any_bytes_are_a_document_or_a_document_error(data: bytes) -> None:
    for file in ("p.yaml", "p.json"):
        try:
            load(data, file)
        except DocumentError as error:
            assert error.place.startswith(file + ":")
