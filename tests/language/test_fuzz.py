"""Random and mutated programs: the front end answers with a program or with diagnostics, quickly, and nothing else."""

import os
import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.language.ast import same
from launcher.language.diagnostics import SourceError
from launcher.language.parser import parse
from launcher.language.printer import format_source, print_tree
from launcher.language.program import compile_program, declarations
from launcher.language.source import MAX_SOURCE, Source
from tests.corpus.runner import cases, text

SOURCES = [text(case["source"]) for case in cases()]
_OPERATORS = "+ - * / // % == != < > <= >= && || ! ? : = => . , ; ( ) [ ] { } += //= /* */ \" ' \\ \n"
_KEYWORDS = "function if elif else while for in return throw try except catch finally break continue nonlocal import as"
_OTHERS = "capability resource allow read fn true false null x y f 1 2.5 .5 1e3 'a' \"b\" // # @ é"
WORDS = [word for words in (_OPERATORS, _KEYWORDS, _OTHERS) for word in words.split(" ")]


def survives(source: str) -> None:
    """Compiles, formats and reads declarations; only SourceError may come out, and rendering it must work."""
    start = time.process_time()
    for step in (
        lambda: compile_program(source.encode("utf-8", "replace"), "f.ml"),
        lambda: format_source(Source(source)),
    ):
        try:
            step()
        except SourceError as error:
            assert error.render()
            assert len(error.diagnostics) >= 1
    declarations(source.encode("utf-8", "replace"), "f.ml")
    assert time.process_time() - start < 5


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200))
def test_any_text(source: str) -> None:
    survives(source)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=40).map(" ".join))
def test_any_words(source: str) -> None:
    survives(source)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    try:
        compile_program(data, "f.ml")
    except SourceError as error:
        assert error.render()
    assert set(declarations(data, "f.ml")) == {"needs", "uses", "imports", "diagnostics"}


def mutated(source: str, dice: random.Random) -> str:
    """A program with a few characters or words removed, doubled, swapped or put in."""
    for _ in range(dice.randint(1, 4)):
        at, length = dice.randrange(len(source) + 1), dice.randint(1, 8)
        piece = source[at : at + length]
        kind = dice.randrange(4)
        if kind == 0:
            source = source[:at] + source[at + length :]
        elif kind == 1:
            source = source[:at] + piece * 2 + source[at + length :]
        elif kind == 2:
            source = source[:at] + " " + dice.choice(WORDS) + " " + source[at:]
        else:
            other = dice.choice(SOURCES)
            source = source[:at] + other[: dice.randrange(len(other) + 1)]
    return source


def test_mutated_programs() -> None:
    dice = random.Random(20251)
    for _ in range(600):
        survives(mutated(dice.choice(SOURCES), dice))


