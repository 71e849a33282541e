"""Attempts to get hold of a Python object from ML, in this process. Each is a test; none may gain one.

The kernel is the wall (a program that runs native code gains nothing), so these hold the second line: generated code
without builtins, member access by tables, and exceptions that carry text only.
"""

import io
import json
import sys
from collections.abc import Iterator
from types import FunctionType
from typing import Any

import pytest

from launcher.language import analysis
from launcher.language.compiled import FILE_PREFIX
from launcher.language.diagnostics import SourceError
from launcher.language.program import compile_program
from launcher.runtime.context import Context
from launcher.runtime.errors import Caught, described
from launcher.runtime.library import Function, Module, Object
from launcher.runtime.machine import NOTHING, Machine
from tests.corpus.runner import everything

REFUSED = "refused"

_PLAIN = {type(None), bool, int, float, str, bytes, Function}
# What `iter` makes: they have no members, so nothing is reachable through them but their items.
_ITERATED: tuple[Any, ...] = ([], "", "é", (), {}, b"", range(0))
_ITERATORS = {type(iter(x)) for x in _ITERATED} | {zip, enumerate, map, reversed}


def foreign(value: Any, depth: int = 6) -> Iterator[str]:
    """What is no ML value in `value` or in anything that ML can reach from it."""
    kind = type(value)
    if kind in _PLAIN or kind in _ITERATORS or value is NOTHING or depth == 0:
        return
    if kind in {list, tuple}:
        for item in value:
            yield from foreign(item, depth - 1)
    elif kind is dict:
        for key, item in value.items():
            yield from foreign(key, depth - 1)
            yield from foreign(item, depth - 1)
    elif kind is Caught:
        yield from foreign(value.value, depth - 1)
    elif isinstance(value, Module):
        for name in value.members:
            yield from foreign(value.member(name), depth - 1)
    elif isinstance(value, Object):
        for attribute in value.properties.values():
            yield from foreign(getattr(value, attribute), depth - 1)
    elif kind is not FunctionType or not value.__code__.co_filename.startswith(FILE_PREFIX):
        yield f"{kind.__module__}.{kind.__qualname__}: {value!r:.80}"


def attempt(source: str, tmp_path: Any) -> tuple[str, Any]:
    """("refused", first message), (kind, text) of the error, or ("value", the value of `result`)."""
    try:
        program = compile_program(source.encode(), "escape.ml")
    except SourceError as error:
        return REFUSED, error.diagnostics[0].message
    output, sys.stdout = sys.stdout, io.StringIO()
    try:
        with Context.root(everything(str(tmp_path))):
            return "value", Machine(program).run()
    except Exception as error:
        return described(error)
    finally:
        sys.stdout = output


