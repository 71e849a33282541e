"""Which names are interpreters': the quick question is the same question as one pattern after the other."""

from __future__ import annotations

import os

from hypothesis import given
from hypothesis import strategies as st

from launcher.capability.glob import parse_segment, segment_matcher
from launcher.enforce.namespace.plan.programs import _one_of

PIECES = ["a", "b", "py", "3", ".", "*", "?", "[ab]", "[!a]", "\\*", "\\a"]
PATTERN = st.lists(st.sampled_from(PIECES), min_size=1, max_size=4).map("".join).filter(lambda text: "**" not in text)
NAME = st.text(alphabet="abpy3.*[\\", min_size=1, max_size=5)


def one_by_one(texts: list[str], name: str) -> bool:
    return any(segment_matcher(parse_segment(text))(name) for text in texts)


@given(st.lists(PATTERN, max_size=6), st.lists(NAME, min_size=1, max_size=20))
def test_names_match_together_as_they_do_one_by_one(texts: list[str], names: list[str]) -> None:
    together = _one_of(texts)
    assert [together(name) for name in names] == [one_by_one(texts, name) for name in names]


def test_the_programs_of_this_host() -> None:
    texts = ["sh", "bash", "dash", "zsh", "busybox", "python3.*", "python[23]", "node", "nodejs", "*sh"]
    together = _one_of(texts)
    for name in os.listdir("/usr/bin"):
        assert together(name) == one_by_one(texts, name), name
