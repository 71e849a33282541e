"""`mlsandbox service`: the trusted launcher as a process of its own, for many tenants."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from launcher.audit.printable import printable
from launcher.cli.options import Command
from launcher.cli.output import show, show_json

if TYPE_CHECKING:
    from launcher.cli.options import Arguments

HELP = "Run the launcher as a service, which protects tenants from each other and from their own launcher."
EXAMPLE = "mlsandbox service run"


def _run(arguments: Arguments) -> int:
    """Serves until SIGTERM. Raises ConfigurationError where it cannot listen."""
    from launcher.service.running import Service

    def report(text: str) -> None:
        for line in text.splitlines():
            show(f"mlsandbox service: {printable(line)}", sys.stderr)

    Service(arguments.root, report).run()
    return 0


def _metrics(arguments: Arguments) -> int:
    """Prints what the service counts. Raises SandboxError where none runs, IdentityError for who is no operator."""
    from launcher.cli.queued import connected

    text = connected(arguments, "what is counted").call("metrics", {})["text"]
    show_json({"text": text}) if arguments.json else show(str(text).rstrip("\n"))
    return 0


def _drain(arguments: Arguments) -> int:
    """0 when nothing runs any more. Raises SandboxError, IdentityError."""
    from launcher.cli.queued import connected

    for part in connected(arguments, "what is to be drained").stream("drain", {}):
        if arguments.json:
            show_json(part, lines=True)
        elif part:
            show(f"waiting for {part['running']} jobs", sys.stderr)
    return 0


COMMANDS = (
    Command(
        "run",
        help="Serve in the foreground until SIGTERM. As root it serves every user of the host.",
        example="mlsandbox service run",
        run=_run,
    ),
    Command(
        "drain",
        help="Start nothing more, and wait until no job runs. Who connects meanwhile waits; Ctrl-C takes it back.",
        example="mlsandbox service drain && systemctl restart mlsandbox",
        run=_drain,
    ),
    Command(
        "metrics",
        help="Print what the running service counts, as Prometheus reads it: launches, latencies, queue, denials.",
        example="mlsandbox service metrics > /var/lib/prometheus/node-exporter/mlsandbox.prom",
        run=_metrics,
    ),
)
