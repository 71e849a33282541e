"""Interactive sessions, without a process."""

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.runtime.context import Context
from launcher.runtime.repl import MORE, PROMPT, Session, loop
from tests.corpus.runner import everything


@pytest.fixture
def shown(tmp_path: Path) -> Iterator[list[str]]:
    with Context.root(everything(str(tmp_path))), contextlib.redirect_stdout(io.StringIO()):
        yield []


def session(shown: list[str]) -> Session:
    return Session(shown.append)


def test_values_are_shown_and_null_is_not(shown: list[str]) -> None:
    one = session(shown)
    for text in ("1 + 1", "null", '"a"', "[true]", "true", "x = 5", "{a: 1}"):
        assert one.run(text)
    assert shown == ["2\n", "'a'\n", "[True]\n", "true\n", "{'a': 1}\n"]


def test_variables_stay(shown: list[str]) -> None:
    one = session(shown)
    for text in (
        "n = 1;",
        "function bump() { nonlocal n; n = n + 1; return n; }",
        "bump(); bump()",
        "n",
        "g = fn() => n",
        "n = 9",
        "g()",
    ):
        one.run(text)
    assert shown == ["3\n", "3\n", "9\n"]


def test_arrows_of_earlier_inputs_keep_their_modules(shown: list[str]) -> None:
    one = session(shown)
    for text in (
        "import math",
        "f = fn(x) => math.sqrt(x)",
        "import json",
        "h = fn(x) => json.stringify(x)",
        "f(4)",
        "h([1])",
    ):
        one.run(text)
    assert shown == ["2.0\n", "'[1]'\n"]


UNFINISHED = [
    "if (true) {",
    "x = (1 +",
    "f(1,",
    "function f(a) {\n  x = 1;",
    "x = [1,",
    "/* a",
    "x = 1 +",
    '"abc',
    "o = {a:",
]


@pytest.mark.parametrize("text", UNFINISHED)
def test_unfinished_inputs_wait_for_more(text: str, shown: list[str]) -> None:
    assert not session(shown).run(text)
    assert shown == []


def test_wrong_inputs_do_not_wait(shown: list[str]) -> None:
    one = session(shown)
    for text in ("x = ;", "1 2", ")", "return 5", "y"):
        assert one.run(text)
    assert len(shown) == 5


def test_an_error_ends_the_input_not_the_session(shown: list[str]) -> None:
    one = session(shown)
    one.run("o = {f: fn() => [][1]}")
    one.run("o.f()")
    one.run("1")
    assert shown[0].startswith("input 1:1:")
    assert "IndexError" in shown[0]
    assert shown[1] == "1\n"


def test_the_loop(shown: list[str]) -> None:
    lines = iter(["x = [1,", "2]", "", "x", "if (x) {", "", ":help", ":names", ":quit", "never"])
    prompts = []

    def read(prompt: str) -> str:
        prompts.append(prompt)
        return next(lines)

    loop(read, shown.append)
    assert prompts == [PROMPT, MORE, PROMPT, PROMPT, PROMPT, MORE, PROMPT, PROMPT, PROMPT]
    assert shown[0] == "[1, 2]\n"
    assert shown[2] == "x\n"


def test_the_end_of_input_ends_the_loop(shown: list[str]) -> None:
    def read(_prompt: str) -> str:
        raise EOFError

    loop(read, shown.append)
    assert shown == []
