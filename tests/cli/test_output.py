from __future__ import annotations

import io
import os
import pty

import pytest

from launcher.cli.output import paint, printable_text, show, table, wants_colour


def test_a_table_is_aligned_and_safe() -> None:
    rows = [("alice", 1), ("b\nob\x1b[2J", 22), ("山田", 3)]
    assert table(("NAME", "JOBS"), rows).splitlines() == [
        "NAME          JOBS",
        "alice         1",
        "b\\nob\\x1b[2J  22",
        "山田          3",
    ]
    assert table(("NAME",), []) == ""


@pytest.mark.parametrize(
    ("environment", "colour"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)],
)
def test_colour_is_for_terminals_that_want_it(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], colour: bool
) -> None:
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    master, slave = pty.openpty()
    with os.fdopen(slave, "w") as stream:
        assert wants_colour(stream) is colour
        assert paint("x", "red", stream) == ("\x1b[31mx\x1b[0m" if colour else "x")
    os.close(master)
    assert paint("x", "red", io.StringIO()) == "x"


def test_what_an_encoding_lacks_is_escaped() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    show("säle \udcff", stream)
    stream.flush()
    assert raw.getvalue() == b"s\\xe4le \\udcff\n"


def test_a_closed_stream_wants_no_colour() -> None:
    stream = io.StringIO()
    stream.close()
    assert not wants_colour(stream)


def test_prose_keeps_lines_and_backslashes() -> None:
    assert printable_text("a\n\\d+ \x1b") == "a\n\\d+ \\x1b"
