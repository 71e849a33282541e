"""What a caller asks for, before anything is decided."""

from __future__ import annotations

import os
import stat

from launcher.errors import NotFoundError, RefusedError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from launcher.enforce.job import Review
    from launcher.policy.cache import Snapshot

MANIFEST = "mlsandbox.yaml"
ML_SUFFIX = ".ml"
LONGEST_PROGRAM = 4 << 20  # bytes of ML source: what launcher.language accepts


class Request:
    """One launch as it was asked for. `command` is argv; `program` is the ML file for an ML job, else "".

    `candidate` puts other policies in place of what is configured (`learn`, in the caller's own process only).
    `review` is asked before staged writes are committed (see `launcher.enforce.job.Job`).

    `limits` are texts by limit name (`max_memory: 1GiB`); they only lower. `environment` are the --env settings
    and `inherited` the caller's variables. `source` is the program's text where the caller has read it.
    `embedded`: this process is to decide, also where there is a service.
    """

    __slots__ = (
        "allow_degraded", "arguments", "candidate", "command", "cwd", "embedded", "environment", "inherited", "limits",
        "program",
        "review", "root", "source", "stdio", "terminal", "token", "trace_denials", "user", "workspace",
    )  # fmt: skip

    def __init__(self, *, root: str | None = None, user: str | None = None, token: str | None = None) -> None:
        self.root = root
        self.user = user
        self.token = token
        self.workspace: str | None = None
        self.cwd = os.getcwd()
        self.program = ""
        self.arguments: Sequence[str] = ()
        self.command: Sequence[str] = ()
        self.environment: Mapping[str, str] = {}
        self.inherited: Mapping[str, str] = os.environ
        self.source: bytes | None = None
        self.limits: Mapping[str, str] = {}
        self.allow_degraded = False
        self.embedded = False
        self.terminal = False
        self.trace_denials = False
        self.stdio: tuple[int, int, int] = (0, 1, 2)
        self.review: Review | None = None
        self.candidate: Callable[[Snapshot], Snapshot] | None = None


def find_workspace(request: Request, owners: frozenset[int]) -> str:
    """The workspace's root: --workspace, else where the nearest manifest above is, else the directory itself.

    A manifest counts only where one of `owners` put it: anybody may leave one in /tmp, and would move the workspace
    of whoever works below (as with git's safe.directory, CVE-2022-24765). Raises UsageError for no directory.
    """
    if request.workspace is not None:
        chosen = os.path.realpath(os.path.join(request.cwd, request.workspace))
        if not os.path.isdir(chosen):
            raise UsageError(f"the workspace {request.workspace!r} is not a directory")
        return chosen
    program = os.path.join(request.cwd, request.program)
    start = os.path.realpath(os.path.dirname(program) if request.program else request.cwd)
    here = start
    while True:
        if _has_manifest(here, owners):
            return here
        above = os.path.dirname(here)
        if above == here:
            return start
        here = above


def _has_manifest(directory: str, owners: frozenset[int]) -> bool:
    try:
        found = os.stat(f"{directory}/{MANIFEST}", follow_symlinks=False)
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_uid in owners


def check_ownership(workspace: str, uid: int | None, policies_name_it: bool) -> None:
    """Launching for somebody else, the workspace must be that user's or be named by a policy. Raises RefusedError."""
    if policies_name_it or (uid is not None and os.stat(workspace).st_uid == uid):
        return
    raise RefusedError(
        f"the workspace {workspace} does not belong to the user the job is for",
        hint="launch from a directory of that user, or let a policy grant something below it by its absolute path",
    )


def read_program(request: Request) -> bytes:
    """The ML source, opened once. Raises NotFoundError, UsageError."""
    if request.source is not None:
        return _bounded(request, request.source)
    fd = open_program(request)
    try:
        return _bounded(request, os.read(fd, LONGEST_PROGRAM + 1))
    finally:
        os.close(fd)


def open_program(request: Request) -> int:
    """A descriptor of the ML source, a regular file. Raises NotFoundError, UsageError."""
    path = os.path.join(request.cwd, request.program)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        from launcher.audit.printable import printable

        raise NotFoundError(f"cannot read the program {printable(request.program)}: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"no file can have the name {request.program!r}") from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise UsageError(f"{request.program} is not a file")
    return fd


def _bounded(request: Request, source: bytes) -> bytes:
    if len(source) > LONGEST_PROGRAM:
        raise UsageError(f"{request.program} is larger than {LONGEST_PROGRAM} bytes", hint="split it into modules")
    return source
