"""Patterns written out: the same pattern in any scope."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.capability.paths import PathPattern
from launcher.capability.scope import Scope
from launcher.compile.patterns import is_literal, literal, resolved, unescaped, whole_directory
from launcher.errors import DocumentError

SCOPE = Scope("/home/a*b", "/work/[x]")
ELSEWHERE = Scope("/nowhere", "/else")
NAMES = st.text(st.sampled_from("ab*?[]\\.~@ é\udcff"), min_size=1, max_size=5).filter(lambda t: t not in {".", ".."})
SEGMENT = st.sampled_from(["a", "*.c", "**", ".", "..", "", "?", "[!a]b", "\\*", "x\\[", "~", "@base"])
PATTERN = st.builds(
    lambda first, rest: "/".join([first, *rest]),
    st.sampled_from(["", "~", "@base", "**", "a", "*", "."]),
    st.lists(SEGMENT, max_size=5),
).filter(bool)


@given(PATTERN)
def test_it_means_the_same_in_every_scope(text: str) -> None:
    try:
        meant = PathPattern(text, SCOPE)
    except DocumentError:
        return
    written = PathPattern(resolved(text, SCOPE), ELSEWHERE)
    assert (written.segments, written.anchored) == (meant.segments, meant.anchored)


@given(PATTERN)
def test_writing_out_is_idempotent(text: str) -> None:
    try:
        PathPattern(text, SCOPE)
    except DocumentError:
        return
    once = resolved(text, SCOPE)
    assert resolved(once, ELSEWHERE) == once


@given(st.lists(NAMES.filter(lambda name: "/" not in name), min_size=1, max_size=4))
def test_a_literal_matches_its_path_alone(names: list[str]) -> None:
    path = "/" + "/".join(names)
    pattern = literal(path)
    assert is_literal(pattern)
    assert unescaped(pattern) == path
    assert PathPattern(pattern, ELSEWHERE).literal == path
    assert whole_directory(f"{pattern}/**") == path


@pytest.mark.parametrize("pattern", ["/a/*/**", "/a", "**", "/**", "**/a", "/a/**/b", "/[a]/**"])
def test_what_is_not_one_whole_directory(pattern: str) -> None:
    assert whole_directory(pattern) == ""