# Expressions and what becomes of them: "refused", the kind of an error, or a value (as JSON, None for any ML value).
EXPRESSIONS: list[tuple[str, str | None]] = [
    # Attributes of values.
    ("().__class__", REFUSED),
    ("[].__class__", REFUSED),
    ('"".__class__.__mro__', REFUSED),
    ("{}.__class__.__bases__", REFUSED),
    ("f.__globals__", REFUSED),
    ("f.__code__", REFUSED),
    ("f.__closure__", REFUSED),
    ("f.__builtins__", REFUSED),
    ("f.__self__", REFUSED),
    ("f.__call__", REFUSED),
    ("print.__self__", REFUSED),
    ("len.__module__", REFUSED),
    ("math.__loader__", REFUSED),
    ("math.__dict__", REFUSED),
    ("a.__getattribute__", REFUSED),
    ("a.__reduce__()", REFUSED),
    ("o.__init__", REFUSED),
    ("e.__traceback__", REFUSED),
    ("e.__context__", REFUSED),
    ("e.__cause__", REFUSED),
    ('o["__class__"]', "KeyError"),
    ('a["__class__"]', "TypeError"),
    ('f["__globals__"]', "TypeError"),
    ('math["__dict__"]', "TypeError"),
    ("f.func_globals", "AttributeError"),
    ("f.gi_frame", "AttributeError"),
    ("it.gi_frame", "AttributeError"),
    ("a.copy.call", "AttributeError"),
    ("print.call", "AttributeError"),
    ("print.call()", "AttributeError"),
    ("math.sqrt.call", "AttributeError"),
    ("math.sqrt.capabilities", "AttributeError"),
    ("math.members", "AttributeError"),
    ("math.host", "AttributeError"),
    ("math.name", "AttributeError"),
    ("math.member", "AttributeError"),
    ('math.member("sqrt")', "AttributeError"),
    ("e.value", "null"),
    ("e.args", "null"),
    ("e.with_traceback", "null"),
    ("e.text", "null"),
    ("e.kind", "null"),
    ("1 .real", "AttributeError"),
    ("(5).numerator", "AttributeError"),
    ("(1.5).hex()", "AttributeError"),
    ("(5).to_bytes(2)", "AttributeError"),
    ("true.real", "AttributeError"),
    ("null.x", "AttributeError"),
    ("a.sort.x", "AttributeError"),
    # By name.
    ('getattr(a, "__class__")', "AttributeError"),
    ('getattr(f, "__globals__", 0)', "0"),
    ('getattr(math, "__dict__", 0)', "0"),
    ('getattr(math, "_sqrt", 0)', "0"),
    ('getattr(math, "members", 0)', "0"),
    ('getattr("", "format", 0)', "0"),
    ('getattr("", "encode", 0)', "0"),
    ('getattr(d, "_value", 0)', "0"),
    ('getattr(e, "value", 0)', "0"),
    ('getattr(print, "call", 0)', "0"),
    ('getattr(it, "__next__", 0)', "0"),
    ('getattr(it, "gi_frame", 0)', "0"),
    ("getattr(a, 5, 0)", "0"),
    ("getattr(a, null, 0)", "0"),
    ('hasattr(a, "__class__")', "false"),
    ('hasattr(f, "__code__")', "false"),
    ('hasattr(math, "__loader__")', "false"),
    ('setattr(o, "__class__", a)', "SecurityError"),
    ('delattr(o, "k")', REFUSED),
    ('call(getattr, a, "__class__", 0)', "0"),
    ('functional.map(fn(n) => getattr(f, n, 0), ["__globals__", "__code__"])', "[0, 0]"),
    # Host functions by name.
    ('eval("1")', REFUSED),
    ('exec("1")', REFUSED),
    ('compile("1", "a", "eval")', REFUSED),
    ("globals()", REFUSED),
    ("locals()", REFUSED),
    ("vars()", REFUSED),
    ('__import__("os")', REFUSED),
    ("__builtins__", REFUSED),
    ("breakpoint()", REFUSED),
    ("eval", REFUSED),
    ("dir(a)", "SecurityError"),
    ("type(a)", "SecurityError"),
    ("object()", "SecurityError"),
    ("open", REFUSED),
    ('open("/etc/passwd")', "SecurityError"),
    ("super()", "SecurityError"),
    ("memoryview(a)", "SecurityError"),
    ("id(a)", "SecurityError"),
    # Names of the generator and the runtime.
    ("b_len", REFUSED),
    ("f_len", REFUSED),
    ("v_a", REFUSED),
    ('member(a, "__class__")', "NameError"),
    ('method(a, "__class__")', "NameError"),
    ("caught(1)", "NameError"),
    ('load("os", true)', "NameError"),
    ("export({})", "NameError"),
    ('function_of(math, "sqrt")', "NameError"),
    ("UserError(1)", "NameError"),
    ("MISS", REFUSED),
    ("str_upper(1)", "NameError"),
    ("builtin.eval", "AttributeError"),
    ("builtin.__import__", REFUSED),
    ('builtin.call(builtin.getattr, f, "__globals__", 0)', "0"),
    # Format strings.
    ('"{0.__class__}".format(a)', "AttributeError"),
    ('"%(x.__class__)s" % {x: 1}', "KeyError"),
    ('"%s" % f', None),
    ('"%r" % ["%s"]', None),
    ('format(a, "{0.__class__}")', "TypeError"),
    ('format(1, "{x}")', "ValueError"),
    ('format(f, "__class__")', "TypeError"),
    ('getattr("{0.__globals__}", "format")(f)', "AttributeError"),
    ('"{}".format_map({})', "AttributeError"),
    # Operators on host types.
    ("f + f", "TypeError"),
    ("math % 1", "TypeError"),
    ("o - o", "TypeError"),
    ("print == print", "true"),
    ("math < math", "TypeError"),
    ("-f", "TypeError"),
    ("it + it", "TypeError"),
    ("f[0]", "TypeError"),
    ("math[0]", "TypeError"),
    ("f[0:1]", "TypeError"),
    ("e + e", "TypeError"),
    ("e()", "TypeError"),
    ("math()", "TypeError"),
    ("it()", "TypeError"),
    # Iterators and containers.
    ("iter(math)", "TypeError"),
    ("iter(f)", "TypeError"),
    ("iter(fn() => 1, 2)", "TypeError"),
    ("next(iter(o))", '"k"'),
    ("sorted(o)", '["k"]'),
    ("sorted([f, f])", "TypeError"),
    ("enumerate(f)", "TypeError"),
    ("zip(f, f)", "TypeError"),
    ("sum([[1]], [])", "[1]"),
    ("min([f], f)", "TypeError"),
    ("keys(math)", "TypeError"),
    ("keys(f)", "TypeError"),
    ("values(builtin)", "TypeError"),
    ("len(math)", "0"),
    ("str(math)", None),
    ("repr(f)", None),
    ("methods(f)", "[]"),
    ("help(f)", None),
    ("methods(math)", None),
    # Objects of the library.
    ("d._value", "AttributeError"),
    ("d.methods", "AttributeError"),
    ("d.kind", "AttributeError"),
    ("d.properties", "AttributeError"),
    ("d.__slots__", REFUSED),
    ("m.re", "AttributeError"),
    ("m.string", "AttributeError"),
    ('regex.compile("a").scanner("a")', "AttributeError"),
    # JSON and friends as a way out.
    ("json.stringify(f)", "TypeError"),
    ("json.stringify(math)", "TypeError"),
    ('json.parse("{\\"__class__\\": 1}").__class__', REFUSED),
]

