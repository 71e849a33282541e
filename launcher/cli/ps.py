"""`mlsandbox ps`: the jobs that run now, and what they use."""

from __future__ import annotations

from launcher.cli.options import Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from launcher.cli.options import Arguments

HELP = "List the jobs that the service runs now, the newest first, and what they use."
EXAMPLE = """
mlsandbox ps
mlsandbox ps --all --json
"""
OPTIONS = (
    Option("--all", "-a", flag=True, help="everybody's jobs (operators)"),
    Option("--token", metavar="TOKEN", help="an identity token (MLSANDBOX_TOKEN)"),
)
HEADER = ("JOB", "USER", "AGE", "CPU", "MEMORY", "PROCS", "COMMAND")
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_LONGEST = 60  # characters of a command line in a table
UNKNOWN = "-"


def run(arguments: Arguments) -> int:
    """0, also where there is none."""
    from launcher.cli.output import show, show_json, table
    from launcher.cli.queued import connected, identity

    client = connected(arguments, "the list of running jobs")
    answer = client.call("ps", {"all": arguments.all, **identity(arguments)})
    if arguments.json:
        for job in answer["jobs"]:
            show_json(job, lines=True)
        return 0
    show(table(HEADER, [row(job, processor_time(job["cpu_us"])) for job in answer["jobs"]]) or "no jobs")
    if answer["more"]:
        show(f"and {answer['more']} more")
    return 0


def row(job: dict[str, Any], cpu: str) -> tuple[object, ...]:
    """The cells of one job, with `cpu` as the caller reckons it."""
    from launcher.cli.queued import age

    command = job["command"] if len(job["command"]) <= _LONGEST else job["command"][: _LONGEST - 3] + "..."
    processes = UNKNOWN if job["processes"] is None else job["processes"]
    return (job["job"], job["user"], age(job["since"]), cpu, size(job["memory"]), processes, command)


def processor_time(microseconds: int | None) -> str:
    """`12.3s`, `4m05s`, `3h07m`."""
    if microseconds is None:
        return UNKNOWN
    seconds = microseconds / 1e6
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, seconds = divmod(int(seconds), 60)
    return f"{minutes}m{seconds:02}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02}m"


def size(count: int | None) -> str:
    """Bytes with a binary unit, in three figures: `512B`, `1.5MiB`."""
    if count is None:
        return UNKNOWN
    value, at = float(count), 0
    while value >= 1000 and at < len(_UNITS) - 1:
        value, at = value / 1024, at + 1
    return f"{value:.0f}{_UNITS[at]}" if at == 0 or value >= 100 else f"{value:.1f}{_UNITS[at]}"
