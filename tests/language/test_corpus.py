"""The conformance corpus: programs as data. See tests/corpus/README.md."""

import contextlib
from pathlib import Path
from typing import Any

import pytest

from launcher.language import ast
from launcher.language.catalogue import BUILTINS, LIBRARY
from launcher.language.diagnostics import SourceError
from launcher.language.expressions import BINDING
from launcher.language.parser import parse
from launcher.language.source import Source
from launcher.runtime.access import METHODS
from launcher.runtime.library import Function
from launcher.runtime.machine import NOTHING, library
from tests.corpus.runner import cases, run, text

CASES = cases()


@pytest.mark.parametrize("case", CASES, ids=[f"{case['file']}: {case['name']}" for case in CASES])
def test_program(case: dict[str, Any], tmp_path: Path) -> None:
    outcome = run(case, tmp_path)
    if "refused" in case:
        assert outcome.refused is not None, f"it ran and printed {outcome.output!r}"
        assert any(case["refused"] in message for message in outcome.refused), outcome.refused
        return
    assert outcome.refused is None, outcome.refused
    if "error" in case or "kind" in case:
        assert outcome.error is not None, f"it ended well and printed {outcome.output!r}"
        kind, message = outcome.error
        assert case.get("error", "") in message
        assert case.get("kind", kind) == kind
    else:
        assert outcome.error is None, (outcome.error, outcome.output)
    assert outcome.output == text(case.get("output", ""), newline=True)
    assert (None if outcome.result is NOTHING else outcome.result) == case.get("result")


def test_names_are_unique() -> None:
    names = [(case["file"], case["name"]) for case in CASES]
    assert len(names) == len(set(names))


SOURCES = [text(case["source"]) for case in CASES]


def test_every_form_of_the_tree_is_there() -> None:
    seen: set[str] = set()
    pending: list[Any] = []
    for source in SOURCES:
        with contextlib.suppress(SourceError):
            pending.append(parse(Source(source)))
    while pending:
        node = pending.pop()
        if isinstance(node, tuple):
            pending.extend(node)
        elif isinstance(node, ast.Node):
            seen.add(type(node).__name__)
            pending.extend(getattr(node, field) for field in node.fields)
    forms = {name for name in ast.__all__ if name[0].isupper()} - {"Node", "Expression", "Statement"}
    assert forms <= seen


def test_every_operator_is_there() -> None:
    words = " ".join(SOURCES)
    assert [
        operator for operator in [*BINDING, "!", "-", "+=", "-=", "*=", "/=", "//=", "%="] if operator not in words
    ] == []


def test_every_builtin_is_called() -> None:
    words = " ".join(SOURCES)
    assert [name for name in sorted(BUILTINS) if f"{name}(" not in words] == []


def test_every_method_of_the_basic_types_is_called() -> None:
    words = " ".join(SOURCES)
    assert [name for names in METHODS.values() for name in sorted(names) if f".{name}(" not in words] == []


# Called in tests/runtime_stdlib/test_stdlib_http.py, with servers to answer.
NEEDS_A_SERVER = {f"http.{name}" for name in ("get", "post", "put", "patch", "delete", "head", "request")}


def test_every_library_function_is_called() -> None:
    called = set().union(*map(library_calls, SOURCES))
    functions = {
        f"{module}.{name}"
        for module in LIBRARY - {"network"}
        for name, member in library(module).members.items()
        if isinstance(member, Function)
    }
    assert sorted(functions - called - NEEDS_A_SERVER) == []


def library_calls(source: str) -> set[str]:
    """`module.function` of every call and every mention, by the module's own name."""
    pending: list[Any] = []
    with contextlib.suppress(SourceError):
        pending.append(parse(Source(source)))
    modules: dict[str, str] = {}
    members = []
    while pending:
        node = pending.pop()
        if isinstance(node, tuple):
            pending.extend(node)
        elif isinstance(node, ast.Node):
            if isinstance(node, ast.Import):
                modules[node.alias or node.path[0]] = node.path[0]
            elif isinstance(node, ast.Member) and isinstance(node.base, ast.Name):
                members.append((node.base.name, node.name))
            pending.extend(getattr(node, field) for field in node.fields)
    return {f"{modules.get(base, base)}.{name}" for base, name in members}


def test_there_are_enough() -> None:
    assert len(CASES) >= 400
