"""The reader of untrusted source, started in an empty sandbox: source on descriptor 3, one JSON object on stdout.

    {"needs": [...], "imports": ["math", ...], "uses": [{"type", "operation", "resource", "line", "column"}],
     "diagnostics": [{"message", "line", "column", "hint", "code", "text"}]}

The launcher trusts nothing of it but its shape: a program that took this process over could only declare other needs
than it has, which are held against the grants all the same.
"""

from __future__ import annotations

import json
import os
import sys

from launcher.language.program import declarations
from launcher.language.source import MAX_SOURCE
from launcher.runtime.descriptors import SOURCE, read_all

# One need takes some 200 bytes; the front end bounds their patterns.
MAX_OUTPUT = 8 * 1024 * 1024


def main() -> int:
    """Read, report; returns the exit status, 0 also for a program with mistakes."""
    name = sys.argv[1] if len(sys.argv) > 1 else "program.ml"
    found = declarations(read_all(SOURCE, MAX_SOURCE + 1), name)
    output = json.dumps(found).encode("ascii")
    if len(output) > MAX_OUTPUT:
        sys.stderr.write("the declarations of the program are too long\n")
        return 1
    while output:
        output = output[os.write(1, output) :]
    return 0
