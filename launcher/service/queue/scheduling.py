"""Which job starts next. Pure: no clock, no input or output; every decision follows from what was told before.

Between tenants: the one that holds the least (its dominant share over its weight), among equals the one that was served
least. Who comes back after a pause begins with the least that anybody waiting has been served: pauses save nothing up.
Within a tenant: by priority, then by age.

A tenant whose own limit is reached waits without holding up anybody. A job for which the host has no room now is
overtaken by smaller ones a bounded number of times; then nothing starts until it fits. So every job that fits into the
empty host starts after finitely many ends, whatever others submit.

Cost: adding and ending are O(log n) in the tenant's jobs and O(log m) in the tenants; a decision is that times the
tenants that are overtaken, at most MOST_OVERTAKING.
"""

from __future__ import annotations

from heapq import heappop, heappush

from launcher.service.queue.amounts import NOTHING, UNLIMITED, add, dominant, exceeded, fits, subtract

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from launcher.service.queue.amounts import Amounts, Capacity

    Key = tuple[int, int]  # submission, index

MOST_OVERTAKING = 16  # jobs that may go before one that does not fit, and tenants that are looked at in a decision
LEAST_CHARGE = 0.01  # seconds that every start is charged, so that jobs of no length still count
_SMALLEST: Amounts = (1, 0, 0, 0)


class Waiting:
    """A job that may start. `priority`: higher first; `order`: lower first among equals; unique."""

    __slots__ = ("demand", "key", "order", "priority", "tenant")

    def __init__(self, key: Key, tenant: str, demand: Amounts, *, priority: int = 0, order: int = 0) -> None:
        self.key = key
        self.tenant = tenant
        self.demand = demand
        self.priority = priority
        self.order = order


class Share:
    """What a tenant may hold at once, and the weight that it holds it with."""

    __slots__ = ("capacity", "weight")

    def __init__(self, capacity: Capacity = UNLIMITED, weight: float = 1.0) -> None:
        self.capacity = capacity
        self.weight = weight


class _Tenant:
    __slots__ = ("heap", "name", "overtaken", "served", "share", "turn", "used", "waiting")

    def __init__(self, name: str, share: Share) -> None:
        self.name = name
        self.share = share
        self.heap: list[tuple[int, int, Key]] = []  # keys that are gone are dropped when they come to the top
        self.waiting: dict[Key, Waiting] = {}
        self.used: Amounts = NOTHING
        self.served = 0.0
        self.overtaken = 0
        self.turn = 0  # which entry in the heap of tenants is the valid one

    def head(self) -> Waiting | None:
        while self.heap:
            found = self.waiting.get(self.heap[0][2])
            if found is not None and found.order == self.heap[0][1]:
                return found
            heappop(self.heap)
        return None

    def idle(self) -> bool:
        return not self.waiting and self.used == NOTHING

    def ready(self) -> bool:
        """Whether its first job is within its own limits."""
        head = self.head()
        return head is not None and fits(self.used, head.demand, self.share.capacity)


