"""`mlsandbox selftest`: tries to break out of a job on this host, and reports what held."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from typing import TYPE_CHECKING, Any

from launcher.canonical import canonical_json
from launcher.cli.output import show, show_json, table
from launcher.enforce.selftest import score
from launcher.enforce.selftest.score import groups, not_covered, read
from launcher.errors import EnforcementError
from launcher.identity.os_user import by_uid
from launcher.service.launching import Launch
from launcher.service.request import Request

if TYPE_CHECKING:
    from launcher.cli.options import Arguments
    from launcher.enforce.result import Result

HELP = "Try to break out of a job on this host, harmlessly, and report what held."
EXAMPLE = """
mlsandbox selftest
mlsandbox selftest --json
"""
OPTIONS = ()
_CANARY = "selftest-canary"
_LIMITS = {"max_processes": 20, "max_open_files": 256, "max_disk": "16MiB", "max_files": 1000, "max_wall_time": 120}
_BROKEN = 1
_TREES = ("policies", "workspace", "workspace/in", "workspace/out", "workspace/secret")


def run(arguments: Arguments) -> int:
    """0 where every attempt was stopped, 1 where one was not. Raises SandboxError where no job could be started."""
    top = tempfile.mkdtemp(prefix="mlsandbox-selftest-", dir="/var/tmp")
    try:
        result, output = _launch(top)
        made = read(output)
        problems = _problems(top, result, output)
    finally:
        shutil.rmtree(top, ignore_errors=True)
    data: dict[str, Any] = {
        "groups": groups(made),
        "attempts": [attempt.to_data() for attempt in made],
        "not_covered": not_covered(result.unenforced),
        "problems": problems,
    }
    data["held"] = bool(made) and not problems and all(attempt.held for attempt in made)
    if arguments.json:
        show_json(data)
    else:
        _print(data)
    return 0 if data["held"] else _BROKEN


def _launch(top: str) -> tuple[Result, str]:
    _furnish(top)
    abstract = f"mlsandbox-selftest-{os.getpid()}"
    os.environ["MLSANDBOX_SELFTEST"] = _CANARY
    with socket.socket() as listener, socket.socket(socket.AF_UNIX) as unix, open(f"{top}/output", "wb+") as output:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        unix.bind(f"\0{abstract}")
        unix.listen()
        request = Request(root=top)
        request.workspace = f"{top}/workspace"
        request.allow_degraded = True
        with open(f"{os.path.dirname(score.__file__)}/attempts.py", encoding="utf-8") as file:
            code = file.read()
        words = [str(listener.getsockname()[1]), abstract, f"{top}/workspace/secret/key"]
        request.command = ["python3", "-I", "-c", code, *words]
        with open(os.devnull, "rb") as nothing:
            request.stdio = (nothing.fileno(), output.fileno(), output.fileno())
            result = Launch(request).run()
        output.seek(0)
        return result, output.read().decode("utf-8", "replace")


def _furnish(top: str) -> None:
    """A root directory with one policy for the caller, and a workspace with granted and other files."""
    os.chmod(top, 0o755)  # noqa: S103  the job's id walks through it
    for name in _TREES:
        os.mkdir(f"{top}/{name}", 0o755)
    for name, text in (("in/plain", "granted\n"), ("out/old", "before\n"), ("secret/key", "not granted\n")):
        with open(f"{top}/workspace/{name}", "w", encoding="ascii") as file:
            file.write(text)
    user = by_uid(os.getuid())
    capabilities = {
        "py": True,
        "file": [
            {"patterns": ["in/**"], "operations": ["read"]},
            {"patterns": ["out/**"], "operations": ["read", "write"]},
        ],
    }
    policy = {"applies_to": {"users": [user.name]}, "capabilities": capabilities, "limits": _LIMITS}
    with open(f"{top}/policies/selftest.json", "wb") as document:
        document.write(canonical_json({"policy": policy}))


def _problems(top: str, result: Result, output: str) -> list[str]:
    """What is wrong beside the attempts: the job did not end well, or the host is not as it should be."""
    found = []
    if result.exit_code != 0:
        found.append(f"the attempts ended with status {result.exit_code}: {output[-500:]}")
    if os.path.lexists(f"{top}/workspace/out/link"):
        found.append("a symbolic link made by the job reached the host (attack 3)")
    if not os.path.exists(f"{top}/workspace/out/made"):
        found.append("a granted write did not reach the host")
    return found


def _print(data: dict[str, Any]) -> None:
    rows = [(row["group"], row["title"], f"{row['held']} of {row['of']}") for row in data["groups"]]
    show(table(("", "group", "held"), rows))
    for attempt in data["attempts"]:
        if not attempt["held"]:
            show(f"NOT STOPPED  attack {attempt['attack']}: {attempt['name']}")
    for problem in data["problems"]:
        show(f"PROBLEM  {problem}")
    show("not covered here:")
    for row in data["not_covered"]:
        numbers = ", ".join(str(number) for number in row["attacks"])
        show(f"  {numbers}: {row['reason']}" if numbers else f"  {row['reason']}")
    made = data["attempts"]
    show(f"{sum(row['held'] for row in made)} of {len(made)} attempts were stopped")
    if not made:
        raise EnforcementError("run", "the attempts", hint="the job printed nothing")
