"""Run the proxy of one job in this process, until the supervisor's line closes or says stop.

One process a job: a job that keeps its proxy busy starves itself. The process needs no privilege: the listening
sockets were made inside the job's namespace and handed over.
"""

from __future__ import annotations

import gc
import resource
import socket
from typing import TYPE_CHECKING, Any

from launcher.egress.server.accept import HANDLERS, Acceptor
from launcher.egress.server.control import Control
from launcher.egress.server.dnsserver import Datagrams
from launcher.egress.server.job import Job
from launcher.egress.server.loop import Loop
from launcher.egress.server.options import Options

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from launcher.egress.policy import Rules

DNS_UDP = "dns-udp"
KINDS = (DNS_UDP, *HANDLERS)


def serve(
    listeners: Sequence[tuple[str, int]],
    rules: Rules,
    emit: Callable[[dict[str, Any]], None],
    *,
    control: int = -1,
    options: Options | None = None,
) -> dict[str, Any]:
    """Serve (kind, descriptor) listeners; kinds are `dns-udp dns-tcp tcp proxy`. Returns the totals.

    `emit` gets one event for each connection and denial, in this thread. `control` is the supervisor's stream socket.
    All descriptors belong to this function from the call on.
    """
    _raise_descriptor_limit()
    loop = Loop()
    job = Job(loop, rules, emit, options or Options())
    sockets = [_listen(job, kind, fd) for kind, fd in listeners]
    if control >= 0:
        sockets.append(_control(job, control))
    sweeper = loop.spawn(job.sweep())
    # What is imported by now stays, and the cycles of ended connections are small: no need to look every 700 objects.
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)
    try:
        loop.run()
    finally:
        sweeper.cancel()
        for task in list(loop.tasks):
            task.cancel()
        job.close()
        loop.close()
        for sock in sockets:
            sock.close()
    return job.trail.totals()


def _listen(job: Job, kind: str, fd: int) -> socket.socket:
    sock = socket.socket(fileno=fd)
    sock.setblocking(False)
    if kind != DNS_UDP:
        job.loop.watch_listener(fd)
        job.loop.readers[fd] = Acceptor(job, sock, kind).run
        return sock
    job.loop.watch(fd)
    job.loop.readers[fd] = Datagrams(job, sock).run
    job.loop.soon(job.loop.readers[fd])  # what came before we did has no edge
    return sock


def _control(job: Job, fd: int) -> socket.socket:
    sock = socket.socket(fileno=fd)
    sock.setblocking(False)
    job.loop.watch(fd)
    job.loop.readers[fd] = Control(job, sock).run
    job.loop.soon(job.loop.readers[fd])
    return sock


def _raise_descriptor_limit() -> None:
    """Two descriptors a tunnel and two a pipe in use: the soft default of 1,024 is below the job's own limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (ValueError, OSError):
        return
