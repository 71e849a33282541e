"""`mlsandbox submit`: queue a job, an array, a list, or a directory of programs."""

from __future__ import annotations

import os
import sys

from launcher.cli.options import Option
from launcher.cli.queued import connected, identity, wait_for
from launcher.cli.requests import JOB_OPTIONS, request_of
from launcher.errors import SandboxError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from launcher.cli.options import Arguments

HELP = "Queue a job: it runs when there is room, with what its user is granted then."
EXAMPLE = """
mlsandbox submit --name nightly --retries 2 -- make report
mlsandbox submit --array 0-99 --memory 1GiB -- python3 fit.py --seed '{index}'
mlsandbox submit --after 17 --wait collect.ml
mlsandbox submit --file jobs.txt
"""
OPTIONS = (
    Option("--name", metavar="NAME", help="a name for people"),
    Option("--array", metavar="N-M[:STEP]", help="one job for each number; `{index}` in its words is the number"),
    Option("--file", metavar="FILE", help="one job a line: a command, or a JSON object (`-` is stdin)"),
    Option("--directory", metavar="DIR", help="one job for each ML program in DIR"),
    Option("--priority", metavar="N", help="before your jobs with a lower number (0), -1000 to 1000"),
    Option("--retries", metavar="N", help="run it again, up to N times, when it fails or the service dies (0)"),
    Option("--after", metavar="JOB", repeat=True, help="start when JOB has succeeded; else it is skipped"),
    Option("--after-any", metavar="JOB", repeat=True, help="start when JOB has ended, however it did"),
    Option("--wait", flag=True, help="wait for the jobs, as `mlsandbox wait` does"),
    *JOB_OPTIONS,
)
_PART = 1 << 20  # bytes of list entries in one submission; a message holds four times that
_TRIES = 5  # of one submission whose connection broke: the key makes it the same one
_KEY_BYTES = 16


def run(arguments: Arguments) -> int:
    """0 when it is queued; with --wait what `wait` exits with."""
    from launcher.service.received import to_data

    members = list(_members(arguments))
    default = members[0].get("command") or ["true"] if members else None
    request = request_of(arguments, default=default)
    message = {"request": to_data(request), **_how(arguments), **identity(arguments)}
    if arguments.array is not None:
        message["array"] = _array(arguments.array)
    answers = [_submit(arguments, {**message, **part}) for part in _parts(members)]
    _report(arguments, answers)
    if not arguments.wait:
        return 0
    names = [str(answer["submission"]) for answer in answers]
    return wait_for(connected(arguments), {"jobs": names, **identity(arguments)}, as_json=arguments.json)


def _report(arguments: Arguments, answers: list[dict[str, Any]]) -> None:
    from launcher.cli.output import show, show_json

    for answer in answers:
        if arguments.json:
            show_json(answer, lines=True)
        else:
            show(str(answer["submission"]))
    sys.stdout.flush()


def _submit(arguments: Arguments, message: dict[str, Any]) -> dict[str, Any]:
    """Sends one submission. A service that goes away meanwhile is asked again, with the same key: it is one still."""
    from time import sleep

    message = {**message, "key": os.urandom(_KEY_BYTES).hex()}
    for attempt in range(_TRIES):
        client = connected(arguments) if not attempt else _again(arguments)
        try:
            return client.call("submit", message)
        except SandboxError as error:
            if attempt == _TRIES - 1 or not _went_away(error):
                raise
        finally:
            client.close()
        sleep(0.2 * 2**attempt)
    raise AssertionError


def _again(arguments: Arguments) -> Any:
    """The service that comes up after the one that went away."""
    from time import monotonic, sleep

    until = monotonic() + 5
    while True:
        try:
            return connected(arguments)
        except SandboxError:
            if monotonic() > until:
                raise
        sleep(0.1)


def _went_away(error: SandboxError) -> bool:
    from launcher.service.wire import ClosedError

    return isinstance(error, ClosedError) or isinstance(error.__cause__, ClosedError)


