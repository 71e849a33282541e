"""`mlsandbox logs`: the output of a job, while it runs or afterwards."""

from __future__ import annotations

import os
import sys
import time

from launcher.cli.options import Option, Positional
from launcher.cli.queued import connected, identity
from launcher.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from launcher.cli.options import Arguments
    from launcher.service.client import Client

HELP = "Show the output of a job: what it wrote on stdout and stderr goes to stdout and stderr."
EXAMPLE = """
mlsandbox logs 17
mlsandbox logs -f 17.3
mlsandbox logs --attempt 1 17
"""
OPTIONS = (
    Option("--follow", "-f", flag=True, help="go on until the job has ended, over all its attempts"),
    Option("--attempt", metavar="N", help="the output of this attempt (the last)"),
    Option("--user", "-u", metavar="NAME", help="act for this tenant (operators)"),
    Option("--token", metavar="TOKEN", help="an identity token"),
    Positional("job", help="the job, as `mlsandbox jobs` shows it"),
)
_CHUNK = 1 << 16
_LOOK_SECONDS = 0.1


def run(arguments: Arguments) -> int:
    """0; with --json the output is JSON lines {stream, text}."""
    message: dict[str, Any] = {"job": arguments.job, "follow": arguments.follow, **identity(arguments)}
    if arguments.attempt is not None:
        if not arguments.attempt.isdecimal():
            raise UsageError(f"--attempt {arguments.attempt!r} is no number")
        message["attempt"] = int(arguments.attempt[:6])
    client = connected(arguments)
    _Output(client, client.begin("logs", message), as_json=arguments.json).run()
    return 0


class _Output:
    """Copies what the files of the attempts hold, and what is added to them, until the service says the end."""

    def __init__(self, client: Client, number: int, *, as_json: bool) -> None:
        self._client = client
        self._number = number
        self._as_json = as_json
        self._files: list[tuple[str, int]] = []
        self._ended = False

    def run(self) -> None:
        import select

        while True:
            readable, _, _ = select.select([self._client.connection], [], [], 0 if self._copied() else _LOOK_SECONDS)
            if readable:
                self._hear()
            if self._ended:
                while self._copied():
                    pass
                return

    def _hear(self) -> None:
        self._ended, said, fds = self._client.next(self._number)
        if "attempt" in said:
            while self._copied():
                pass
            self._files = list(zip(("stdout", "stderr"), fds, strict=True))

    def _copied(self) -> bool:
        """Whether anything was there to copy."""
        copied = [self._copy(stream, fd) for stream, fd in self._files]
        return any(copied)

    def _copy(self, stream: str, fd: int) -> bool:
        data = os.read(fd, _CHUNK)
        if not data:
            return False
        if self._as_json:
            from launcher.cli.output import show_json

            show_json({"stream": stream, "text": data.decode("utf-8", "replace"), "time": int(time.time())}, lines=True)
            sys.stdout.flush()
        else:
            target = getattr(sys, stream)
            target.buffer.write(data)
            target.buffer.flush()
        return True
