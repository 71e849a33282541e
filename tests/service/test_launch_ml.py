"""ML programs through real launches: user modules, declarations, the ceiling of `run_with`, errors, stray sources."""

from __future__ import annotations

import json
import os

import pytest

from tests.sandboxed import Host

pytestmark = pytest.mark.kernel
READ = {"file": [{"patterns": ["data/*"], "operations": ["read"]}]}


def test_user_modules_beside_the_program(host: Host) -> None:
    host.policy({})
    host.write("util.ml", "function twice(x) { return x * 2; }\n")
    host.write("lib/deep.ml", 'import other;\nname = "deep " + other.word;\n')
    host.write("lib/other.ml", 'word = "yes";\n')
    host.write("main.ml", "import util;\nimport lib.deep as d;\nprint(util.twice(4), d.name);\n")
    assert host.launch("main.ml").out == "8 deep yes\n"


def test_a_module_is_checked_like_the_program(host: Host) -> None:
    host.policy(READ)
    host.write("util.ml", 'capability X { resource "secret/*"; allow read; }\nvalue = 1;\n')
    host.write("main.ml", "import util;\nprint(util.value);\n")
    ran = host.launch("main.ml")
    assert (ran.status, ran.ended_by) == (126, "policy"), ran
    host.write("util.ml", "value = = 1;\n")
    ran = host.launch("main.ml")
    assert ran.status == 125 and "util.ml:1" in ran.err, ran


def test_a_module_is_not_reached_through_a_link(host: Host) -> None:
    """An import brings in nothing that lies outside of the program's directory."""
    outside = os.path.join(host.top, "outside.ml")
    with open(outside, "w", encoding="utf-8") as file:
        file.write("value = 1;\n")
    host.policy({})
    host.write("main.ml", "import link;\nprint(link.value);\n")
    os.symlink(outside, os.path.join(host.workspace, "link.ml"))
    ran = host.launch("main.ml")
    assert ran.status != 0 and "1\n" not in ran.out


def test_declared_beyond_the_grant_is_refused_with_an_example(host: Host) -> None:
    host.policy(READ)
    host.write("main.ml", 'capability F { resource "data/**"; allow read; }\nprint("ran");\n')
    ran = host.launch("main.ml")
    assert (ran.status, ran.ended_by, ran.out) == (126, "policy", ""), ran
    assert "main.ml:1" in ran.err and "/data/" in ran.err
    assert host.run("check", "main.ml").returncode == 126


def test_run_with_declared_is_a_ceiling(host: Host) -> None:
    host.write("data/a", "A")
    host.write("data/b", "B")
    host.policy(READ, run_with="declared")
    program = (
        'capability F { resource "data/a"; allow read; }\nimport file;\nprint(file.read("data/a"));\n'
        'try { print(file.read("data/b")); } catch (e) { print("refused"); }\n'
    )
    host.write("main.ml", program)
    assert host.launch("main.ml").out == "A\nrefused\n"


def test_a_runtime_error_is_told_in_ml_terms(host: Host) -> None:
    host.policy({})
    host.write("main.ml", "function f(x) {\n  return 1 / x;\n}\nprint(f(0));\n")
    ran = host.launch("main.ml")
    assert (ran.status, ran.ended_by) == (1, "job"), ran
    assert "main.ml:2" in ran.err and "Traceback" not in ran.err


def test_a_program_that_gets_around_the_library_gains_nothing(host: Host) -> None:
    """The library is a courtesy, the kernel is the wall: native code in the ML job's place reaches nothing more."""
    host.write("secret/key", "s3cret")
    host.policy({"py": True, **READ})
    ran = host.python("print(open('secret/key').read())")
    assert "s3cret" not in ran.out and ran.status == 1


def test_check_says_what_is_used_but_not_declared(host: Host) -> None:
    host.policy({"file": [{"patterns": ["**"], "operations": ["read", "write"]}]})
    program = (
        'capability F { resource "data/a"; allow read; }\nimport file;\nfile.write("out/x", file.read("data/a"));\n'
    )
    host.write("main.ml", program)
    said = host.run("check", "main.ml")
    assert said.returncode == 0
    assert b"used but not declared: file.write out/x" in said.stdout


def test_check_tells_everything_of_a_program_that_may_not_run(host: Host) -> None:
    """One run says what is declared beyond the grant and what is used beyond the declaration; mistakes come as data."""
    host.policy(READ)
    program = (
        'capability F { resource "secret/*"; allow read; }\nimport file;\nfile.write("out/x", file.read("data/a"));\n'
    )
    host.write("main.ml", program)
    said = host.run("check", "main.ml")
    assert said.returncode == 126
    assert b"secret/*" in said.stderr
    assert b"used but not declared: file.write out/x (line 3)" in said.stdout
    host.write("main.ml", 'counter = 1;\nprint(countr);\nbreak;\ndir = "reopen(it)"; print(dir);\n')
    said = host.run("check", "--json", "main.ml")
    assert said.returncode == host.launch("main.ml").status == 125
    found = json.loads(said.stdout)
    assert found["allowed"] is False
    places = [(item["line"], item["column"], item["hint"]) for item in found["diagnostics"]]
    assert places == [(2, 7, "did you mean counter?"), (3, 1, "break belongs inside while or for")]
