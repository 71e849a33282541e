"""The `queue:` section of `config.yaml`, as plain values in base units. Pure."""

from __future__ import annotations

from launcher.capability.limits import COUNT, CPUS, SIZE, TIME, parse_quantity
from launcher.policy import reading
from launcher.policy.document import INTEGER, NUMBER, TEXT
from launcher.policy.reading import refuse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from launcher.policy.document import Node

    Table = dict[str, tuple[str, int, int]]

_MOST_JOBS = 10_000  # processes and descriptors of one host
_MOST_QUEUED = 1_000_000
_MOST_SIZE = 1 << 62
# What a tenant may hold, and what all may hold together: key -> unit, least, most.
_SHARED: Table = {
    "max_jobs": (COUNT, 1, _MOST_JOBS),
    "cpus": (CPUS, 1, 1 << 22),
    "max_memory": (SIZE, 1 << 20, _MOST_SIZE),
    "max_disk": (SIZE, 0, _MOST_SIZE),
    "max_queued": (COUNT, 0, _MOST_QUEUED),
    "max_spool": (SIZE, 0, _MOST_SIZE),
}
_TENANT: Table = {"weight": (COUNT, 1, 1000), **_SHARED}
_JOB: Table = {name: _SHARED[name] for name in ("cpus", "max_memory", "max_disk")} | {"max_output": (SIZE, 0, 1 << 40)}
_HOST: Table = {
    **_SHARED,
    "keep": (TIME, 0, 10**9),
    "retry_delay": (TIME, 0, 86_400),
    "identity_age": (TIME, 1, 10**9),
}
KEYS = (*_HOST, "job", "tenant", "tenants")


def read_queue(node: Node) -> dict[str, Any]:
    """The section's values: sizes in bytes, times in seconds, `cpus` in thousandths. Raises DocumentError."""
    members = reading.mapping(node, "queue", KEYS)
    found: dict[str, Any] = _quantities(members, _HOST)
    if "job" in members:
        found["job"] = _section(members["job"], "job", _JOB)
    if "tenant" in members:
        found["tenant"] = _section(members["tenant"], "tenant", _TENANT)
    if "tenants" in members:
        tenants = reading.mapping(members["tenants"], "tenants")
        found["tenants"] = {name: _section(value, f"tenant {name}", _TENANT) for name, value in tenants.items()}
    return found


def _section(node: Node, what: str, table: Table) -> dict[str, int]:
    return _quantities(reading.mapping(node, what, table), table)


def _quantities(members: dict[str, Node], table: Table) -> dict[str, int]:
    return {name: _quantity(name, members[name], *row) for name, row in table.items() if name in members}


def _quantity(name: str, node: Node, unit: str, least: int, most: int) -> int:
    if node.kind not in {TEXT, INTEGER, NUMBER}:
        refuse(node.place, f"{name} must be a number or a text with a unit")
    return parse_quantity(name, node.value, unit, node.place, least=least, most=most)
