"""What became of each change: for the result, the audit and stderr. [L]"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from launcher.enforce.staging.judge import Judged

COMMITTED, REFUSED, CONFLICT, FAILED = "committed", "refused", "conflict", "failed"


class Report:
    """`entries` are plain JSON values: path, change, outcome, operation, reason, deciders, size (bytes)."""

    __slots__ = ("entries",)

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []

    def add(self, item: Judged, outcome: str, reason: str) -> None:
        change = item.change
        self.entries.append(
            {
                "path": change.path,
                "change": change.kind,
                "outcome": outcome,
                "operation": item.operation,
                "reason": reason,
                "deciders": [{"policy": grant.policy, "place": str(grant.place)} for grant in item.deciders],
                "size": change.size,
            }
        )

    def of(self, outcome: str) -> list[dict[str, Any]]:
        return [entry for entry in self.entries if entry["outcome"] == outcome]

    @property
    def committed(self) -> list[dict[str, Any]]:
        return self.of(COMMITTED)

    @property
    def refused(self) -> list[dict[str, Any]]:
        return self.of(REFUSED)

    @property
    def conflicts(self) -> list[dict[str, Any]]:
        return self.of(CONFLICT)

    @property
    def failed(self) -> list[dict[str, Any]]:
        return self.of(FAILED)

    def lines(self) -> list[str]:
        """One line for people for each change that did not reach the host."""
        return [
            f"{entry['outcome']}: {entry['change']} {printable(entry['path'])}: {printable(entry['reason'])}"
            for entry in self.entries
            if entry["outcome"] != COMMITTED
        ]


def printable(text: str) -> str:
    """`text` without what a terminal would act on: a job chooses its file names (attack 91)."""
    return "".join([char if char.isprintable() else f"\\x{ord(char):02x}" for char in text])
