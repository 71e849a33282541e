"""What a running job uses, read from its control groups by whoever may read them; nothing of the job is asked."""

from __future__ import annotations

from launcher.enforce.namespace.cgroup import own_paths
from launcher.kernel import places
from launcher.kernel.places import PREFIX, ROOT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_NANOSECONDS = 1000  # in a microsecond


def _number(text: str) -> int | None:
    word = text.strip()
    return int(word) if word.isdigit() else None


def _nanoseconds(text: str) -> int | None:
    value = _number(text)
    return None if value is None else value // _NANOSECONDS


def _usage_usec(text: str) -> int | None:
    rows = (line.split() for line in text.splitlines())
    return next((int(row[1]) for row in rows if row[0] == "usage_usec"), None)


# what -> where v1 says it (controller, file), where v2 does, and how each is read
_V1: dict[str, tuple[str, str, Callable[[str], int | None]]] = {
    "memory": ("memory", "memory.usage_in_bytes", _number),
    "cpu_us": ("cpuacct", "cpuacct.usage", _nanoseconds),
    "processes": ("pids", "pids.current", _number),
}
_V2: dict[str, tuple[str, Callable[[str], int | None]]] = {
    "memory": ("memory.current", _number),
    "cpu_us": ("cpu.stat", _usage_usec),
    "processes": ("pids.current", _number),
}


def usage(job: str) -> dict[str, int | None]:
    """`memory` in bytes, `cpu_us` of all its processes so far in microseconds, `processes` with the sandbox's pid 1;
    None for what no group of this job accounts for.
    """
    own = own_paths()
    v1 = {
        name: read(places.read(f"{ROOT}/{controller}{own[controller].rstrip('/')}/{PREFIX}{job}/{file}"))
        for name, (controller, file, read) in _V1.items()
        if controller in own
    }
    if any(value is not None for value in v1.values()):
        return {name: v1.get(name) for name in _V2}
    for base in places.v2_candidates(own.get("")):
        found = {name: read(places.read(f"{base}/{PREFIX}{job}/job/{file}")) for name, (file, read) in _V2.items()}
        if any(value is not None for value in found.values()):
            return found
    return dict.fromkeys(_V2)
