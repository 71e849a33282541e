"""Limits and surroundings of one job's proxy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from launcher.egress.server.account import NO_LIMIT
from launcher.egress.server.resolve import is_own, system_lookup

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Limits:
    """Times in seconds, sizes in bytes. Defaults are generous for builds and tests and finite for everything else."""

    connections: int = 512  # open at once; sandboxed browsers and package managers stay below 100
    hello_time: float = 5.0  # first bytes of a connection whose protocol the client opens
    head_time: float = 10.0  # a whole request head, not each byte of it (slow loris)
    keep_alive: float = 60.0  # between two requests
    connect_time: float = 10.0  # resolving and dialling together
    idle_time: float = 600.0  # a tunnel without a byte
    total_time: float = 24 * 3600.0  # one connection
    job_bytes: int = NO_LIMIT  # both ways, all connections
    job_upload: int = NO_LIMIT  # what the job sends, all connections: what could leave
    response_bytes: int = NO_LIMIT  # one HTTP response body
    dns_rate: float = 500.0  # queries a second
    request_rate: float = 1000.0  # HTTP requests and connections a second


@dataclass(frozen=True, slots=True)
class Options:
    """What surrounds the rules. `secrets` maps names to values, `placeholders` names to what the job sees instead.

    `upstream_proxy` is (host, port, "user:password" or "") of a corporate proxy, `no_proxy` the suffixes it is not
    asked for. `ca` is (certificate PEM, key PEM) of this launch. `anchors` are authorities (PEM) that may vouch for
    upstream servers besides the system's. `lookup` and `own` may be replaced.
    """

    limits: Limits = field(default_factory=Limits)
    secrets: Mapping[str, str] = field(default_factory=dict)
    placeholders: Mapping[str, str] = field(default_factory=dict)
    upstream_proxy: tuple[str, int, str] | None = None
    no_proxy: tuple[str, ...] = ()
    ca: tuple[bytes, bytes] | None = None
    anchors: str = ""
    lookup: Callable[[str], Sequence[str]] = system_lookup
    own: Callable[[str], bool] = is_own
