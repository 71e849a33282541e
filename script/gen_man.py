#!/usr/bin/env python3
"""Prints mlsandbox(1), made from the verbs' tables: what `--help` says, as one manual page."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

from launcher.cli.main import EXAMPLES, available_verbs, command_of  # noqa: E402  after the path
from launcher.cli.options import COMMON, Command, Dashed, Option, Positional, Rest  # noqa: E402
from launcher.cli.version import version  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

HEAD = """.TH MLSANDBOX 1 "" "mlsandbox {version}" "User Commands"
.SH NAME
mlsandbox \\- run untrusted jobs in a sandbox that the kernel enforces
.SH SYNOPSIS
.B mlsandbox
[\\fB\\-\\-root\\fR \\fIDIR\\fR] \\fIVERB\\fR ...
.SH DESCRIPTION
An administrator grants; a user launches; the launcher compiles the grant into a kernel-enforced profile and runs the
job in it. Options may stand before or after the other words; nothing is abbreviated; \\fB\\-\\-\\fR ends the options,
and what follows it is a command, word for word."""

# docs/reference/exit-status.md has all of them
TAIL = """.SH EXIT STATUS
The job's own (128+n for a signal); 124 wall clock limit; 125 the launcher failed; 126 refused by policy before the
start; 127 command not found; 137 memory limit. A job can exit with any of these itself: the last line on stderr says
.IR "ended_by: job|wall|memory|policy|launcher" .
.SH ENVIRONMENT
.TP
.B MLSANDBOX_ROOT
as \\fB\\-\\-root\\fR
.TP
.B MLSANDBOX_TOKEN
as \\fB\\-\\-token\\fR
.TP
.B NO_COLOR
switches colours off
.SH FILES
.TP
.I /etc/mlsandbox/config.yaml
the configuration
.TP
.I /etc/mlsandbox/policies/*.yaml
the policies
.TP
.I /var/log/mlsandbox/audit.jsonl
the audit log
.PP
An ordinary user without the service has them in the XDG directories."""


def render() -> str:
    """The page in man(7) macros."""
    lines = [HEAD.format(version=version()), ".SH OPTIONS OF EVERY VERB", *_rows(COMMON), ".SH VERBS"]
    for verb in available_verbs():
        lines += _command(verb, command_of(verb))
    lines += [".SH EXAMPLES", ".nf", *(_text(row) for row in EXAMPLES), ".fi", TAIL]
    return "\n".join(lines) + "\n"


def _command(path: str, command: Command) -> Iterator[str]:
    yield f".SS {_text(path)}"
    yield _text(command.help)
    yield from _rows([row for row in command.options if row not in COMMON])
    for name, below in command.commands.items():
        yield from _command(f"{path} {name}", below)


def _rows(rows: tuple[Option, ...] | list[Option | Positional | Rest | Dashed]) -> Iterator[str]:
    for row in rows:
        yield ".TP"
        yield _spelt(row)
        yield _text(row.help)


def _spelt(row: Option | Positional | Rest | Dashed) -> str:
    value = f"\\fI{_text(row.metavar)}\\fR"
    if isinstance(row, Option):
        names = ", ".join(f"\\fB{_text(name)}\\fR" for name in row.names)
        return names if row.flag else f"{names} {value}"
    return f"\\fB\\-\\-\\fR {value}" if isinstance(row, Dashed) else value


def _text(text: str) -> str:
    """Text without meaning for roff: hyphens that can be copied, no leading control character, no escapes."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("\n", " ")
    return f"\\&{escaped}" if escaped[:1] in (".", "'") else escaped


if __name__ == "__main__":
    sys.stdout.write(render())
