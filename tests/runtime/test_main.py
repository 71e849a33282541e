"""The job's entry as the sandbox starts it: `python -I -S`, descriptors 3, 4 and 5."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from launcher.language.program import compile_program

ROOT = str(Path(__file__).resolve().parents[2])
ENTRY = f"import sys; sys.path.insert(0, {ROOT!r}); from launcher.runtime.MODULE import main; sys.exit(main())"
NOTHING: dict[str, Any] = {"grants": [], "denies": [], "limits": {}, "scope": {"home": "/h", "base": "/w", "cwd": "/w"}}


class Ended:
    """What a job left behind."""

    def __init__(self, status: int, output: str, errors: str, reports: list[dict[str, Any]]) -> None:
        self.status = status
        self.output = output
        self.errors = errors
        self.reports = reports


def memory(data: bytes) -> int:
    fd = os.memfd_create("test")
    os.write(fd, data)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def start(source: bytes, context: dict[str, Any], module: str, **options: Any) -> tuple[subprocess.Popen[bytes], int]:
    """The job's process, and the descriptor of its reports."""
    given = [memory(source), memory(json.dumps({"permissions": NOTHING, "name": "job.ml", **context}).encode())]
    reports = memory(b"")
    moved = [os.dup(fd) for fd in (*given, reports)]

    def place() -> None:
        for number, fd in enumerate(moved, 3):
            os.dup2(fd, number + 40)
        for number in range(3):
            os.dup2(number + 43, number + 3)

    extra = context.get("compiled")
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", ENTRY.replace("MODULE", module), "job.ml"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=place,
        close_fds=True, pass_fds=(3, 4, 5, *([extra] if extra else [])), **options,
    )  # fmt: skip
    for fd in (*given, *moved):
        os.close(fd)
    return process, reports


def run(source: str | bytes, *, module: str = "main", text: bytes = b"", **context: Any) -> Ended:
    process, reports = start(source.encode() if isinstance(source, str) else source, context, module)
    output, errors = process.communicate(text, timeout=30)
    lines = os.pread(reports, 1 << 20, 0).decode().splitlines()
    os.close(reports)
    said = output.partition(b"\n")[0] if module == "parse_main" else output  # behind the line comes compiled code
    return Ended(process.returncode, said.decode(), errors.decode(), [json.loads(line) for line in lines])


def test_a_program_runs() -> None:
    ended = run('print("hello", 1 + 1);\nresult = {a: [1, 2.5]};')
    assert (ended.status, ended.output, ended.errors) == (0, "hello 2\n", "")
    assert [(line["event"], json.loads(line["detail"]["json"])) for line in ended.reports] == [
        ("result", {"a": [1, 2.5]})
    ]


def test_an_uncaught_error_ends_with_status_1_and_an_ml_trace() -> None:
    ended = run('print("before");\nfunction half(x) {\n  return 1 / x;\n}\nhalf(0);\n')
    assert (ended.status, ended.output) == (1, "before\n")
    assert ended.errors == (
        "job.ml:3:3: ZeroDivisionError: division by zero\n"
        "  3 |   return 1 / x;\n"
        "    |   ^\n"
        "  in half, job.ml:3\n"
        "  called from <program>, job.ml:5\n"
    )


def test_a_refused_program_ends_with_status_1_and_diagnostics() -> None:
    ended = run("x = ;\ny = ;\n")
    assert (ended.status, ended.output) == (1, "")
    assert ended.errors.count("expected a value") == 2
    assert "Traceback" not in ended.errors


def test_a_denied_operation_is_catchable_and_reported() -> None:
    ended = run('import file;\ntry { file.read("secret/x"); } except (e) { print(e.type, e.capability, e.operation); }')
    assert (ended.status, ended.output) == (0, "CapabilityError file read\n")
    assert [(line["outcome"], line["operation"]) for line in ended.reports] == [("DENIED", "read")]


def test_an_uncaught_denial_names_the_missing_grant() -> None:
    ended = run('import file;\nfile.read("secret/x");')
    assert ended.status == 1
    assert "job.ml:2:1: CapabilityError" in ended.errors
    assert "hint:" in ended.errors


def granted(tmp_path: Path) -> dict[str, Any]:
    grant = {"type": "file", "operations": ["read"], "patterns": ["*.txt"], "constraints": {}, "policy": "p",
             "place": ["p.yaml", 1, 1]}  # fmt: skip
    scope = {"home": str(tmp_path), "base": str(tmp_path), "cwd": str(tmp_path)}
    return {**NOTHING, "grants": [grant], "scope": scope}


def test_declarations_are_a_ceiling_when_the_policy_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("A")
    (tmp_path / "b.txt").write_text("B")
    source = f"""
        capability F {{ resource "{tmp_path}/a.txt"; allow read; }}
        import file;
        print(file.read("{tmp_path}/a.txt"));
        try {{ print(file.read("{tmp_path}/b.txt")); }} except (e) {{ print(e.type); }}
    """
    assert run(source, permissions=granted(tmp_path)).output == "A\nB\n"
    assert run(source, permissions=granted(tmp_path), run_with="declared").output == "A\nCapabilityError\n"


def test_user_modules_come_with_the_context() -> None:
    ended = run("import util;\nprint(util.double(21));", modules={"util": "function double(x) { return x * 2; }"})
    assert ended.output == "42\n"


def test_an_error_in_a_user_module_has_its_place() -> None:
    ended = run("import util;\nutil.fail();", modules={"util": "\nfunction fail() {\n  return [][1];\n}"})
    assert "util.ml:3:3: IndexError" in ended.errors
    assert "called from <program>, job.ml:2" in ended.errors


