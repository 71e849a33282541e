"""`mlsandbox launch`: run a job with what its user is granted."""

from __future__ import annotations

import os
import sys

from launcher.canonical import canonical_json
from launcher.cli.options import Option
from launcher.cli.requests import JOB_OPTIONS, request_of
from launcher.errors import ConfigurationError, UsageError
from launcher.policy.paths import service_socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from launcher.cli.options import Arguments
    from launcher.enforce.result import Result
    from launcher.service.client import Client
    from launcher.service.launching import Launch
    from launcher.service.request import Request

HELP = "Run a job with what its user is granted, enforced by the kernel."
EXAMPLE = """
mlsandbox launch --user alice job.ml
mlsandbox launch --user alice -- pytest -q
mlsandbox launch --timeout 5m --memory 1GiB --result result.json -- make test
"""
REVIEW = Option("--review", flag=True, help="show what the job wrote, with a diff, and ask before committing it")
OPTIONS = (
    Option("--result", metavar="FILE", help="write the result, with usage and denials, to FILE as JSON"),
    Option("--dry-run", flag=True, help="print the mount plan and the steps, and run nothing"),
    REVIEW,
    *JOB_OPTIONS,
)
_MODE = 0o644


def run(arguments: Arguments) -> int:
    """The job's own exit status, or one of design section 11."""
    request = request_of(arguments)
    request.terminal = os.isatty(0) and os.isatty(1) and os.isatty(2)
    if arguments.review and not arguments.dry_run:
        ask_first(request, as_json=arguments.json)
    return start(request, arguments.result, dry_run=arguments.dry_run, as_json=arguments.json)


def ask_first(request: Request, *, as_json: bool) -> None:
    """Lets a person decide about the commit. Raises UsageError, before anything runs, where nobody can be asked."""
    from launcher.cli.review import ask, check_terminal

    check_terminal(as_json=as_json)
    request.review = ask


def start(request: Request, result_file: str | None, *, dry_run: bool, as_json: bool) -> int:
    """Launches, reports on stderr, and writes the result where it was asked for."""
    if dry_run:
        _print_plan(request, as_json=as_json)
        return 0
    client = service(request)
    result = _launched(client, request) if client else _embedded(request).run()
    if result_file:
        write_result(result_file, result)
    _report(result, as_json=as_json)
    return result.exit_code


def service(request: Request) -> Client | None:
    """The service that is to be asked, None where this process decides itself. Raises SandboxError."""
    path = service_socket(request.root)
    if request.embedded or not os.path.exists(path):
        return None
    from launcher.service.client import connect

    return connect(path)


def _embedded(request: Request) -> Launch:
    from launcher.service.launching import Launch

    return Launch(request)


def _launched(client: Client, request: Request) -> Result:
    from launcher.cli.remote import launch
    from launcher.enforce.result import Result

    if request.review:
        raise UsageError("--review asks on this terminal, and the service commits", hint="give --embedded")
    return Result.from_data(launch(client, request))


def write_result(path: str, result: Result) -> None:
    """Replaces `path` at once, so that a reader never sees half a result. Raises ConfigurationError."""
    temporary = f"{path}.{os.getpid()}"
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
        try:
            os.write(fd, canonical_json(result.to_data()) + b"\n")
        finally:
            os.close(fd)
        os.rename(temporary, path)
    except (OSError, ValueError) as error:
        if not isinstance(error, FileExistsError | ValueError):  # what another made is not ours to remove
            _discard(temporary)
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(f"cannot write the result to {path}: {reason}") from error


def _discard(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        return


def _report(result: Result, *, as_json: bool) -> None:
    if as_json:
        sys.stderr.write(canonical_json(result.to_data()).decode("ascii") + "\n")
        return
    told = (
        result.unenforced,
        result.denials,
        result.refused,
        result.committed,
        result.limits_hit,
        result.refused_execs,
        result.observing,
    )
    if any(told) or result.audit:
        from launcher.cli.report import report

        report(result)
    sys.stderr.write(f"ended_by: {result.ended_by}\n")


def _print_plan(request: Request, *, as_json: bool) -> None:
    from launcher.cli.output import show, show_json
    from launcher.cli.requests import inspected

    found = inspected("plan", request)
    if as_json:
        show_json({name: found[name] for name in ("profile", "digest", "plan")})
        return
    show(f"profile {found['profile']}")
    show(f"plan    {found['digest']}")
    for line in found["lines"]:
        show(f"  {line}")
    for warning in found["warnings"]:
        show(f"warning: {warning}")
    show("then: user namespace 2 locks the mounts; no capabilities; no_new_privs; Landlock; seccomp")
    show("run {path} as uid {uid} gid {gid}".format(**found["run"]))
