"""Colours for the terminal."""

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.language.highlight import highlight, spans
from launcher.language.source import Source
from tests.corpus.runner import cases, text


def plain(coloured: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", coloured)


def kinds(source: str) -> list[tuple[str, str]]:
    return [(source[start:end], kind) for start, end, kind in spans(Source(source))]


def test_kinds() -> None:
    assert kinds('if (len(x) // 2 == 1.5) { y = "a // b"; } // end') == [
        ("if", "keyword"), ("len", "builtin"), ("2", "number"), ("1.5", "number"), ('"a // b"', "string"),
        ("// end", "comment"),
    ]  # fmt: skip


def test_only_colours_are_added() -> None:
    for case in cases():
        source = text(case["source"])
        if source.replace("\n", "").replace("\t", "").isprintable():
            assert plain(highlight(Source(source))) == source


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60))
def test_no_escape_sequence_of_the_program_reaches_the_terminal(source: str) -> None:
    shown = plain(highlight(Source(f"x = '{source}';")))
    assert all(character.isprintable() or character in "\n\t" for character in shown)


def test_a_program_with_mistakes_stays_plain() -> None:
    assert highlight(Source("if = ;")) == "if = ;"
