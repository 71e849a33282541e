"""The ML job: what the sandbox starts as `python -I -S -c "...; sys.exit(main())"`.

Descriptors: 3 the source, 4 the context as JSON (interfaces section 8), 5 the pipe for reports. The context may also
hold `modules` (`{"a.b": "source"}`, the user modules beside the program) and `compiled` (a descriptor with the bytes
of an earlier `Program.to_bytes()` of this very source, from a cache). Exit status 0, or 1 for a program that is refused
or ends in an error.
"""

from __future__ import annotations

import _signal
import sys

from launcher.language.compiled import SESSION, Program
from launcher.language.diagnostics import SourceError
from launcher.language.source import MAX_SOURCE
from launcher.runtime import collecting
from launcher.runtime.descriptors import CONTEXT, MAX_CONTEXT, REPORT, SOURCE, is_open, json_value, read_all
from launcher.runtime.machine import NOTHING, Machine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from launcher.runtime.context import Context
    from launcher.runtime.report import Reporter

# Calls inside each other. The first implementation stopped below 1000; library functions that call back take frames
# of their own. 2000 frames through `sorted` take under 4 MiB of the 8 MiB stack.
RECURSION_LIMIT = 2000
MAX_RESULT = 3000


def main() -> int:
    """Run the job; returns the exit status."""
    collecting.postpone()
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)  # an interrupt ends the job, no handler of the program sees it
    _signal.signal(_signal.SIGPIPE, _signal.SIG_DFL)
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="surrogateescape")  # type: ignore[union-attr]
    source, context = read_all(SOURCE, MAX_SOURCE + 1), _context()
    if source.startswith(SESSION):
        return _session(context)
    try:
        program = load_program(source, context)
    except SourceError as error:
        sys.stderr.write(error.render() + "\n")
        return 1
    reporter = enter(context, program)
    return execute(program, reporter)


def _session(context: dict[str, Any]) -> int:
    from launcher.language.program import compile_program
    from launcher.runtime import repl

    sys.setrecursionlimit(RECURSION_LIMIT)
    enter(context, compile_program(b"", "session"))
    collecting.settle()
    return repl.main()


def _context() -> dict[str, Any]:
    value = json_value(read_all(CONTEXT, MAX_CONTEXT) or b"{}")
    if not isinstance(value, dict):
        raise TypeError("the context is a JSON object")
    return value


def load_program(source: bytes, context: dict[str, Any]) -> Program:
    """The compiled program, from the cached bytes if there are any. Raises SourceError."""
    compiled = context.get("compiled")
    if isinstance(compiled, int):
        try:
            return Program.from_bytes(read_all(compiled, MAX_CONTEXT))
        except (ValueError, EOFError, TypeError):
            pass  # another version wrote it: compile
    from launcher.language.program import compile_program

    modules: dict[str, str] = context.get("modules") or {}

    def loader(name: str) -> bytes | None:
        text = modules.get(name)
        return None if text is None else text.encode("utf-8", "surrogateescape")

    return compile_program(source, str(context.get("name", "program.ml")), loader)


def enter(data: dict[str, Any], program: Program) -> Reporter:
    """Install the capability context of the job; returns where reports go."""
    from launcher.capability.grant import Grant
    from launcher.capability.permissions import Permissions
    from launcher.runtime.context import Context, install
    from launcher.runtime.job import Job
    from launcher.runtime.report import Reporter

    reporter = Reporter(REPORT if is_open(REPORT) else -1)
    permissions = Permissions.from_data(data["permissions"])
    context: Context = Context.root(permissions, job=Job.from_data(data), reporter=reporter)
    if data.get("run_with") == "declared":
        context = context.declared([Grant.from_data(need) for need in program.needs])
    install(context)
    return reporter


def execute(program: Program, reporter: Reporter) -> int:
    """Run a compiled program, print an uncaught error, report the result; returns the exit status."""
    sys.setrecursionlimit(RECURSION_LIMIT)
    machine = Machine(program)
    collecting.settle()
    status = 0
    try:
        result = machine.run()
        if result is not NOTHING:
            reporter.note("result", result_detail(result))
    except Exception as error:  # noqa: BLE001  whatever a program did, it ends with a report
        from launcher.runtime.trace import report

        sys.stdout.flush()
        sys.stderr.write(report(error, machine.units()) + "\n")
        status = 1
    sys.stdout.flush()
    return status


def result_detail(value: Any) -> dict[str, object]:
    """The program's result for the report line: as JSON text where it is JSON and short, else its text form."""
    import json

    try:
        text = json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        text = ""
    if text and len(text) <= MAX_RESULT:
        return {"json": text}
    return {"text": str(value)[:MAX_RESULT]}
