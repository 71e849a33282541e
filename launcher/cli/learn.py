"""`mlsandbox learn`: run a job confined, again and again, and write the minimal policy with which it passes."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from launcher.audit.printable import printable
from launcher.cli.options import Option
from launcher.cli.output import show, show_json
from launcher.cli.requests import JOB_OPTIONS, request_of
from launcher.errors import ConfigurationError, UsageError
from launcher.service.learning import document
from launcher.service.learning.learner import Learner
from launcher.service.learning.start import Start
from launcher.service.learning.wants import LEVELS, SIBLINGS, Bounds

if TYPE_CHECKING:
    from launcher.cli.options import Arguments
    from launcher.service.learning.runs import Outcome

HELP = "Run a job confined, see what it was refused, and write the minimal policy with which it passes."
EXAMPLE = """
mlsandbox learn -o build.yaml -- make test
mlsandbox learn --generalize directory --within /srv/data -o report.yaml job.ml
mlsandbox learn --merge build.yaml -o build.yaml --host '*.example.org' -- make publish
"""
OPTIONS = (
    Option("--output", "-o", metavar="FILE", help="write the policy to FILE (standard output unless given)"),
    Option("--merge", metavar="FILE", help="keep what an earlier run wrote to FILE, and add to it"),
    Option(
        "--generalize", "-g", metavar="LEVEL", choices=LEVELS,
        help="exact names, siblings by suffix (`data/*.csv`, unless given), or directory (`data/**`)",
    ),
    Option("--within", metavar="DIR", repeat=True, help="also learn files below DIR (the workspace always)"),
    Option("--host", metavar="PATTERN", repeat=True, help="also learn hosts that match; `*` is every public one"),
    Option("--status", metavar="N", help="the exit status of a run that passes (0)"),
    Option("--runs", metavar="N", help="give up after N runs (200)"),
    Option("--commit", flag=True, help="keep what the last run wrote (all is discarded unless given)"),
    *[option for option in JOB_OPTIONS if "--trace-denials" not in getattr(option, "names", ())],
)  # fmt: skip
_MOST_RUNS = 200


def run(arguments: Arguments) -> int:
    """0 where a policy was found and confirmed by a launch. Raises RefusedError where the job cannot pass."""
    request = request_of(arguments)
    level = arguments.generalize or SIBLINGS
    kept = document.merged(_read(arguments.merge), arguments.merge) if arguments.merge else []
    start = Start(request, exact=level == "exact")
    trees = [start.workspace, *[os.path.realpath(os.path.join(request.cwd, tree)) for tree in arguments.within]]
    bounds = Bounds(start.workspace, trees, arguments.host)
    learner = Learner(
        request, bounds, [*start.grants, *start.declared], kept, status=_number(arguments.status, "--status", 0),
        most=_number(arguments.runs, "--runs", _MOST_RUNS), tell=_tell,
    )  # fmt: skip
    grants = learner.run(level)
    words = [request.program, *request.arguments] if request.program else list(request.command)
    text = document.written(grants, words, start.user, [printable(note) for note in learner.notes])
    policy = document.policy(grants, start.user)
    _tell(f"the policy is read back: {len(policy.grants)} grants; a last launch with it")
    outcome = learner.confirm(grants, commit=arguments.commit)
    _finish(arguments, text, grants, outcome, learner.notes)
    return 0


def _finish(arguments: Arguments, text: bytes, grants: list[str], outcome: Outcome, notes: list[str]) -> None:
    if arguments.output:
        _write(arguments.output, text)
    if arguments.json:
        show_json({"grants": grants, "not_granted": notes, "writes": sorted(outcome.effects), "policy": text.decode()})
    elif not arguments.output:
        show(text.decode("utf-8", "surrogateescape").rstrip("\n"))
    for note in notes:
        _tell(f"not granted: {note}")
    if outcome.effects:
        done = "committed" if arguments.commit else "discarded (--commit keeps it)"
        _tell(f"what it wrote was {done}: {len(outcome.effects)} changes")


def _tell(line: str) -> None:
    show(f"mlsandbox: learn: {printable(line)}", sys.stderr)


def _number(text: str | None, option: str, default: int) -> int:
    if text is None:
        return default
    if not text.isdecimal():
        raise UsageError(f"{option} {text!r} is no number")
    return int(text)


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(1 << 21)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"cannot read {path!r}: {error}") from error


def _write(path: str, text: bytes) -> None:
    temporary = f"{path}.{os.getpid()}"
    try:
        with open(temporary, "xb") as file:
            file.write(text)
        os.rename(temporary, path)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"cannot write {path!r}: {error}") from error
