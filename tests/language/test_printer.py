"""The printer: reading what it writes gives the same tree, comments stay, and formatting twice changes nothing."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.language import ast
from launcher.language.parser import parse
from launcher.language.printer import format_source, print_tree
from launcher.language.source import Source
from tests.corpus.runner import cases, text

NAMES = st.sampled_from(["a", "b", "if", "else", "catch", "in", "as", "read", "import", "fn_", "True", "len", "null"])
BINDABLE = st.sampled_from(["a", "b", "in", "as", "read", "fn_", "True", "len"])
STRINGS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
NUMBERS = st.one_of(st.integers(0, 10**20), st.floats(0, allow_nan=False))
PARAMETERS = st.lists(BINDABLE, max_size=3, unique=True).map(
    lambda names: tuple(ast.Parameter(name, "" if len(name) > 1 else "number") for name in names)
)

LEAVES = st.one_of(
    NUMBERS.map(ast.Number), STRINGS.map(ast.String), st.booleans().map(ast.Boolean), NAMES.map(ast.Name)
)


def compound(inner: st.SearchStrategy[ast.Expression]) -> st.SearchStrategy[ast.Expression]:
    """Expressions one level above `inner`."""
    some = st.lists(inner, max_size=3).map(tuple)
    maybe = st.one_of(st.none(), inner)
    entries = st.lists(st.tuples(st.one_of(NAMES, STRINGS), inner), max_size=3)
    operators = st.sampled_from(["+", "-", "*", "/", "//", "%", "==", "!=", "<", ">", "<=", ">=", "&&", "||"])
    return st.one_of(
        some.map(ast.Array),
        entries.map(lambda pairs: ast.ObjectLiteral(tuple(k for k, _ in pairs), tuple(v for _, v in pairs))),
        st.builds(ast.Unary, st.sampled_from("!-"), inner),
        st.builds(ast.Binary, operators, inner, inner),
        st.builds(ast.Conditional, inner, inner, inner),
        st.builds(ast.Call, inner, some),
        st.builds(ast.Index, inner, inner),
        st.builds(ast.Slice, inner, maybe, maybe, maybe),
        st.builds(ast.Member, inner, NAMES),
        st.builds(ast.Arrow, PARAMETERS, inner),
        st.builds(lambda p, e: ast.Arrow(p, ast.Block((ast.Return(e),))), PARAMETERS, inner),
    )


EXPRESSIONS = st.recursive(LEAVES, compound, max_leaves=12)
TARGETS = st.one_of(
    NAMES.map(ast.Name), st.builds(ast.Index, EXPRESSIONS, EXPRESSIONS), st.builds(ast.Member, EXPRESSIONS, NAMES)
)
BOUND = BINDABLE.map(ast.Name)
SIMPLE = st.one_of(
    EXPRESSIONS.map(ast.ExpressionStatement),
    st.builds(ast.Assign, TARGETS, st.sampled_from(["", "+", "-", "*", "/", "//", "%"]), EXPRESSIONS),
    st.builds(ast.Destructure, st.sampled_from("[{"), st.lists(BOUND, min_size=1, max_size=3).map(tuple), EXPRESSIONS),
    st.one_of(st.none(), EXPRESSIONS).map(ast.Return),
    EXPRESSIONS.map(ast.Throw),
    st.lists(BOUND, min_size=1, max_size=2).map(tuple).map(ast.Nonlocal),
    st.just(None).map(lambda _: ast.Break()),
)


def blocks(statement: st.SearchStrategy[ast.Statement]) -> st.SearchStrategy[ast.Statement]:
    """Statements one level above `statement`."""
    block = st.lists(statement, max_size=3).map(tuple).map(ast.Block)
    maybe = st.one_of(st.none(), block)
    branches = st.lists(st.builds(ast.Branch, EXPRESSIONS, block), min_size=1, max_size=3).map(tuple)
    handlers = st.lists(st.builds(ast.Handler, st.one_of(st.none(), BOUND), block), max_size=2).map(tuple)
    return st.one_of(
        st.builds(ast.If, branches, maybe),
        st.builds(ast.While, EXPRESSIONS, block),
        st.builds(ast.For, BOUND, EXPRESSIONS, block),
        st.builds(ast.Try, block, handlers, maybe),
        st.builds(ast.Function, BINDABLE, PARAMETERS, block),
    )


TOP = st.one_of(
    st.builds(ast.Import, st.lists(BINDABLE, min_size=1, max_size=3).map(tuple), st.sampled_from(["", "x"])),
    st.builds(
        ast.Capability,
        BINDABLE,
        st.lists(
            st.one_of(
                STRINGS.map(ast.Resource),
                st.builds(ast.Allow, st.sampled_from(["read", "https"]), st.one_of(st.none(), STRINGS)),
            ),
            max_size=3,
        ).map(tuple),
    ),
)
STATEMENTS = st.recursive(SIMPLE, blocks, max_leaves=6)
PROGRAMS = st.lists(st.one_of(STATEMENTS, TOP), max_size=4).map(lambda body: ast.Program(tuple(body)))


@settings(max_examples=150, deadline=None)
@given(PROGRAMS)
def test_reading_what_was_printed_gives_the_same_tree(program: ast.Program) -> None:
    printed = print_tree(program)
    assert ast.same(parse(Source(printed)), program), printed


@settings(max_examples=150, deadline=None)
@given(PROGRAMS)
def test_formatting_twice_changes_nothing(program: ast.Program) -> None:
    once = format_source(Source(print_tree(program)))
    assert format_source(Source(once)) == once


SOURCES = [text(case["source"]) for case in cases() if "refused" not in case]


def test_the_corpus_keeps_its_trees() -> None:
    for source in SOURCES:
        formatted = format_source(Source(source))
        assert ast.same(parse(Source(formatted)), parse(Source(source))), source
        assert format_source(Source(formatted)) == formatted


LAYOUTS = [
    ("x=1;y  =  2;", "x = 1;\ny = 2;\n"),
    ("x = 1; // why\n", "x = 1;  // why\n"),
    ("// head\n\n\n\nx = 1;\n\n\n\ny = 2;\n", "// head\n\nx = 1;\n\ny = 2;\n"),
    ("if(a){// in\nx=1;// x\n// last\n}else{}", "if (a) {  // in\n  x = 1;  // x\n  // last\n} else { }\n"),
    ("f(1, // one\n  2);", "f(1, // one\n  2);\n"),
    ("/* a\n   b */ x = 1;", "/* a\n   b */\nx = 1;\n"),
    ("if (a) { } // one\n// two\nelse { x = 1; }", "if (a) { }  // one\n// two\nelse {\n  x = 1;\n}\n"),
    ('capability X{resource "a";// r\nallow read;}', 'capability X {\n  resource "a";  // r\n  allow read;\n}\n'),
    ("f = fn(x) => { return x; };", "f = fn(x) => {\n  return x;\n};\n"),
    ("x = ((1 + 2)) * 3;", "x = (1 + 2) * 3;\n"),
    ("x = 'a' + \"it's\" + 'say \"hi\"';", 'x = "a" + "it\'s" + \'say "hi"\';\n'),
    ("if (a) { x = 1; } else if (b) { x = 2; }", "if (a) {\n  x = 1;\n} elif (b) {\n  x = 2;\n}\n"),
    ("", ""),
    ("// only\n", "// only\n"),
]


@pytest.mark.parametrize(("source", "expected"), LAYOUTS)
def test_layout(source: str, expected: str) -> None:
    assert format_source(Source(source)) == expected


def test_long_lists_take_a_line_an_item() -> None:
    items = ", ".join([f'"item number {number}"' for number in range(10)])
    formatted = format_source(Source(f"x = [{items}];"))
    assert formatted.count("\n") == 12
    assert all(len(line) <= 100 for line in formatted.splitlines())


def test_every_comment_stays() -> None:
    source = "a = 1; // 1\n/* 2 */ if (a) // 3\n{ // 4\n b = [1, // 5\n 2]; } // 6\nelse { /* 7 */ }\n// 8"
    formatted = format_source(Source(source))
    assert [number for number in "12345678" if f" {number}" not in formatted] == []
