"""The options that every verb about a job shares, and the request that they mean. On the launch path."""

from __future__ import annotations

import os

from launcher.cli.options import Dashed, Option, Positional, Rest
from launcher.errors import UsageError
from launcher.service.request import ML_SUFFIX, Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from launcher.cli.options import Arguments

TOKEN_VARIABLE = "MLSANDBOX_TOKEN"  # noqa: S105  the name of a variable

JOB_OPTIONS = (
    Option("--user", "-u", metavar="NAME", help="the user to launch for (the caller, unless an operator asks)"),
    Option("--token", metavar="TOKEN", help=f"an identity token ({TOKEN_VARIABLE}; see `mlsandbox login`)"),
    Option(
        "--workspace", "-w", metavar="DIR", help="the job's directory (where mlsandbox.yaml is, or the current one)"
    ),
    Option(
        "--env", "-e", metavar="NAME=VALUE", repeat=True, help="set a variable that is granted; NAME takes the caller's"
    ),
    Option("--timeout", metavar="TIME", help="lower the wall clock limit, as in 30s or 1h"),
    Option("--memory", metavar="SIZE", help="lower the memory limit, as in 512MiB"),
    Option("--cpus", metavar="N", help="lower the number of processors, as in 1.5"),
    Option("--limit", metavar="NAME=VALUE", repeat=True, help="lower any other limit of a policy"),
    Option("--embedded", flag=True, help="decide in this process, also where there is a service"),
    Option("--allow-degraded", flag=True, help="run with what this host can enforce, and report the rest"),
    Option("--trace-denials", flag=True, help="also observe which names the job was refused (slower; see the report)"),
    Positional("program", required=False, metavar="JOB.ml", help="the ML program"),
    Rest("arguments", help="the program's arguments"),
    Dashed("command", help="a command to run instead of an ML program"),
)
_LIMITS = {"timeout": "max_wall_time", "memory": "max_memory", "cpus": "cpus"}


def request_of(arguments: Arguments, *, default: list[str] | None = None) -> Request:
    """The request that the command line means. Raises UsageError."""
    request = Request(root=arguments.root, user=arguments.user, token=_token(arguments))
    request.workspace = arguments.workspace
    request.environment = dict(_setting(text) for text in arguments.env)
    request.limits = _limits(arguments)
    request.allow_degraded = arguments.allow_degraded
    request.trace_denials = getattr(arguments, "trace_denials", False)  # `learn` has no such option
    request.embedded = getattr(arguments, "embedded", False)
    _take_job(request, arguments, default)
    return request


def request_identity(arguments: Arguments) -> Request:
    """A request that only says who asks."""
    return Request(root=arguments.root, token=_token(arguments))


def _token(arguments: Arguments) -> str | None:
    token: str | None = arguments.token
    return token or os.environ.get(TOKEN_VARIABLE) or None


def _take_job(request: Request, arguments: Arguments, default: list[str] | None) -> None:
    command = arguments.command if arguments.command is not None else default
    if arguments.program is not None and arguments.command is not None:
        raise UsageError("there is an ML program and a command", hint="give one of them")
    if arguments.program is not None:
        if not arguments.program.endswith(ML_SUFFIX):
            raise UsageError(
                f"{arguments.program!r} is no ML program (its name does not end in .ml)",
                hint=f"to run a command: mlsandbox launch -- {arguments.program}",
            )
        request.program, request.arguments = arguments.program, arguments.arguments
    elif command:
        request.command = command
    else:
        raise UsageError("there is nothing to run", hint="mlsandbox launch JOB.ml, or mlsandbox launch -- CMD")
    words = [request.program, *request.arguments, *request.command]
    if any("\0" in word for word in words):
        raise UsageError("an argument holds a NUL character")


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or "\0" in text:
        raise UsageError(f"--env {text!r} names no variable", hint="write --env NAME=VALUE")
    return name, value if equals else os.environ.get(name, "")


def _limits(arguments: Arguments) -> dict[str, str]:
    limits = {name: getattr(arguments, option) for option, name in _LIMITS.items() if getattr(arguments, option)}
    for text in arguments.limit:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--limit {text!r} has no value", hint="write --limit max_processes=64")
        limits[name] = value
    return limits


def inspected(what: str, request: Request) -> dict[str, Any]:
    """What `check`, `explain` or `plan` says of a request: the service, where there is one, or this process.

    Raises SandboxError.
    """
    from launcher.policy.paths import service_socket
    from launcher.service.client import connect

    client = None if request.embedded else connect(service_socket(request.root))
    if client is None:
        from launcher.service.inspecting import ANSWERS

        return ANSWERS[what](request, None)
    from launcher.service.remote import message_of
    from launcher.service.request import read_program

    source = read_program(request).decode("utf-8", "surrogateescape") if request.program else None
    return client.call(what, {**message_of(request), "source": source})
