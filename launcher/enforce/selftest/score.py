"""From the lines of the attempts to a score per group, with what is not covered and why. Pure."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

GROUPS = (
    ("A", "File system", 1, 23),
    ("B", "Processes and signals", 24, 33),
    ("C", "Namespaces and mounts", 34, 40),
    ("D", "/proc and /sys", 41, 48),
    ("E", "System calls", 49, 60),
    ("F", "Network", 61, 79),
    ("G", "Resources", 80, 89),
    ("H", "Terminal, keyring, leaks, time", 90, 100),
)
# docs/explanation/attacks.md says more about each
STANDING = (
    ((22,), "locks on shared read-only files are visible to others"),
    ((88,), "input and output are bounded in amount, not in rate"),
    ((100,), "side channels between jobs on one processor are not promised"),
    ((62, *range(65, 73), 77, 79), "the egress proxy is not started; its cases need servers (tests/egress)"),
    ((3, 4, 5, 6, 8, 9, 10), "swaps and races take seconds and a second user (tests/attack)"),
    (tuple(range(101, 108)), "the launcher itself is tried by tests/attack only"),
)


class Attempt:
    """One line: the number of the attack, what was tried, and what stopped it ("" if nothing did)."""

    __slots__ = ("attack", "name", "stopped_by")

    def __init__(self, attack: int, name: str, stopped_by: str) -> None:
        self.attack = attack
        self.name = name
        self.stopped_by = stopped_by

    @property
    def held(self) -> bool:
        return bool(self.stopped_by)

    def to_data(self) -> dict[str, object]:
        return {"attack": self.attack, "name": self.name, "held": self.held, "stopped_by": self.stopped_by}


def read(output: str) -> list[Attempt]:
    """The attempts that could be made. Lines that are none of ours are left out: a job may print what it likes."""
    found = []
    for line in output.splitlines():
        cells = line.split("\t")
        if len(cells) == 3 and cells[0].isdigit() and cells[2] != "-":
            found.append(Attempt(int(cells[0]), cells[1], cells[2]))
    return found


def not_covered(unenforced: Iterable[Mapping[str, Any]]) -> list[dict[str, object]]:
    """What this host cannot enforce (rows of a profile), then what this test does not try."""
    rows: list[dict[str, object]] = [
        {"attacks": list(row.get("attacks", ())), "reason": f"{row['permission']}: {row['reason']}"}
        for row in unenforced
    ]
    return rows + [{"attacks": list(numbers), "reason": reason} for numbers, reason in STANDING]


def groups(attempts: Iterable[Attempt]) -> list[dict[str, object]]:
    """Per group: its letter and title, how many attempts held, and how many were made."""
    made = list(attempts)
    rows = []
    for letter, title, first, last in GROUPS:
        within = [attempt for attempt in made if first <= attempt.attack <= last]
        rows.append(
            {"group": letter, "title": title, "held": sum(attempt.held for attempt in within), "of": len(within)}
        )
    return rows
