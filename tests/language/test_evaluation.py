"""Generated code against a plain evaluator: same values, same errors, same order of effects.

The generator takes quick paths, evaluates effect-free expressions again, and moves operands into temporaries. None of
that may be seen. The evaluator here walks the tree from left to right and knows no quick path.
"""

import io
import re
import sys
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.errors import UnsatisfiedAssumption

from launcher.language import ast
from launcher.language.printer import print_tree
from launcher.language.program import compile_program
from launcher.runtime import access
from launcher.runtime.errors import described
from launcher.runtime.machine import Machine
from launcher.runtime.values import length

# `say(x)` prints and returns x; `bump()` changes the variable n; `o`, `p` are objects, `a` an array, `s` a string.
PRELUDE = """
n = 1;
o = {k: 2, t: "text", z: null, inner: {k: 5}, f: fn(x) => x, upper: fn() => "entry"};
p = {k: [1, 2]};
a = [10, 20, 30];
s = "abc";
function say(x) { print("say", x); return x; }
function bump() { nonlocal n; n = n + 100; print("bump"); return {k: n, f: fn(x) => x}; }
"""


class World:
    """The evaluator's state, equal to what PRELUDE makes."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.names: dict[str, Any] = {
            "n": 1,
            "o": {"k": 2, "t": "text", "z": None, "inner": {"k": 5}, "f": lambda x: x, "upper": lambda: "entry"},
            "p": {"k": [1, 2]},
            "a": [10, 20, 30],
            "s": "abc",
            "say": self.say,
            "bump": self.bump,
        }

    def say(self, x: Any) -> Any:
        self.log.append("say " + ("true" if x is True else "false" if x is False else str(x)))
        return x

    def bump(self) -> Any:
        self.names["n"] += 100
        self.log.append("bump")
        return {"k": self.names["n"], "f": lambda x: x}

    def value(self, node: ast.Expression) -> Any:
        return getattr(self, "on_" + type(node).__name__.lower())(node)

    def on_number(self, node: ast.Number) -> Any:
        return node.value

    def on_string(self, node: ast.String) -> Any:
        return node.value

    def on_boolean(self, node: ast.Boolean) -> Any:
        return node.value

    def on_name(self, node: ast.Name) -> Any:
        return None if node.name == "null" else self.names[node.name]

    def on_array(self, node: ast.Array) -> Any:
        return [self.value(item) for item in node.items]

    def on_objectliteral(self, node: ast.ObjectLiteral) -> Any:
        return {key: self.value(item) for key, item in zip(node.keys, node.values, strict=True)}

    def on_unary(self, node: ast.Unary) -> Any:
        value = self.value(node.operand)
        return (not value) if node.operator == "!" else -value

    def on_binary(self, node: ast.Binary) -> Any:
        left = self.value(node.left)
        if node.operator == "&&":
            return left and self.value(node.right)
        if node.operator == "||":
            return left or self.value(node.right)
        right = self.value(node.right)
        if node.operator == "+" and (has_text(node.left) or has_text(node.right)):
            joined = str(left) + str(right)
            assume(not FUNCTION.search(joined))  # the texts of functions differ
            return joined
        operations = {
            "+": lambda: left + right, "-": lambda: left - right, "*": lambda: left * right,
            "==": lambda: left == right, "!=": lambda: left != right, "<": lambda: left < right,
        }  # fmt: skip
        return operations[node.operator]()

    def on_conditional(self, node: ast.Conditional) -> Any:
        return self.value(node.yes) if self.value(node.test) else self.value(node.no)

    def on_index(self, node: ast.Index) -> Any:
        base = self.value(node.base)
        return base[self.value(node.index)]

    def on_member(self, node: ast.Member) -> Any:
        base = self.value(node.base)
        if type(node.base) is ast.ObjectLiteral:
            return base[node.name]
        return base[node.name] if type(base) is dict and node.name in base else access.member(base, node.name)

    def on_call(self, node: ast.Call) -> Any:
        callee = node.callee
        if isinstance(callee, ast.Name) and callee.name == "len":
            return length(self.value(node.arguments[0]))
        if isinstance(callee, ast.Arrow):
            return self.applied(callee, self.value(node.arguments[0]))
        if isinstance(callee, ast.Member):
            base = self.value(callee.base)
            if type(base) is dict and callee.name in base:
                function: Any = base[callee.name]
            else:
                function = access.method(base, callee.name)
        else:
            function = self.value(callee)
        return function(*[self.value(argument) for argument in node.arguments])

    def applied(self, arrow: ast.Arrow, x: Any) -> Any:
        """The value of an arrow of one parameter; a block says x first."""
        before = self.names.get("x")
        self.names["x"] = x
        if isinstance(arrow.body, ast.Block):
            self.say(x)
            result = self.value(arrow.body.body[1].value)  # type: ignore[attr-defined]
        else:
            result = self.value(arrow.body)
        self.names["x"] = before
        return result


def has_text(node: ast.Expression) -> bool:
    if isinstance(node, ast.Binary) and node.operator == "+":
        return has_text(node.left) or has_text(node.right)
    return isinstance(node, ast.String)


LEAVES = st.one_of(
    st.integers(0, 3).map(ast.Number),
    st.sampled_from(["x", "k"]).map(ast.String),
    st.booleans().map(ast.Boolean),
    st.sampled_from(["n", "n", "o", "o", "p", "a", "s", "null"]).map(ast.Name),
    st.just(ast.Call(ast.Name("bump"), ())),
)


X = (ast.Parameter("x", ""),)
SAY_X = ast.ExpressionStatement(ast.Call(ast.Name("say"), (ast.Name("x"),)))


def short_arrow(body: ast.Expression, argument: ast.Expression) -> ast.Call:
    return ast.Call(ast.Arrow(X, ast.Array((ast.Name("x"), body))), (argument,))


def long_arrow(body: ast.Expression, argument: ast.Expression) -> ast.Call:
    return ast.Call(ast.Arrow(X, ast.Block((SAY_X, ast.Return(body)))), (argument,))


def larger(inner: st.SearchStrategy[ast.Expression]) -> st.SearchStrategy[ast.Expression]:
    members = st.builds(ast.Member, inner, st.sampled_from(["k", "k", "t", "z", "inner", "missing", "length"]))
    return st.one_of(
        members,
        members,
        st.builds(lambda x: ast.Call(ast.Name("say"), (x,)), inner),
        st.builds(lambda x: ast.Call(ast.Name("len"), (x,)), inner),
        st.builds(ast.Binary, st.sampled_from(["+", "-", "*", "==", "!=", "<", "&&", "||"]), inner, inner),
        st.builds(ast.Binary, st.just("+"), inner, inner),
        st.builds(short_arrow, inner, inner),
        st.builds(long_arrow, inner, inner),
        st.builds(ast.Unary, st.sampled_from("!-"), inner),
        st.builds(ast.Conditional, inner, inner, inner),
        st.builds(ast.Index, inner, inner),
        st.lists(inner, max_size=3).map(tuple).map(ast.Array),
        st.builds(lambda x: ast.ObjectLiteral(("k", "f"), (x, ast.Name("say"))), inner),
        st.builds(
            lambda b, m, x: ast.Call(ast.Member(b, m), (x,)), inner, st.sampled_from(["f", "append", "count"]), inner
        ),
        st.builds(
            lambda b, m: ast.Call(ast.Member(b, m), ()), inner, st.sampled_from(["upper", "pop", "strip", "copy"])
        ),
    )


EXPRESSIONS = st.recursive(LEAVES, larger, max_leaves=10)

# How the value is used; each way is written by another part of the generator.
CONTEXTS = [
    "result = {};",
    "function f() {{ return {}; }} result = f();",
    "f = fn() => {}; result = f();",
    "if ({}) {{ result = 1; }} else {{ result = 0; }}",
    "if (false) {{ }} elif ({}) {{ result = 1; }} else {{ result = 0; }}",
    "q = {{}}; q.v = {}; result = q.v;",
    "q = [0]; q[0] = {}; result = q[0];",
    "q = [{}]; result = q[0];",
    "function f(x) {{ return x; }} result = f({});",
    "while ({}) {{ result = 1; break; }}",
    "q = 0; try {{ q = {}; }} finally {{ print('end'); }} result = q;",
    "print({});",
    "{};",
]


def expected(tree: ast.Expression, truth: bool) -> tuple[list[str], str, Any]:
    world = World()
    try:
        value = world.value(tree)
    except UnsatisfiedAssumption:
        raise
    except Exception as error:
        return world.log, described(error)[0], None
    return world.log, "", bool(value) if truth else value


def actual(source: str) -> tuple[list[str], str, Any]:
    program = compile_program(source.encode(), "order.ml")
    before, sys.stdout = sys.stdout, io.StringIO()
    kind, value = "", None
    try:
        value = Machine(program).run()
    except Exception as error:
        kind = described(error)[0]
    finally:
        output, sys.stdout = sys.stdout.getvalue().splitlines(), before
    return output, kind, value


FUNCTION = re.compile(r"<(?:function|bound method) .*? at 0x[0-9a-f]+>{1,2}", re.IGNORECASE)


def comparable(value: Any, depth: int = 6) -> Any:
    """Functions differ by identity only; what contains itself is compared so far."""
    if not depth:
        return "..."
    if isinstance(value, (list, tuple)):
        return [comparable(item, depth - 1) for item in value]
    if isinstance(value, dict):
        return {key: comparable(item, depth - 1) for key, item in value.items()}
    if isinstance(value, str):
        return FUNCTION.sub("function", value)
    return "function" if callable(value) else value


@settings(max_examples=400, deadline=None)
@given(EXPRESSIONS, st.sampled_from(CONTEXTS))
def test_generated_code_does_what_the_tree_says(tree: ast.Expression, context: str) -> None:
    text = print_tree(ast.Program((ast.ExpressionStatement(tree),))).strip().removesuffix(";")
    if text.startswith("{"):
        text = f"({text})"
    log, kind, value = expected(tree, context.startswith(("if", "while")))
    output, found_kind, found = actual(PRELUDE + context.format(text))
    lines = [line for line in output if line == "bump" or line.startswith("say ")] if "print(" in context else output
    assert same_kind(found_kind) == same_kind(kind), text
    if kind:  # whether a method that does not exist is noticed before or after its arguments is open
        count = min(len(lines), len(log))
        lines, log = lines[:count], log[:count]
    assert comparable(lines) == comparable(log), text
    if not kind and "result" in context:
        if context.startswith("while"):
            assert (found == 1) == value
        else:
            assert comparable(found) == comparable(value), text


def same_kind(kind: str) -> str:
    """Calling an entry that is no function: the plain evaluator sees the host's TypeError."""
    return "AttributeError" if kind == "TypeError" else kind


