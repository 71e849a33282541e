"""`mlsandbox top`: jobs, what they use and what they are refused, drawn anew until Ctrl-C or `q`."""

from __future__ import annotations

import os
import select
import sys
import time

from launcher.cli.options import Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from launcher.cli.options import Arguments

HELP = "Watch the service's jobs, what they use, and denials as they happen. `q` or Ctrl-C ends it."
EXAMPLE = """
mlsandbox top --all
mlsandbox top --delay 5
mlsandbox top --count 1 --json
"""
OPTIONS = (
    Option("--all", "-a", flag=True, help="everybody's jobs (operators)"),
    Option("--delay", "-d", metavar="SECONDS", help="between two looks (1)"),
    Option("--count", "-n", metavar="N", help="end after N looks"),
    Option("--token", metavar="TOKEN", help="an identity token (MLSANDBOX_TOKEN)"),
)
_HOME, _CLEAR_LINE, _CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"
_ALTERNATE, _BACK = "\x1b[?1049h\x1b[?25l", "\x1b[?1049l\x1b[?25h"
_MOST_DENIALS = 8
_LEAST_DELAY, _MOST_DELAY = 0.1, 3600.0


def run(arguments: Arguments) -> int:
    """0 when it was ended. Raises UsageError, SandboxError."""
    delay, count = _delay(arguments.delay), _count(arguments.count)
    looks = _looks(arguments, delay, count)
    if arguments.json:
        from launcher.cli.output import show_json

        for answer, _before, _seconds in looks:
            show_json(answer, lines=True)
    elif not sys.stdout.isatty():
        from launcher.cli.output import show

        for look in looks:
            show("\n".join(_page(*look)))
    else:
        _on_terminal(looks)
    return 0


def _delay(text: str | None) -> float:
    from launcher.errors import UsageError

    try:
        seconds = float(text or "1")
    except ValueError:
        seconds = -1.0
    if not _LEAST_DELAY <= seconds <= _MOST_DELAY:
        raise UsageError(f"--delay {text!r} is not a number of seconds", hint=f"{_LEAST_DELAY} to {_MOST_DELAY:.0f}")
    return seconds


def _count(text: str | None) -> int | None:
    from launcher.errors import UsageError

    if text is not None and (not text.isdecimal() or not 1 <= int(text[:9]) == int(text)):
        raise UsageError(f"--count {text!r} is not a number of looks")
    return None if text is None else int(text)


def _looks(
    arguments: Arguments, delay: float, count: int | None
) -> Iterator[tuple[dict[str, Any], dict[str, Any], float]]:
    """(what the service says, what it said before, the seconds between)."""
    from launcher.cli.queued import connected, identity

    client = connected(arguments, "the list of running jobs")
    message = {"all": arguments.all, **identity(arguments)}
    before: dict[str, Any] = {"jobs": []}
    seen = time.monotonic()
    done = 0
    while count is None or done < count:
        if done and _asked_to_end(delay):
            return
        answer, now = client.call("ps", message), time.monotonic()
        yield answer, before, now - seen
        before, seen, done = answer, now, done + 1


def _asked_to_end(delay: float) -> bool:
    """Waits; whether `q` was pressed meanwhile."""
    if not (sys.stdin and sys.stdin.isatty() and sys.stdout.isatty()):
        time.sleep(delay)
        return False
    ready = select.select([sys.stdin], [], [], delay)[0]
    return bool(ready) and os.read(sys.stdin.fileno(), 64)[:1] in (b"q", b"Q", b"\x03", b"")


def _page(answer: dict[str, Any], before: dict[str, Any], seconds: float) -> list[str]:
    from launcher.audit.human import line
    from launcher.cli.output import table
    from launcher.cli.ps import HEADER, row, size

    earlier = {job["job"]: job["cpu_us"] for job in before["jobs"]}
    jobs = sorted(answer["jobs"], key=lambda job: -_used(job, earlier))
    memory = sum(job["memory"] or 0 for job in jobs)
    users = len({job["user"] for job in jobs})
    text = table(HEADER, [row(job, _share(job, earlier, seconds)) for job in jobs])
    lines = [f"{len(jobs) + answer['more']} jobs of {users} users, {size(memory)}", *text.split("\n")]
    if answer["denials"]:
        lines += ["", "denied, the newest first:"]
        lines += [line({**item, "outcome": "DENIED"}) for item in answer["denials"][:_MOST_DENIALS]]
    return lines


def _used(job: dict[str, Any], earlier: dict[str, int | None]) -> int:
    return int(job["cpu_us"] or 0) - int(earlier.get(job["job"]) or 0)


def _share(job: dict[str, Any], earlier: dict[str, int | None], seconds: float) -> str:
    """Of one processor, since the last look: `87%`. A job that was not there then has its time instead."""
    from launcher.cli.ps import UNKNOWN, processor_time

    if job["cpu_us"] is None:
        return UNKNOWN
    if earlier.get(job["job"]) is None or seconds <= 0:
        return processor_time(job["cpu_us"])
    return f"{_used(job, earlier) / 10_000 / seconds:.0f}%"


def _on_terminal(looks: Iterator[tuple[dict[str, Any], dict[str, Any], float]]) -> None:
    """On the alternate screen, which is left as it was found however this ends."""
    import termios

    fd = sys.stdin.fileno() if sys.stdin and sys.stdin.isatty() else -1
    saved = termios.tcgetattr(fd) if fd >= 0 else None
    try:
        if saved:
            changed = termios.tcgetattr(fd)
            changed[3] &= ~(termios.ECHO | termios.ICANON)
            termios.tcsetattr(fd, termios.TCSANOW, changed)
        sys.stdout.write(_ALTERNATE)
        for look in looks:
            _draw(_page(*look))
    except KeyboardInterrupt:
        return
    finally:
        sys.stdout.write(_BACK)
        sys.stdout.flush()
        if saved:
            termios.tcsetattr(fd, termios.TCSADRAIN, saved)


def _draw(lines: list[str]) -> None:
    columns, rows = os.get_terminal_size(sys.stdout.fileno())
    shown = [line if line.startswith("\x1b") else line[:columns] for line in lines[: rows - 1]]
    sys.stdout.write(_HOME + "".join([f"{line}{_CLEAR_LINE}\r\n" for line in shown]) + _CLEAR_BELOW)
    sys.stdout.flush()
