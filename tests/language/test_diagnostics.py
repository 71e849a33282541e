"""What people are told: place, line, caret and hint, several errors per run."""

import pytest

from launcher.language.diagnostics import MAX_DIAGNOSTICS, SourceError
from launcher.language.parser import parse
from launcher.language.program import compile_program
from launcher.language.source import Source


def refusal(text: str, name: str = "job.ml") -> SourceError:
    with pytest.raises(SourceError) as caught:
        compile_program(text.encode(), name)
    return caught.value


def test_a_finding_has_place_line_caret_and_hint() -> None:
    error = refusal("total = 1;\nprint(totl);\n")
    assert error.render() == (
        "job.ml:2:7: unknown name totl\n  2 | print(totl);\n    |       ^^^^\n  hint: did you mean total?"
    )
    assert str(error) == "job.ml:2:7: unknown name totl"


def test_several_findings_in_one_run() -> None:
    error = refusal("let x = 1;\ny = ;\nif (a { }\nz = 1;\nw = 2 2;\n")
    lines = [error.source.position(item.start)[0] for item in error.diagnostics]
    assert lines == [1, 2, 3, 5]


def test_errors_inside_blocks_do_not_hide_later_ones() -> None:
    error = refusal("function f() {\n  x = ;\n  y = 1;\n  z = );\n}\nw = ];\n")
    assert [error.source.position(item.start)[0] for item in error.diagnostics] == [2, 4, 6]


def test_findings_are_bounded() -> None:
    assert len(refusal("x = ;\n" * 500).diagnostics) == MAX_DIAGNOSTICS


def test_tabs_stay_tabs_under_the_caret() -> None:
    assert refusal("\tx = ;").render().splitlines()[2] == "    | \t    ^"


def test_long_lines_are_cut_around_the_caret() -> None:
    shown = refusal("x = " + "1 + " * 300 + ";").render().splitlines()[1]
    assert len(shown) < 200


def test_control_characters_do_not_reach_the_terminal() -> None:
    assert "\x1b" not in refusal("x = 1; \x1b[31m").render().splitlines()[1]


def test_columns_count_code_points() -> None:
    assert refusal('s = "🙂é"; y = ;').place == "job.ml:1:15"


def test_crlf_lines() -> None:
    error = refusal("x = 1;\r\ny = ;\r\n")
    assert error.place == "job.ml:2:5"
    assert error.render().splitlines()[1] == "  2 | y = ;"


def test_undecodable_bytes_have_a_place() -> None:
    with pytest.raises(SourceError, match=r"job\.ml:2:6: byte 0xff is not UTF-8"):
        compile_program(b"x = 1;\ny = '\xff';", "job.ml")


def test_a_byte_order_mark_is_skipped() -> None:
    assert compile_program(b"\xef\xbb\xbfx = 1;", "job.ml").main.text == "x = 1;"


def test_data_for_machines() -> None:
    error = refusal("x = ;")
    assert error.diagnostics[0].to_data(error.source) == {
        "message": "expected a value, but the expression stops here",
        "line": 1,
        "column": 5,
        "hint": "",
        "code": "syntax",
        "text": error.diagnostics[0].render(error.source),
    }


POSITIONS = [("", 0, (1, 1)), ("a\nb", 2, (2, 1)), ("a\n\nb", 2, (2, 1)), ("a\n", 2, (2, 1)), ("abc", 3, (1, 4))]


@pytest.mark.parametrize(("text", "offset", "expected"), POSITIONS)
def test_positions(text: str, offset: int, expected: tuple[int, int]) -> None:
    assert Source(text).position(offset) == expected


def test_spans_cover_the_text_of_nodes() -> None:
    text = "x = a.b(1, [2])[3] + fn(y) => y;"
    assign = parse(Source(text)).body[0]
    value = assign.value  # type: ignore[attr-defined]
    assert text[assign.start : assign.end] == text
    assert text[value.start : value.end] == "a.b(1, [2])[3] + fn(y) => y"
    assert text[value.left.start : value.left.end] == "a.b(1, [2])[3]"
