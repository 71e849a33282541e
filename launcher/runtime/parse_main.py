"""The reader of untrusted source, started in an empty sandbox: source on descriptor 3, one line of JSON on stdout.

    {"needs": [...], "imports": ["math", ...], "uses": [{"type", "operation", "resource", "line", "column"}],
     "diagnostics": [{"message", "line", "column", "hint", "code", "text"}]}

Behind the line comes the compiled program (`Program.to_bytes()`), unless it has mistakes or imports user modules. The
launcher may keep those bytes for this very source and hand them to the job: they are the job's own code, made by a
process that saw nothing else, and run only inside the job's sandbox.

The launcher trusts nothing of it but its shape: a program that took this process over could only declare other needs
than it has, which are held against the grants all the same.
"""

from __future__ import annotations

import json
import sys

from launcher.language.program import read_program
from launcher.language.source import MAX_SOURCE
from launcher.runtime import collecting
from launcher.runtime.descriptors import SOURCE, read_all, write_all

# One need takes some 200 bytes; the front end bounds their patterns.
MAX_OUTPUT = 8 * 1024 * 1024


def main() -> int:
    """Read, report; returns the exit status, 0 also for a program with mistakes."""
    collecting.postpone()
    name = sys.argv[1] if len(sys.argv) > 1 else "program.ml"
    source = read_all(SOURCE, MAX_SOURCE + 1)
    found, program = read_program(source, name)
    output = json.dumps(found).encode("ascii")
    if len(output) > MAX_OUTPUT:
        sys.stderr.write("the declarations of the program are too long\n")
        return 1
    write_all(1, output + b"\n" + (program.to_bytes() if program else b""))
    return 0