def test_compiled_bytes_are_used_and_others_ignored() -> None:
    program = compile_program(b'print("from the cache");', "job.ml")
    for data, expected in ((program.to_bytes(), "from the cache\n"), (b"rubbish", "from source\n")):
        fd = memory(data)
        try:
            assert run('print("from source");', compiled=fd).output == expected
        finally:
            os.close(fd)


def test_arguments_reach_the_program() -> None:
    assert run("import args; print(args.all());", args=["a", "b c"]).output == "['a', 'b c']\n"


def test_input_reaches_the_program() -> None:
    assert run("print(input() + input());", text=b"ab\ncd\n").output == "abcd\n"


def test_output_is_utf_8_whatever_the_locale() -> None:
    assert run('print("größe 🙂");').output == "größe 🙂\n"


def test_deep_recursion_is_an_error_not_a_crash() -> None:
    """Through plain calls, and through library functions that call back from C."""
    plain = "function f(n) { return f(n + 1); }"
    sorting = "function f(n) { return collections.sortBy([1, 2], fn(x) => f(n + 1)); }"
    mapping = "function f(n) { return functional.map(f, [n]); }"
    for function in (plain, sorting, mapping):
        source = f"import collections; import functional; {function} try {{ f(0); }} except (e) {{ print(e.type); }}"
        ended = run(source)
        assert (ended.status, ended.output) == (0, "RecursionError\n"), function


def test_a_trace_of_endless_recursion_is_short() -> None:
    ended = run("function f(n) { return f(n + 1); }\nf(0);")
    assert "RecursionError" in ended.errors
    assert "more calls" in ended.errors
    assert len(ended.errors.splitlines()) < 30


def test_an_interrupt_ends_the_job_and_no_handler_sees_it() -> None:
    source = b'print("ready"); while (true) { try { while (true) { } } except (e) { print("caught"); } finally { print("finally"); } }'
    process, reports = start(source, {}, "main")
    time.sleep(0.6)
    process.send_signal(signal.SIGINT)
    output, _errors = process.communicate(timeout=10)
    os.close(reports)
    assert process.returncode == -signal.SIGINT
    assert b"caught" not in output


def test_a_result_that_is_no_json_is_text() -> None:
    [line] = run("result = fn(x) => x;").reports
    assert line["detail"]["text"].startswith("<function fn")


def test_a_large_result_is_cut() -> None:
    [line] = run('result = "x" * 1000000;').reports
    assert len(json.dumps(line)) < 4096


def test_the_reader_reports_declarations() -> None:
    source = 'capability F { resource "a/*"; allow read; }\nimport file; import util;\nfile.read("a/b");\nx = 1;'
    ended = run(source, module="parse_main")
    answer = json.loads(ended.output)
    assert ended.status == 0
    assert [need["patterns"] for need in answer["needs"]] == [["a/*"]]
    assert answer["imports"] == ["file", "util"]
    assert answer["diagnostics"] == []
    assert answer["uses"][0]["resource"] == "a/b"


def test_the_reader_compiles_for_a_cache() -> None:
    """What follows the line of JSON is what a descriptor of the job may bring."""
    process, reports = start(b'print("compiled by the reader");', {}, "parse_main")
    compiled = memory(process.communicate(timeout=30)[0].partition(b"\n")[2])
    try:
        assert run("print('not this');", compiled=compiled).output == "compiled by the reader\n"
    finally:
        os.close(compiled)
        os.close(reports)


@pytest.mark.parametrize("source", [b"x = ;", b"import util; util.f();", b"break;"])
def test_what_cannot_run_or_is_not_whole_is_not_compiled(source: bytes) -> None:
    process, reports = start(source, {}, "parse_main")
    assert process.communicate(timeout=30)[0].partition(b"\n")[2] == b""
    os.close(reports)


@pytest.mark.parametrize("source", [b"x = ;", b"\xff\xfe", b"(" * 100000, b'capability X { resource "a"; allow fly; }'])
def test_the_reader_reports_mistakes(source: bytes) -> None:
    ended = run(source, module="parse_main")
    [finding] = json.loads(ended.output)["diagnostics"]
    assert finding["message"]
    assert ended.status == 0


def test_the_reader_knows_nothing_of_the_runtime_s_permissions() -> None:
    """It starts without a context: descriptor 4 may hold anything."""
    assert json.loads(run("x = 1;", module="parse_main", permissions=None).output)["needs"] == []


def test_a_session() -> None:
    inputs = b'x = 5\nx * 2\nfunction f() {\nnonlocal x; x = x + 1; return x; }\nf()\n"a" + x\n1 / 0\nmissing\n:names\n'
    ended = run(b"#!mlsandbox repl\n", text=inputs)
    lines = ended.output.splitlines()
    assert lines[:3] == ["10", "6", "'a6'"]
    assert "input 6:1:1: ZeroDivisionError: division by zero" in lines
    assert any("unknown name missing" in line for line in lines)
    assert lines[-1] == "f x"
    assert ended.status == 0


IMPORTS = ("dataclasses", "typing", "inspect", "argparse", "logging", "asyncio", "ctypes", "unittest", "yaml")


@pytest.mark.parametrize("module", ["main", "parse_main"])
def test_starting_imports_nothing_heavy(module: str) -> None:
    code = f"import sys; sys.path.insert(0, {ROOT!r}); import launcher.runtime.{module}; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    assert not set(IMPORTS) & set(found.stdout.split())
