"""Any function, any ML values, nothing granted: an ML value or an ordinary error comes back, and nothing was touched."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.runtime import stdlib
from launcher.runtime.errors import KINDS, MLError, kind_of
from launcher.runtime.library import Function, Object
from tests.runtime_stdlib.conftest import Workbench
from tests.runtime_stdlib.test_stdlib_modules import leak

# Setting a variable is the program's own affair and would stay in this process.
LEFT_OUT = {"env.set", "env.delete"}


def everything() -> list[Function]:
    modules = [stdlib.load(name) for name in stdlib.names() if name != "network"]
    members = [member for module in modules if module is not None for member in module.members.values()]
    return [member for member in members if isinstance(member, Function) and member.name not in LEFT_OUT]


FUNCTIONS = everything()
TEXTS = st.sampled_from(
    ["", "a", "ab c", "x.txt", "../x", "/etc/passwd", "~", "http://localhost:1/", "{0}", "{", "(", "\\", "\0", "\ud800", "é",
     "2024-01-02", "sqlite::memory:", '[1, {"a": 2}]', "-h", "--", "%Y", "sha256", "utf-8", "no-such-codec"]
)  # fmt: skip
PLAIN = (
    st.none() | st.booleans() | st.integers(-3, 40) | st.floats(-5, 5) | st.sampled_from([float("nan"), float("inf")])
    | TEXTS | st.binary(max_size=4)
)  # fmt: skip
CALLABLES = st.sampled_from(
    [
        lambda: 1,
        lambda x: x,
        lambda x, y: x,
        lambda *_: None,
        lambda x: [x],
        lambda x: f"{x}",
        FUNCTIONS[0],
        FUNCTIONS[40],
    ]
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    PLAIN | CALLABLES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=3) | st.tuples(inner, inner),
    max_leaves=8,
)


def attempt(call: Any, arguments: list[Any]) -> Any:
    """The result. Any error must be one that ML has a name for, with a text that shows no address of the host."""
    try:
        result = call(*arguments)
    except Exception as error:
        assert isinstance(error, MLError) or kind_of(error) in KINDS, repr(error)
        assert isinstance(str(error), str)
        return None
    assert leak(result) == "", f"{leak(result)} came back"
    return result


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(FUNCTIONS), st.lists(VALUES, max_size=4), st.lists(VALUES, max_size=3), st.randoms())
def test_any_call(function: Function, arguments: list[Any], more: list[Any], choice: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        bench = Workbench(Path(folder))
        try:
            bench.hold()
            result = attempt(function.call, arguments)
            if isinstance(result, Object):
                methods = type(result).methods
                attempt(getattr(result, methods[choice.choice(sorted(methods))]), more)
            if isinstance(result, Function):
                attempt(result.call, more)
            assert os.listdir(folder) == []
        finally:
            bench.close()


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.name)
def test_too_many_arguments_are_an_error_in_ml_words(function: Function, bench: Workbench) -> None:
    bench.hold()
    try:
        function.call(*[None] * 12)
    except Exception as error:
        assert isinstance(error, MLError) or kind_of(error) in KINDS
        if "positional argument" in str(error):
            assert function.name.partition(".")[2] in str(error) or "Logger." in str(error) or "()" in str(error)
            assert "._" not in str(error)
