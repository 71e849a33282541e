"""The front end as one call, its bytes for a cache, and user modules."""

import pytest

from launcher.language import compiled as front
from launcher.language.compiled import Program
from launcher.language.diagnostics import SourceError
from launcher.language.imports import collect, module_names
from launcher.language.program import compile_program
from launcher.runtime.machine import Machine


def test_bytes_and_back() -> None:
    program = compile_program(
        b'capability F { resource "a"; allow read; } import m; result = m.x + 1;', "job.ml", {"m": b"x = 41;"}.get
    )
    again = Program.from_bytes(program.to_bytes())
    assert Machine(again).run() == 42
    assert again.needs == program.needs
    assert again.imports == ["m"]
    assert again.main.text == program.main.text


def test_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = compile_program(b"x = 1;", "job.ml").to_bytes()
    monkeypatch.setattr(front, "LANGUAGE_VERSION", front.LANGUAGE_VERSION + 1)
    with pytest.raises(ValueError, match="another version"):
        Program.from_bytes(data)


def test_errors_in_modules_have_the_module_s_place() -> None:
    with pytest.raises(SourceError) as caught:
        compile_program(b"import a.b;", "job.ml", {"a.b": b"x = 1;\ny = ;"}.get)
    assert caught.value.place == "a/b.ml:2:5"


def test_modules_are_bounded() -> None:
    def loader(name: str) -> bytes | None:
        return f"import m{int(name[1:]) + 1};".encode() if name[0] == "m" else None

    with pytest.raises(SourceError, match=r"more than 200 modules|nested too deeply"):
        compile_program(b"import m1;", "job.ml", loader)


def test_needs_of_modules_count() -> None:
    program = compile_program(b"import a;", "job.ml", {"a": b'capability F { resource "x"; allow read; }'}.get)
    assert [need["patterns"] for need in program.needs] == [["x"]]


SCANS = [
    (b"import a; import b.c as d;", ["a", "b.c"]),
    (b"import math; import builtin; import a;", ["a"]),
    (b"import\n  a . b ;", ["a.b"]),
    (b"// import c;\nx = 'import d;';", ["c", "d"]),
    (b"important a; reimport b;", []),
    (b"import a; import a;", ["a"]),
    (b"\xff import a;", ["a"]),
    (b"import 5; import ;", []),
]


@pytest.mark.parametrize(("source", "expected"), SCANS)
def test_scanning_for_modules(source: bytes, expected: list[str]) -> None:
    assert module_names(source) == expected


def test_collecting_modules() -> None:
    files = {"a": b"import p.q;", "p.q": b"import r; import a;", "p.r": b"x = 1;", "unused": b""}
    found = collect(b"import a;", files.get)
    assert found == {name: files[name] for name in ("a", "p.q", "p.r")}
    program = compile_program(b"import a; import p.r as r; result = r.x;", "job.ml", found.get)
    assert Machine(program).run() == 1


def test_collecting_is_bounded() -> None:
    found = collect(b"import m1;", lambda name: f"import m{int(name[1:]) + 1};".encode())
    assert len(found) == 200


def test_source_positions_of_generated_lines() -> None:
    program = compile_program(b"x = 1;\ny = [\n  x,\n  2];\nprint(y);\n", "job.ml")
    text = program.main.text
    lines = {text.count("\n", 0, mark) + 1 for mark in program.main.marks}
    assert {1, 2, 5} <= lines
