"""All library modules: what they are made of, what they cost to import, and that no host value comes out of them."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest

from launcher.capability.kinds import KINDS
from launcher.runtime import stdlib
from launcher.runtime.errors import Caught
from launcher.runtime.introspection import HARMLESS
from launcher.runtime.library import Function, Module, Object
from tests.corpus import runner

ROOT = Path(__file__).parents[2]
COUNTS = {  # the reference document, section 8; what is ours has no count there
    "console": 5, "json": 16, "collections": 30, "functional": 37, "regex": 19, "datetime": 24, "random": 24, "file": 15,
    "path": 23, "http": 11, "crypto": 14, "csv": 7, "env": 9, "args": 4, "log": 11,
}  # fmt: skip


@pytest.fixture(params=stdlib.names())
def module(request: pytest.FixtureRequest) -> Module:
    found = stdlib.load(request.param)
    assert found is not None
    return found


def functions(module: Module) -> dict[str, Function]:
    return {name: member for name, member in module.members.items() if isinstance(member, Function)}


def test_members_are_functions_or_plain_constants(module: Module) -> None:
    for name, member in module.members.items():
        assert isinstance(member, (Function, float, int, str)), name
        assert not name.startswith("_")
    for name, function in functions(module).items():
        assert function.name == f"{module.name}.{name}"
        assert function.doc.startswith(re.split(r"[.(]", function.doc)[0])
        assert "(" in function.doc


def test_capability_names_are_known(module: Module) -> None:
    for function in functions(module).values():
        for name in function.capabilities:
            kind, _, operation = name.partition(".")
            assert name in HARMLESS or operation in KINDS[kind].operations, name


@pytest.mark.parametrize(("name", "count"), COUNTS.items())
def test_counts_are_those_of_the_reference(name: str, count: int) -> None:
    found = stdlib.load(name)
    assert found is not None
    assert len(functions(found)) == count


def test_math_has_two_constants() -> None:
    found = stdlib.load("math")
    assert found is not None
    assert set(found.members) - set(functions(found)) == {"pi", "e"}


def test_unknown_modules_are_none() -> None:
    assert stdlib.load("nothing") is None
    assert stdlib.load("_disk") is None
    assert stdlib.load("network") is stdlib.load("http")
    assert "math" in stdlib.names()


def classes() -> list[type[Object]]:
    for name in stdlib.names():
        stdlib.load(name)
    return [kind for kind in Object.__subclasses__() if kind.__module__.startswith("launcher.runtime.stdlib")]


def test_objects_expose_only_their_tables() -> None:
    names = {kind.__name__ for kind in classes()}
    assert {"Match", "Pattern", "DateTimeObject", "Date", "Time", "TimeDelta", "HttpResponse", "Logger", "ArgParser",
            "ParsedArgs"} <= names  # fmt: skip
    for kind in classes():
        for attribute in (*kind.methods.values(), *kind.properties.values()):
            assert not attribute.startswith("_")
            assert hasattr(kind, attribute)
        for operator in ("__getattr__", "__getitem__", "__iter__", "__call__", "__len__", "__add__"):
            assert not any(operator in vars(base) for base in kind.__mro__), f"{kind.__name__}{operator}"


# --- nothing of the host comes out ---------------------------------------------------------------------------------

PLAIN = {type(None), bool, int, float, str, bytes}


def leak(value: Any) -> str:
    """The kind of host value that is in an ML value, "" when there is none."""
    if type(value) in PLAIN or isinstance(value, (Function, Module, Object, Caught)):
        return ""
    if type(value) in {list, tuple}:
        return next((found for item in value if (found := leak(item))), "")
    if type(value) is dict:
        return next((found for pair in value.items() for item in pair if (found := leak(item))), "")
    if isinstance(value, FunctionType) and not value.__module__.startswith("launcher.runtime.stdlib"):
        return ""  # a function of the program
    return type(value).__name__


def watched(call: Callable[..., Any], name: str, seen: list[str]) -> Callable[..., Any]:
    def watching(*arguments: Any) -> Any:
        result = call(*arguments)
        if leak(result):
            seen.append(f"{name}: {leak(result)}")
        return result

    return watching


def test_no_program_of_the_corpus_gets_a_host_value(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[str] = []
    for name in stdlib.names():
        module = stdlib.load(name)
        assert module is not None
        for function in functions(module).values():
            monkeypatch.setattr(function, "call", watched(function.call, function.name, seen))
    for kind in classes():
        for ml_name, attribute in kind.methods.items():
            code = getattr(kind, attribute)
            monkeypatch.setattr(kind, attribute, watched(code, f"{kind.__name__}.{ml_name}", seen))
    ran = 0
    for case in runner.cases():
        if case["file"].startswith("lib_"):
            folder = tmp_path / str(ran)
            folder.mkdir()
            runner.run(case, folder)
            ran += 1
    assert ran > 150
    assert seen == []


# --- what a job pays -----------------------------------------------------------------------------------------------

HEAVY = {
    "re", "json", "typing", "dataclasses", "enum", "functools", "collections", "inspect", "threading", "socket", "ssl",
    "subprocess", "hashlib", "datetime", "random", "urllib.parse", "http.client", "sqlite3", "logging", "argparse",
    "contextlib", "tempfile", "pathlib", "ctypes", "psycopg", "sqlglot", "uuid", "hmac", "csv", "email",
}  # fmt: skip
# What a module may import as soon as a program imports it. (collections: of `re`.)
ALLOWED = {"regex": {"re", "enum", "functools", "collections", "typing"}}


@pytest.mark.parametrize("name", ["", *stdlib.names()])
def test_import_budget(name: str) -> None:
    work = f"launcher.runtime.stdlib.load({name!r})" if name else "None"
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); import launcher.runtime.context, launcher.runtime.stdlib; {work};"
        f"print(*sorted(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = set(done.stdout.split())
    assert loaded & HEAVY <= ALLOWED.get(name, set())


# --- the documentation ---------------------------------------------------------------------------------------------


def test_each_function_is_documented(module: Module) -> None:
    text = (ROOT / "docs/reference/stdlib.md").read_text(encoding="utf-8")
    for name, function in functions(module).items():
        assert f"`{name}" in text, f"{module.name}.{name}"
        assert function.doc.partition(": ")[2] in text


def examples() -> list[tuple[str, str]]:
    """The programs of the page with what it says that they print."""
    text = (ROOT / "docs/reference/stdlib.md").read_text(encoding="utf-8")
    return re.findall(r"```ml\n(.*?)```\n+```text\n(.*?)```", text, re.DOTALL)


@pytest.mark.parametrize(("source", "printed"), examples())
def test_examples_print_what_the_page_says(source: str, printed: str, tmp_path: Path) -> None:
    outcome = runner.run({"source": source}, tmp_path)
    assert (outcome.refused, outcome.error) == (None, None)
    assert outcome.output == printed


def test_there_are_examples() -> None:
    assert len(examples()) >= 10
