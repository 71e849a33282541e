"""What the verbs of the queue share: the service, pages of an answer, and how a job is shown."""

from __future__ import annotations

import os
import sys
import time

from launcher.cli.requests import TOKEN_VARIABLE
from launcher.errors import SandboxError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from launcher.cli.options import Arguments
    from launcher.service.client import Client

FINAL = ("ended", "refused", "cancelled", "interrupted", "skipped")
STYLES = {
    "ended": "green", "running": "bold", "refused": "red", "interrupted": "red", "cancelled": "yellow",
    "skipped": "yellow",
}  # fmt: skip


def connected(arguments: Arguments, what: str = "the queue") -> Client:
    """A connection to the service, which has `what`. Raises SandboxError where none is running."""
    from launcher.policy.paths import service_socket
    from launcher.service.client import connect

    path = service_socket(arguments.root)
    client = connect(path)
    if client is None:
        raise SandboxError(
            f"no service is running at {path}",
            hint=f"{what} belongs to the service: an administrator can run `mlsandbox service run`",
        )
    return client


def identity(arguments: Arguments) -> dict[str, Any]:
    """Who asks, for a message: the user that was given, and the token, or the stored one."""
    from launcher.service.remote import credentials

    token = getattr(arguments, "token", None) or os.environ.get(TOKEN_VARIABLE)
    user = getattr(arguments, "user", None)
    return {**({"user": user} if user else {}), **credentials(token, arguments.root)}


def pages(client: Client, verb: str, message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every job of an answer that comes in pages."""
    after: list[int] | None = None
    while True:
        answer = client.call(verb, {**message, "after": after} if after else message)
        yield from answer["jobs"]
        after = answer["next"]
        if after is None:
            return


def state_word(job: dict[str, Any]) -> str:
    """`ended` with its exit status, else the state."""
    return f"{job['state']} {job['exit_code']}" if job["state"] == "ended" else str(job["state"])


def age(then: int) -> str:
    """How long ago a time in milliseconds is, in two figures at most: `12s`, `5m`, `3h`, `2d`."""
    seconds = max(0, int(time.time() - then / 1000))
    for size, word in ((86_400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size}{word}"
    return f"{seconds}s"


class Bar:
    """Progress on one line of a terminal, rewritten; nothing at all where stderr is none."""

    __slots__ = ("_began", "_drawn", "_shown", "_total")

    def __init__(self, total: int) -> None:
        self._shown = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._total = max(1, total)
        self._began = time.monotonic()
        self._drawn = ""

    def draw(self, left: int, failed: int) -> None:
        """`left` of the total are to come."""
        if not self._shown:
            return
        done = self._total - left
        width = 30
        full = width * done // self._total
        failures = f", {failed} not successful" if failed else ""
        text = f"[{'#' * full}{'.' * (width - full)}] {done}/{self._total}{failures}{self._eta(done, left)}"
        sys.stderr.write("\r" + text + " " * max(0, len(self._drawn) - len(text)))
        sys.stderr.flush()
        self._drawn = text

    def _eta(self, done: int, left: int) -> str:
        spent = time.monotonic() - self._began
        if not (done and left) or spent < 2:
            return ""
        return f", {int(spent * left / done)}s to go"

    def end(self) -> None:
        """The line goes: what follows is ordinary output."""
        if self._drawn:
            sys.stderr.write("\r" + " " * len(self._drawn) + "\r")
            sys.stderr.flush()
            self._drawn = ""


def wait_for(client: Client, message: dict[str, Any], *, as_json: bool) -> int:
    """Waits for jobs with a progress bar, or with JSON lines; the exit status of `wait`."""
    from launcher.cli.output import show, show_json

    bar: Bar | None = None
    last: dict[str, Any] = {}
    try:
        for last in client.stream("wait", {**message, "progress": True}):
            if as_json:
                show_json(last, lines=True)
                sys.stdout.flush()
                continue
            bar = bar or Bar(last["left"] + last["succeeded"] + last["failed"])
            bar.draw(last["left"], last["failed"])
    finally:
        if bar:
            bar.end()
    if not as_json:
        failed = f", {last['failed']} did not" if last["failed"] else ""
        show(f"{last['succeeded']} succeeded{failed}", sys.stderr)
    return int(last["status"])
