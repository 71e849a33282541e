from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from launcher.audit.printable import printable

TEXT = st.text(st.characters())


@given(TEXT)
def test_nothing_that_a_terminal_obeys_is_left(text: str) -> None:
    assert printable(text).isprintable()


@given(TEXT, TEXT)
def test_two_texts_never_look_the_same(one: str, other: str) -> None:
    assert (printable(one) == printable(other)) == (one == other)


def test_attack_91() -> None:
    assert printable("\x1b]52;c;ZXZpbA==\x07") == "\\x1b]52;c;ZXZpbA==\\x07"
    assert printable("a\nb\rc\td\\") == "a\\nb\\rc\\td\\\\"
    assert printable("\u202etxt.exe") == "\\u202etxt.exe"
    assert printable("\x9b31m") == "\\u009b31m"
    assert printable("\udcff") == "\\xff"
    assert printable("two\nlines", keep="\n") == "two\nlines"
    assert printable("data/säle 1.csv") == "data/säle 1.csv"