# What is deep, long or many. Each takes one path of the bounds.
HOSTILE = {
    "parentheses": "(" * 5000,
    "closed parentheses": "x = " + "(" * 500 + "1" + ")" * 500 + ";",
    "arrays": "x = " + "[" * 5000 + "]" * 5000 + ";",
    "objects": "x = " + "{a:" * 3000 + "1" + "}" * 3000 + ";",
    "blocks": "if (1) {" * 3000 + "}" * 3000,
    "functions": "function f() {" * 500 + "}" * 500,
    "arrows": "f = " + "fn(x) => " * 3000 + "x;",
    "not": "x = " + "!" * 10000 + "1;",
    "minus": "x = " + "-" * 10000 + "1;",
    "conditionals": "x = " + "1 ? 2 : " * 3000 + "3;",
    "sums": "x = 1" + " + 1" * 1900 + ";",
    "too long a sum": "x = 1" + " + 1" * 30000 + ";",
    "joins": "x = 'a'" + " + 1" * 1900 + ";",
    "ands": "x = 1" + " && 1" * 1900 + ";",
    "comparisons": "x = 1" + " < 1" * 1900 + ";",
    "members": "x = 1; y = x" + ".a" * 150 + ";",
    "too many members": "x = 1; y = x" + ".a" * 30000 + ";",
    "calls": "function f() { return f; } y = f" + "()" * 150 + ";",
    "indices": "x = 1; y = x" + "[0]" * 150 + ";",
    "methods inside methods": "a = 1; x = " + "a.append(" * 80 + "1" + ")" * 80 + ";",
    "chained methods": "a = 1; x = a" + ".upper()" * 150 + ";",
    "nested joins": "x = 1; y = " + "('a' + " * 80 + "x" + ")" * 80 + ";",
    "nested conditionals with members": "o = {}; y = " + "(o.a ? o.b : " * 60 + "1" + ")" * 60 + ";",
    "nested ands with members": "o = {}; y = " + "(o.a && f(o.b) || " * 60 + "1" + ")" * 60 + ";",
    "elifs": "x = 1; if (x == 0) { }" + " elif (x.a == 1) { }" * 500,
    "elifs with calls": "x = 1; if (x == 0) { }" + " elif (f(x.a) == 1) { }" * 500,
    "arguments": "f(" + "1, " * 20000 + ");",
    "parameters": "function f(" + ", ".join(f"a{i}" for i in range(1000)) + ") { }",
    "elements": "x = [" + "1, " * 50000 + "];",
    "keys": "x = {" + "".join(f"k{i}: {i}, " for i in range(20000)) + "};",
    "statements": "x = 1;\n" * 20000,
    "semicolons": ";" * 50000,
    "closing braces": "}" * 50000,
    "errors": "x = ;\n" * 20000,
    "comments": "// c\n" * 50000 + "/* */" * 20000,
    "open comments": "/*" * 50000,
    "slashes": "/" * 100001,
    "slashes after a value": "x = 1" + "//" * 2000 + "1;",
    "quotes": "\"'" * 50000,
    "backslashes": '"' + "\\" * 100001,
    "a long string": 'x = "' + "a" * 1000000 + '";',
    "a long number": "x = " + "1" * 100000 + ";",
    "the longest number": "x = " + "9" * 4000 + ";",
    "a large exponent": "x = 1e999999999; y = 1e-999999999;",
    "a long name": "a" * 1000000 + " = 1;",
    "many names": "".join(f"a{i} = {i};" for i in range(20000)),
    "unknown names": "".join(f"f(b{i});" for i in range(5000)) + "".join(f"x = c{i};" for i in range(5000)),
    "many functions": "".join(f"function f{i}(a) {{ return a; }}" for i in range(3000)),
    "loops inside each other": "while (1) {" * 30 + "}" * 30,
    "try inside each other": "try {" * 30 + "} except (e) { }" * 30,
    "except inside each other": "try { } except (e) {" * 30 + "}" * 30,
    "capabilities": 'capability X { resource "a"; allow read; }' * 3000,
    "resources": "capability X { " + 'resource "a";' * 20000 + " allow read; }",
    "blank": " \t\r\n\f" * 100000,
    "carets": "x = \t\t\t" * 10000,
    "tokens": "1 " * 500000,
    "deep arrows with blocks": "f = " + "fn(x) => { return " * 60 + "x" + "; }" * 60 + ";",
    "host format": "x = '%s %d %' + 1 + '%%' + '{}' + '{0}';",
    "power of folding": "x = 'a' * 99999999; y = [0] * 99999; z = 9 * 9 * 9;",
    "nul": "x = 1;\0",
    "bidirectional": "x = 1; \u202e y = 2;",
    "surrogate escape": "x = '\\ud800';",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile(name: str) -> None:
    survives(HOSTILE[name])


def test_size_is_bounded() -> None:
    with pytest.raises(SourceError, match="larger than"):
        compile_program(b" " * (MAX_SOURCE + 1), "big.ml")


def test_the_largest_source_takes_seconds_at_most() -> None:
    source = b"x = 1; // comment\n" * (MAX_SOURCE // 19 // 10)
    start = time.process_time()
    compile_program(source, "big.ml")
    assert time.process_time() - start < 10


def test_recursion_bound_holds_far_down_the_stack() -> None:
    """The bounds leave room for a caller that is deep in the stack itself."""

    def below(depth: int) -> None:
        if depth:
            below(depth - 1)
        else:
            parse(Source("x = " + "(" * 80 + "1" + ")" * 80 + ";"))

    below(300)


@pytest.mark.full
def test_an_hour_of_mutated_programs() -> None:
    """MLSANDBOX_FUZZ_SECONDS shortens it; the seed of a failure is in its message."""
    ends = time.monotonic() + float(os.environ.get("MLSANDBOX_FUZZ_SECONDS", "3600"))
    seed = int.from_bytes(os.urandom(4), "big")
    parsed = ran = 0
    while time.monotonic() < ends:
        seed, ran = seed + 1, ran + 1
        dice = random.Random(seed)
        source = mutated(dice.choice(SOURCES), dice)
        try:
            survives(source)
            parsed += printing_and_parsing_is_a_round_trip(source)
        except Exception as error:
            pytest.fail(f"seed {seed}: {error!r}\n{source}")
    print(f"{ran} programs, {parsed} of them parsed")
    assert parsed > ran // 50


def printing_and_parsing_is_a_round_trip(source: str) -> bool:
    """Whether the source parses at all; then what is printed parses to the same tree, and prints the same again."""
    try:
        tree = parse(Source(source))
    except SourceError:
        return False
    text = print_tree(tree)
    again = parse(Source(text))
    assert same(tree, again), text
    assert print_tree(again) == text
    return True