PRELUDE = """
import math; import json; import regex; import datetime; import functional;
function f(x) { return x; }
a = [1]; o = {k: 1}; it = iter([1]);
d = datetime.create(2024, 1, 2);
m = regex.search("a", "a");
e = null;
try { throw {message: "x"}; } except (caught_value) { e = caught_value; }
"""


@pytest.mark.parametrize(("expression", "expected"), EXPRESSIONS, ids=[row[0] for row in EXPRESSIONS])
def test_expression(expression: str, expected: str | None, tmp_path: Any) -> None:
    kind, found = attempt(f"{PRELUDE}\nresult = {expression};", tmp_path)
    assert list(foreign(found)) == []
    if kind == "value":
        assert expected is None or found == json.loads(expected)
    else:
        assert kind == expected, found


# Whole programs. `result` must hold ML values only, whatever happened.
PROGRAMS: dict[str, str] = {
    "import os": "import os; result = os;",
    "import sys below a package": "import sys.modules; result = sys;",
    "import builtins": "import builtins; result = builtins;",
    "import importlib": "import importlib as i; result = i;",
    "import of the runtime": "import launcher.runtime.machine as m; result = m.Machine;",
    "import of a private library file": "import _declare; result = _declare.module;",
    "import with a path": "import math.host; result = math;",
    "dunder variable": "__builtins__ = 1; result = __builtins__;",
    "dunder function": "function __init__(x) { return x; } result = __init__;",
    "dunder parameter": "function f(__class__) { return __class__; } result = f(1);",
    "dunder in destructuring": "{__class__, x} = {__class__: 1, x: 2}; result = __class__;",
    "dunder loop variable": "for (__x in [1]) { result = __x; }",
    "dunder caught variable": "try { x = 1 / 0; } except (__e) { result = __e; }",
    "dunder key read back": 'o = {"__class__": 5}; result = o["__class__"];',
    "assignment to a dunder member": "o = {}; o.__class__ = [1]; result = o;",
    "assignment to a method": "a = [1]; a.append = fn(x) => x; result = a;",
    "assignment to a module": "import math; math.sqrt = fn(x) => x; result = math;",
    "assignment to a builtin function": "print.call = fn(x) => x; result = print;",
    "assignment to a function": "f = fn(x) => x; f.x = 1; result = f;",
    "traceback of an exception": "try { x = [][0]; } except (e) { result = [e, e.message, e.traceback, e.tb_frame]; }",
    "exception of a library call": 'import json; try { json.parse("{"); } except (e) { result = [e, e.doc, keys(e)]; }',
    "exception values by index": 'try { x = 1 / 0; } except (e) { result = e["args"]; }',
    "exception walked": "try { x = 1 / 0; } except (e) { result = []; for (k in e) { result.append([k, e[k]]); } }",
    "exception thrown again": "try { try { x = 1 / 0; } except (e) { throw e; } } except (g) { result = g; }",
    "exception thrown inside an object": "try { try { x = 1 / 0; } except (e) { throw {inner: e}; } } except (g) { result = g.inner; }",
    "exception through a captured variable": "e = 0; kept = []; function keep() { kept.append(e); } "
    "try { x = 1 / 0; } except (e) { keep(); } result = kept;",
    "exception through a variable that is called": "e = 0; function call_it() { return e(); } "
    "try { try { x = 1 / 0; } except (e) { call_it(); } } except (f) { result = f; }",
    "exception through nonlocal": "e = 0; out = []; function f() { nonlocal e; try { x = 1 / 0; } except (e) { g(); } } "
    "function g() { out.append(e); } f(); result = out;",
    "exception through nonlocal in another function": "e = 0; out = []; function g() { nonlocal e; out.append(e); e = 1; } "
    "try { x = 1 / 0; } except (e) { g(); } result = out;",
    "exception in an unread variable": "result = 0; try { x = 1 / 0; } except (e) { result = 1; }",
    "recursion error": "function f() { return f(); } try { f(); } except (e) { result = e; }",
    "name error": "try { nobody(); } except (e) { result = [e, e.name, e.obj]; }",
    "key error of an object key": "o = {}; try { x = o[print]; } except (e) { result = [e, e.args, e.value]; }",
    "stop of an iterator": "it = iter([]); try { next(it); } except (e) { result = [e, e.value]; }",
    "views of an object with number keys": "o = {}; o[1] = 2; result = [o.keys(), o.values(), o.items()];",
    "view methods as values": "o = {}; o[1] = 2; k = o.keys; result = [k, k(), o.items, call(o.items)];",
    "update through a view": "o = {}; o[1] = 2; o.update({a: o.keys()}); result = o;",
    "setdefault and pop": "o = {}; o[1] = 2; result = [o.setdefault(3, 4), o.pop(1), o.popitem()];",
    "methods as values": 'a = [1]; s = "x"; result = [a.append, s.upper, a.copy()];',
    "method values have no members": "a = [1]; m = a.append; result = m.__self__;",
    "method of a method": "a = [1]; m = a.append; result = m.call;",
    "arrows that return builtins": "g = fn() => [print, len, str, int, type_of]; type_of = typeof; result = call(g);",
    "builtins called for their types": "result = [str, int, float, bool];",
    "str as a value has no class methods": "s = str; result = s.maketrans;",
    "int as a value": 'i = int; result = i.from_bytes("a");',
    "bool as a value": "b = bool; result = b.mro;",
    "sorted with a key": "result = sorted([1], fn(x) => x);",
    "map over getattr": "import functional; result = functional.map(getattr, [[1]]);",
    "partial of getattr": 'import functional; g = functional.partial(getattr, [1]); result = g("__class__");',
    "compose to reach a class": 'import functional; g = functional.compose(fn(x) => getattr(x, "__class__", 0), fn(x) => x); result = g([]);',
    "memoize holds no cache": "import functional; g = functional.memoize(fn(x) => x); g(1); result = [g, g.cache];",
    "curry has no insides": "import functional; g = functional.curry(fn(a, b) => a); result = [g, g.args];",
    "regex replacement function": 'import regex; result = regex.sub("a", fn(m) => m.re, "a");',
    "regex match object": 'import regex; m = regex.search("(a)", "a"); result = [m.group(1), m.groups(), m];',
    "regex pattern object": 'import regex; p = regex.compile("a"); result = [p, p.pattern, p.flags];',
    "datetime objects": "import datetime; d = datetime.now(); result = [d, d.diff(d), d.date(), d.time()];",
    "datetime internals": "import datetime; d = datetime.now(); result = d.tzinfo;",
    "random state": "import random; result = [random.getSeed(), random.GENERATOR];",
    "file objects": 'import file; result = file.open("x");',
    "module info": 'result = module_info("math");',
    "modules as values": "import math; import json; result = [math, json, builtin, modules()];",
    "capability info": 'result = [getCapabilityInfo("file.read"), getCapabilities()];',
    "help of everything": "import math; result = [help(math), help(print), help(1), help(null), help(fn(x) => x)];",
    "slices as keys": "o = {}; o[1:2] = 3; result = o;",
    "slice objects": "a = [1, 2, 3]; a[[1]] = 2; result = a;",
    "generator-like iterators": "it = iter({a: 1}); result = [it, next(it)];",
    "iterator of an iterator": "it = iter(iter([1, 2])); result = [it, next(it)];",
    "zip keeps nothing": "z = zip([1], [2]); result = [z, z[0]];",
    "a closure's cells": "function f() { x = 1; return fn() => x; } g = f(); result = [g, g.cell_contents];",
    "names of temporaries": "o = {k: 1}; x = o.k; result = t1;",
    "printf of functions": 'result = "%s %r %d" % [1];',
    "strings that look like code": "result = \"__import__('os').system('id')\";",
    "quotes and newlines in names of keys": 'o = {"a\'\\"\\n); import os #": 1}; result = o;',
    "quotes in member keys of literals": 'result = {"\'": 1, "\\"": 2, "\\\\": 3, "{x}": 4, "%s": 5};',
    "quotes in joins": 'x = 1; result = "\'\\"\\\\ {x} %s %(x)s " + x + "\\u{0} \\u{2028}";',
    "host code in a capability block": "capability X { resource \"'); import os; ('\"; allow read; } result = 1;",
    "host keywords everywhere": "None = 1; True = 2; import_ = 3; global = 4; yield = 5; result = [None, True, global, yield];",
    "comments of the host": 'x = "# type: ignore"; result = x;',
    "very long names": f"{'a' * 5000} = 1; result = {'a' * 5000};",
    "null bytes in strings": 'result = "a\\u{0}b";',
    "coding cookie": 'x = "coding: utf-7"; // -*- coding: utf-7 -*-\nresult = x;',
    "mutating while iterating": "a = [1]; n = 0; for (x in a) { n = n + 1; if (n < 100) { a.append(x); } } result = n;",
    "object inside itself": "o = {}; o.self = o; o.list = [o]; result = str(o);",
    "equality of recursive arrays": "a = []; a.append(a); b = []; b.append(b); try { result = a == b; } except (e) { result = e; }",
    "sort that changes its array": "a = [3, 1, 2]; import collections; result = collections.sortBy(a, fn(x) => { a.append(x); return x; });",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_program(name: str, tmp_path: Any) -> None:
    _kind, found = attempt(PROGRAMS[name], tmp_path)
    assert list(foreign(found)) == []


def test_getting_around_the_analysis_gains_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """The static analysis is a courtesy: with it switched off, the same attempts fail when they run."""
    for name in ("bound", "called", "member", "imported"):
        monkeypatch.setattr(analysis, name, lambda *_: None)
    monkeypatch.setattr(analysis, "reflects", lambda *_: False)
    sources = [f"{PRELUDE}\nresult = {expression};" for expression, _ in EXPRESSIONS]
    ran = 0
    for source in [*sources, *PROGRAMS.values()]:
        kind, found = attempt(source, tmp_path)
        assert list(foreign(found)) == [], source
        ran += kind != REFUSED
    assert ran > len(sources) + len(PROGRAMS) - 25


def test_there_are_a_hundred() -> None:
    assert len(EXPRESSIONS) + len(PROGRAMS) >= 100


def test_the_check_finds_foreign_values() -> None:
    values: list[Any] = [sys, [type], {"a": {"b": len}}, lambda: 0, Caught("x", "y", [object()]), Exception()]
    for value in values:
        assert list(foreign(value))


def test_generated_code_has_no_builtins() -> None:
    machine = Machine(compile_program(b"result = fn() => 1;", "x.ml"))
    function = machine.run()
    assert function.__globals__["__builtins__"] == {}
    assert function.__builtins__ == {}


def test_names_in_generated_code_are_ours() -> None:
    """Every global name of the code of a large program is in the namespace table, and no ML name is among them."""
    source = "".join(f"{word} = 1; f_{word} = {word};\n" for word in ("exec", "open", "type", "sys", "os", "Exception"))
    code = compile_program(source.encode(), "x.ml").main.code
    machine = Machine(compile_program(b"", "x.ml"))
    allowed = set(machine._namespace(machine.program.main, ""))
    pending = [code]
    while pending:
        code = pending.pop()
        assert set(code.co_names) <= allowed
        pending += [item for item in code.co_consts if hasattr(item, "co_code")]
