"""What a job takes of what there is: jobs, processors, memory, disk. Pure.

An amount is a tuple in the order of RESOURCES: a count, thousandths of a processor, bytes, bytes. In a capacity None
means that there is no limit.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    Amounts = tuple[int, int, int, int]
    Capacity = tuple[int | None, int | None, int | None, int | None]

RESOURCES = ("jobs", "cpus", "memory", "disk")
# The limit of a launch that holds a job to what it was counted with.
LIMITS = {"cpus": "cpus", "memory": "max_memory", "disk": "max_disk"}
NOTHING: Amounts = (0, 0, 0, 0)
UNLIMITED: Capacity = (None, None, None, None)


def add(left: Amounts, right: Amounts) -> Amounts:
    return (left[0] + right[0], left[1] + right[1], left[2] + right[2], left[3] + right[3])


def subtract(left: Amounts, right: Amounts) -> Amounts:
    return (left[0] - right[0], left[1] - right[1], left[2] - right[2], left[3] - right[3])


def fits(used: Amounts, demand: Amounts, capacity: Capacity) -> bool:
    """Whether `demand` on top of `used` is within `capacity`."""
    return not exceeded(used, demand, capacity)


def exceeded(used: Amounts, demand: Amounts, capacity: Capacity) -> str:
    """The first resource of which there would be too much, "" for none."""
    for name, have, want, most in zip(RESOURCES, used, demand, capacity, strict=True):
        if most is not None and have + want > most:
            return name
    return ""


def dominant(used: Amounts, capacity: Capacity) -> float:
    """The largest share of any one resource: what fairness compares (Ghodsi et al., "Dominant Resource Fairness").

    A tenant with few jobs that take all memory holds as much as one whose many jobs take all processors.
    """
    return max((have / most for have, most in zip(used, capacity, strict=True) if most), default=float(used[0]))
