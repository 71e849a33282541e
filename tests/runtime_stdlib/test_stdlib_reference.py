"""Every function of the reference document is there, takes as many arguments, needs the same capabilities, and answers
null with a value or an error that a program can read.
"""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, Any

import pytest

from launcher.language.program import compile_program
from launcher.runtime import stdlib
from launcher.runtime.errors import KINDS, CapabilityError, MLError, kind_of
from launcher.runtime.library import Function
from launcher.runtime.machine import Machine
from tests.runtime_stdlib.conftest import Workbench
from tests.runtime_stdlib.reference_functions import BUILTINS, COUNTS, MODULES, Row, bounds
from tests.runtime_stdlib.test_stdlib_modules import leak

if TYPE_CHECKING:
    from collections.abc import Iterator

# The reference lists file.read for parsing a text, which reads no file.
NEEDLESS = {"csv.read_string"}


def machine() -> Machine:
    return Machine(compile_program(b"", "x.ml"))


def functions() -> Iterator[tuple[str, Function, Row]]:
    for module, rows in MODULES.items():
        found = stdlib.load(module)
        assert found is not None
        for row in rows:
            for name in row[0].split():
                yield f"{module}.{name}", found.members[name], row
    builtins = machine().builtins
    for row in BUILTINS:
        for name in row[0].split():
            yield name, builtins[name], row


ALL = list(functions())
NAMES = [name for name, _function, _row in ALL]


def test_there_are_322() -> None:
    assert len(set(NAMES)) == len(ALL) == 322
    for module, count in COUNTS.items():
        assert sum(name.startswith(f"{module}.") for name in NAMES) == count, module


@pytest.mark.parametrize(("name", "function", "row"), ALL, ids=NAMES)
def test_capabilities(name: str, function: Function, row: Row) -> None:
    expected = set() if name in NEEDLESS else set(row[2].split())
    assert set(function.capabilities) == expected


@pytest.mark.parametrize(("name", "function", "row"), ALL, ids=NAMES)
def test_too_few_and_too_many_arguments_are_type_errors(
    bench: Workbench, name: str, function: Function, row: Row
) -> None:
    least, most = bounds(row[1])
    wrong = [*range(least), *([] if most is None else [most + 1, most + 3])]
    bench.hold("file.read,write,append,delete /**", "path.read,write /**", "env.read *")
    for count in wrong:
        with pytest.raises(TypeError):
            function(*[None] * count)


@pytest.mark.parametrize(("name", "function", "row"), ALL, ids=NAMES)
@pytest.mark.parametrize("value", [None, 0, "", [], {}], ids=["null", "0", "text", "array", "object"])
def test_any_value_gives_a_value_or_an_error_of_a_known_kind(
    bench: Workbench, name: str, function: Function, row: Row, value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No host value comes out, and no error that ML has no name for: with every number of arguments."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    bench.hold("file.read,write,append,delete /**", "path.read,write /**", "env.read *")
    monkeypatch.chdir(bench.root)
    least, most = bounds(row[1])
    for count in range(max(least, 1), (least + 2 if most is None else most) + 1):
        bench.hold("file.read,write,append,delete /**", "path.read,write /**", "env.read *")
        try:
            found = function(*[value] * count)
        except Exception as error:
            assert isinstance(error, (MLError, CapabilityError)) or kind_of(error) in KINDS, repr(error)
            assert str(error) and "launcher" not in str(error), error
        else:
            assert leak(found) in {"", "list_iterator", "str_ascii_iterator", "dict_keyiterator"}, found


def test_a_grant_is_what_the_sensitive_ones_ask_for(bench: Workbench) -> None:
    """Without any grant, every function that needs a capability of the outside raises before it acts."""
    sensitive = {
        "file.read",
        "file.write",
        "file.append",
        "file.delete",
        "path.read",
        "path.write",
        "network.http",
        "env.read",
    }
    asked = 0
    silent = []
    bench.hold()
    for name, function, row in ALL:
        if sensitive.intersection(row[2].split()) and name not in NEEDLESS | {"path.listDir"}:
            arguments: list[Any] = ["/nowhere/a"] * bounds(row[1])[0]
            if name.startswith("http."):
                arguments[0] = "http://nowhere.example/"
            if name == "file.writeBytes":
                arguments[1] = b"x"
            if name in {"csv.append", "csv.write"}:
                arguments[1] = []
            if name == "http.request":
                arguments = [{"method": "GET", "url": "http://nowhere.example/"}]
            if name in {"env.all", "env.has"}:
                continue  # they answer with what may be read: nothing
            try:
                function(*arguments)
            except CapabilityError:
                asked += 1
            else:
                silent.append(name)
    assert silent == []
    assert asked > 30