# -- what is submitted ------------------------------------------------------------------------------------------------


def _how(arguments: Arguments) -> dict[str, Any]:
    needs = [{"job": job} for job in arguments.after]
    needs += [{"job": job, "any_end": True} for job in arguments.after_any]
    numbers = {name: _number(f"--{name}", getattr(arguments, name)) for name in ("priority", "retries")}
    return {**numbers, "name": arguments.name or "", "needs": needs}


def _number(option: str, text: str | None) -> int:
    try:
        return int(text or "0")
    except ValueError as error:
        raise UsageError(f"{option} {text!r} is not a whole number") from error


def _array(text: str) -> list[int]:
    """array = number "-" number [ ":" number ]"""
    span, _, step = text.partition(":")
    first, dash, last = span.partition("-")
    parts = [first, last, step or "1"]
    if not dash or not all(part.isascii() and part.isdecimal() and len(part) < 12 for part in parts):
        raise UsageError(f"--array {text!r} is no range of numbers", hint="write --array 0-99, or 0-90:10")
    return [int(part) for part in parts]


def _members(arguments: Arguments) -> Iterator[dict[str, Any]]:
    """The jobs of a list or a directory; nothing for one job or an array."""
    ways = [name for name in ("array", "file", "directory") if getattr(arguments, name) is not None]
    if len(ways) > 1:
        raise UsageError(f"--{ways[0]} and --{ways[1]} at a time", hint="give one of them")
    if arguments.file is not None or arguments.directory is not None:
        if arguments.command is not None or arguments.program is not None:
            raise UsageError(f"the jobs are what --{ways[0]} says, and there is another one as well")
        yield from _listed(arguments.file) if arguments.file is not None else _programs(arguments.directory)


def _listed(name: str) -> Iterator[dict[str, Any]]:
    lines = _lines(name)
    found = False
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if text and not text.startswith("#"):
            found = True
            yield _entry(text, f"{name}:{number}")
    if not found:
        raise UsageError(f"{name} holds no job", hint="one job a line; lines that begin with # are passed over")


def _lines(name: str) -> list[str]:
    try:
        if name == "-":
            return sys.stdin.read().splitlines()
        with open(name, encoding="utf-8", errors="surrogateescape") as file:
            return file.read().splitlines()
    except OSError as error:
        raise UsageError(f"cannot read the list {name}: {error.strerror}") from error


def _entry(text: str, where: str) -> dict[str, Any]:
    """entry = JSON object (program or command, arguments, environment, name, workspace) | words, as in a shell"""
    if not text.startswith("{"):
        import shlex

        try:
            words = shlex.split(text)
        except ValueError as error:
            raise UsageError(
                f"{where}: {error}", hint="quotes part words as in a shell; nothing else is special"
            ) from error
        return _of_words(words)
    import json

    try:
        entry = json.loads(text)
    except ValueError as error:
        raise UsageError(f"{where}: {error}") from error
    if not isinstance(entry, dict):
        raise UsageError(f"{where} is no object")
    return entry


def _of_words(words: list[str]) -> dict[str, Any]:
    if words[0].endswith(".ml"):
        return {"program": words[0], "arguments": words[1:]}
    return {"command": words}


def _programs(directory: str) -> Iterator[dict[str, Any]]:
    try:
        names = sorted(name for name in os.listdir(directory) if name.endswith(".ml"))
    except OSError as error:
        raise UsageError(f"cannot read the directory {directory}: {error.strerror}") from error
    if not names:
        raise UsageError(f"there is no ML program (NAME.ml) in {directory}")
    for name in names:
        yield {"program": os.path.join(directory, name), "name": name.removesuffix(".ml")}


def _parts(members: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """What each submission has beside the common part: one where there is no list, else as much as a message holds."""
    if not members:
        yield {}
        return
    part: list[dict[str, Any]] = []
    size = 0
    for member in members:
        length = len(repr(member))
        if part and size + length > _PART:
            yield {"members": part}
            part, size = [], 0
        part.append(member)
        size += length
    yield {"members": part}
