"""The reader of untrusted source, started in an empty sandbox: source on descriptor 3, one JSON object on stdout.

    {"needs": [...], "imports": ["math", ...], "uses": [{"type", "operation", "resource", "line", "column"}],
     "diagnostics": [{"message", "line", "column", "hint", "code", "text"}]}

If descriptor 4 is open, the compiled program goes there (`Program.to_bytes()`), unless it has mistakes or imports user
modules. The launcher may keep those bytes for this very source and hand them to the job: they are the job's own code,
made by a process that saw nothing else, and run only inside the job's sandbox.

The launcher trusts nothing of it but its shape: a program that took this process over could only declare other needs
than it has, which are held against the grants all the same.
"""

from __future__ import annotations

import json
import sys

from launcher.language.diagnostics import SourceError
from launcher.language.program import compile_program, declarations
from launcher.language.source import MAX_SOURCE
from launcher.runtime.descriptors import COMPILED, SOURCE, is_open, read_all, write_all

# One need takes some 200 bytes; the front end bounds their patterns.
MAX_OUTPUT = 8 * 1024 * 1024


def main() -> int:
    """Read, report; returns the exit status, 0 also for a program with mistakes."""
    name = sys.argv[1] if len(sys.argv) > 1 else "program.ml"
    source = read_all(SOURCE, MAX_SOURCE + 1)
    found = declarations(source, name)
    output = json.dumps(found).encode("ascii")
    if len(output) > MAX_OUTPUT:
        sys.stderr.write("the declarations of the program are too long\n")
        return 1
    write_all(1, output)
    if is_open(COMPILED) and not found["diagnostics"]:
        compiled = _compiled(source, name)
        if len(compiled) <= MAX_OUTPUT:
            write_all(COMPILED, compiled)
    return 0


def _compiled(source: bytes, name: str) -> bytes:
    try:
        return compile_program(source, name).to_bytes()
    except SourceError:  # it needs modules that are not here
        return b""