@settings(max_examples=200, deadline=None)
@given(EXPRESSIONS, st.sampled_from(["+", "-", "*"]), st.sampled_from(["o.k", "p.k[0]", "a[1]", "n", 'o["k"]']))
def test_compound_assignment_is_assignment(tree: ast.Expression, operator: str, target: str) -> None:
    text = print_tree(ast.Program((ast.ExpressionStatement(tree),))).strip().removesuffix(";")
    tail = " result = [n, o.k, p.k, a];"
    short = actual(f"{PRELUDE}{target} {operator}= {text};{tail}")
    long = actual(f"{PRELUDE}{target} = {target} {operator} ({text});{tail}")
    assert comparable(short) == comparable(long), text


# Rows of assignments: `q` and `o` are one object, `e.k` is no entry of an object, `x.gone` is null.
READS = ["o.k", "q.k", "p.n", "o.inner.k", "o.gone", "c.k", "c.message", "a[0]", "n", "3", "(o.k > 3 && q.j)", "o.j"]
READS += ["(p.n == null ? o.k : o.j)", "(n || q.k)", "[o.k, q.k][1]", "o.inner.inner.k"]
TARGETS = ["n", "m", "o.k", "q.k", "p.n", "q.j", "o.inner.k", "o.inner", "a[0]", 'q["k"]', "o", "q", "a[0:1]"]
ASSIGNMENTS = st.tuples(
    st.sampled_from(TARGETS),
    st.sampled_from(["=", "=", "+="]),
    st.lists(st.sampled_from(READS), min_size=1, max_size=4),
).map(lambda parts: f"{parts[0]} {parts[1]} {' + '.join(parts[2])};")
ROW = """
function nothing() { }
a = [10, 20]; n = 1; m = 2; caught = null; c = null;
inner = {k: 5}; inner.inner = inner;
o = {k: 2, j: 4, inner: inner}; q = o; p = {n: 7};
try { throw {message: 1, k: 3}; } except (e) { c = e; }
function row() {
  nonlocal a, n, m, o, q, p, c;
"""


@settings(max_examples=300, deadline=None)
@given(st.lists(ASSIGNMENTS, min_size=2, max_size=6))
def test_members_that_are_read_again_are_read_as_if_for_the_first_time(row: list[str]) -> None:
    end = "}\ntry { row(); } except (e) { caught = e.type + e; }\n"
    end += "result = [n, m, o == q, o, q, p, a, caught];"
    run = actual(ROW + "".join(row) + end)
    apart = actual(ROW + "nothing();".join(row) + end)  # a call may change anything, so nothing is kept over it
    assert str(run) == str(apart), "".join(row)