class Scheduler:
    """The jobs that wait and those that run. `capacity` is the host's; `share_of` says what a tenant may hold."""

    __slots__ = ("_capacity", "_running", "_share_of", "_tenants", "_turns", "used")

    def __init__(self, capacity: Capacity, share_of: Callable[[str], Share]) -> None:
        self._capacity = capacity
        self._share_of = share_of
        self._tenants: dict[str, _Tenant] = {}
        self._running: dict[Key, Waiting] = {}
        self._turns: list[tuple[float, float, str, int]] = []  # share held, served, name, turn
        self.used: Amounts = NOTHING

    # -- what is told -------------------------------------------------------------------------------------------------

    def add(self, job: Waiting) -> None:
        """A job may start from now on."""
        tenant = self._tenant(job.tenant)
        if tenant.idle():
            self._welcome(tenant)
        tenant.waiting[job.key] = job
        heappush(tenant.heap, (-job.priority, job.order, job.key))
        self._refresh(tenant)

    def discard(self, key: Key, tenant: str) -> bool:
        """A waiting job is to start no more. False where it does not wait."""
        found = self._tenants.get(tenant)
        if found is None or found.waiting.pop(key, None) is None:
            return False
        self._refresh(found)
        return True

    def hold(self, job: Waiting) -> None:
        """A launch beside the queue: it counts against its tenant's limits and share."""
        tenant = self._tenant(job.tenant)
        if tenant.idle():
            self._welcome(tenant)
        self._charge(tenant, job, LEAST_CHARGE)
        tenant.used = add(tenant.used, job.demand)
        self._refresh(tenant)

    def release(self, job: Waiting) -> None:
        """It has ended."""
        tenant = self._tenants[job.tenant]
        tenant.used = subtract(tenant.used, job.demand)
        self._refresh(tenant)

    def end(self, key: Key, seconds: float) -> None:
        """A running job has ended, after `seconds`."""
        job = self._running.pop(key)
        tenant = self._tenants[job.tenant]
        self._charge(tenant, job, max(0.0, seconds - LEAST_CHARGE))
        tenant.used = subtract(tenant.used, job.demand)
        self.used = subtract(self.used, job.demand)
        self._refresh(tenant)

    def configure(self, capacity: Capacity, share_of: Callable[[str], Share]) -> None:
        """Other limits, from now on; what runs goes on, and counts."""
        self._capacity, self._share_of = capacity, share_of
        for tenant in self._tenants.values():
            tenant.share = share_of(tenant.name)
            self._refresh(tenant)

    # -- what is decided ----------------------------------------------------------------------------------------------

    def next(self) -> Waiting | None:
        """The job to start now, which from here on counts as running; None where none may."""
        if not fits(self.used, _SMALLEST, self._capacity):
            return None
        passed: list[_Tenant] = []
        chosen = None
        while chosen is None and len(passed) < MOST_OVERTAKING:
            tenant = self._first()
            head = tenant.head() if tenant else None
            if tenant is None or head is None:
                break
            if fits(self.used, head.demand, self._capacity):
                chosen = self._start(tenant, head)
                break
            passed.append(tenant)
            if tenant.overtaken >= MOST_OVERTAKING:
                break
        for tenant in passed:
            tenant.overtaken += 1 if chosen else 0
            self._refresh(tenant)
        return chosen

    def never(self, tenant: str, demand: Amounts) -> str:
        """The resource of which `demand` is more than there ever is for `tenant`, "" for none."""
        return exceeded(NOTHING, demand, self._share_of(tenant).capacity) or exceeded(NOTHING, demand, self._capacity)

    def held(self, tenant: str) -> Amounts:
        """What the running jobs of `tenant` hold."""
        found = self._tenants.get(tenant)
        return found.used if found else NOTHING

    def waiting(self, tenant: str) -> int:
        """How many jobs of `tenant` may start."""
        found = self._tenants.get(tenant)
        return len(found.waiting) if found else 0

    # -- within -------------------------------------------------------------------------------------------------------

    def _tenant(self, name: str) -> _Tenant:
        if name not in self._tenants:
            self._tenants[name] = _Tenant(name, self._share_of(name))
        return self._tenants[name]

    def _welcome(self, tenant: _Tenant) -> None:
        """A tenant begins: with no less than the least that anybody active was served, so pauses save nothing up.

        Idle tenants that this would raise as well are forgotten (all of them where nobody is active: there is nobody to
        be fair to), so names that come once cost nothing for good.
        """
        active = [other.served for other in self._tenants.values() if not other.idle()]
        least = min(active) if active else max(other.served for other in self._tenants.values())
        tenant.served = max(tenant.served, least)
        gone = [other for other in self._tenants.values() if other.idle() and other.served <= least]
        for other in gone:
            if other is not tenant:
                del self._tenants[other.name]

    def _refresh(self, tenant: _Tenant) -> None:
        tenant.turn += 1
        if tenant.ready():
            share = dominant(tenant.used, self._capacity) / tenant.share.weight
            heappush(self._turns, (share, tenant.served, tenant.name, tenant.turn))
        if len(self._turns) > 4 * len(self._tenants) + 64:
            self._turns = [entry for entry in self._turns if self._valid(entry)]
            self._turns.sort()

    def _valid(self, entry: tuple[float, float, str, int]) -> bool:
        tenant = self._tenants.get(entry[2])
        return tenant is not None and tenant.turn == entry[3]

    def _first(self) -> _Tenant | None:
        """Takes the tenant whose turn it is out of the heap; `_refresh` puts it back."""
        while self._turns:
            entry = heappop(self._turns)
            if self._valid(entry):
                return self._tenants[entry[2]]
        return None

    def _start(self, tenant: _Tenant, job: Waiting) -> Waiting:
        heappop(tenant.heap)
        del tenant.waiting[job.key]
        tenant.overtaken = 0
        self._take(tenant, job)
        self._refresh(tenant)
        return job

    def _take(self, tenant: _Tenant, job: Waiting) -> None:
        self._running[job.key] = job
        self._charge(tenant, job, LEAST_CHARGE)
        tenant.used = add(tenant.used, job.demand)
        self.used = add(self.used, job.demand)

    def _charge(self, tenant: _Tenant, job: Waiting, seconds: float) -> None:
        tenant.served += dominant(job.demand, self._capacity) * seconds / tenant.share.weight
