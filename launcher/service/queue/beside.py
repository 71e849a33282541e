"""Launches beside the queue: counted against the limits of their tenant with all its other jobs, and held to them.

They do not wait: where the tenant has no room, the launch is refused. What all tenants together may hold is the queue's
alone, so that a full queue keeps nobody from a terminal.
"""

from __future__ import annotations

from launcher.errors import RefusedError
from launcher.service.queue.amounts import UNLIMITED, exceeded
from launcher.service.queue.scheduling import Waiting
from launcher.service.queue.settings import MOST_OF_A_TENANT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from launcher.service.queue.amounts import Capacity
    from launcher.service.queue.queue import Queue
    from launcher.service.request import Request

_WORDS = {"jobs": "jobs at once", "cpus": "thousandths of a processor", "memory": "bytes of memory", "disk": "bytes"}


def admit(queue: Queue, request: Request, tenant: str) -> Callable[[], None]:
    """Counts a launch, and lowers its limits to what it is counted with; what is to be called when it has ended.
    Raises RefusedError.
    """
    capacity = queue.settings.share(tenant).capacity
    if capacity == (MOST_OF_A_TENANT, *UNLIMITED[1:]):
        return _nothing
    from launcher.service.deciding import command_line_limits

    limits = command_line_limits(request.limits).to_data()
    demand = queue.settings.demand_within(capacity, limits)
    _check(queue, tenant, demand, capacity)
    counted = {"cpus": demand[1], "max_memory": demand[2], "max_disk": demand[3]}
    request.limits = {**request.limits, **{name: _text(name, value) for name, value in counted.items() if value}}
    job = Waiting((0, 0), tenant, demand)
    queue.scheduler.hold(job)

    def ended() -> None:
        queue.scheduler.release(job)
        queue.pump()

    return ended


def _check(queue: Queue, tenant: str, demand: tuple[int, int, int, int], capacity: Capacity) -> None:
    held = queue.scheduler.held(tenant)
    lacking = exceeded(held, demand, capacity)
    if lacking:
        at = list(_WORDS).index(lacking)
        raise RefusedError(
            f"{tenant} may hold {capacity[at]} {_WORDS[lacking]} and holds {held[at]}; this launch takes {demand[at]}",
            hint="wait until one of the jobs has ended, ask for less, or `mlsandbox submit` it, to wait",
        )


def _text(name: str, value: int) -> str:
    return f"{value}m" if name == "cpus" else str(value)


def _nothing() -> None:
    return
