"""What a plan collects: operations, Landlock rules, staged areas. It has a digest of its own, which the audit names."""

from __future__ import annotations

import os

from launcher.canonical import digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from launcher.enforce.namespace.binds import Bind, Tree
    from launcher.enforce.namespace.operations import Operation
    from launcher.enforce.namespace.spec import Rule, Staged


class MountPlan:
    """Everything that is mounted for one launch, in order, and what may be done in it.

    `over` are mounts on top of the staged areas. `warnings` are sentences for the caller: a denied file with a second
    name, a granted directory that is not there. `sockets`: the job may use Unix sockets, so none may
    come with a tree that is mounted whole (kernel-facts 5). `common`: so many operations at the beginning show nothing
    but the host's system and what is synthesised; they may be taken before the launch is asked for.
    """

    __slots__ = (
        "common",
        "executables",
        "operations",
        "over",
        "own_programs",
        "rules",
        "sealed",
        "sockets",
        "staged",
        "warnings",
    )

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self.common = 0
        self.rules: list[Rule] = []
        self.staged: list[Staged] = []
        self.over: list[Bind | Tree] = []
        self.sealed: list[str] = []
        self.sockets = False
        self.executables: set[str] = set()
        self.own_programs: dict[str, tuple[int, int]] = {}  # of the job's own trees: path -> (device, inode)
        self.warnings: list[str] = []

    def to_data(self) -> dict[str, object]:
        """Plain JSON values."""
        return {
            "schema": "mlsandbox.mount-plan/1",
            "operations": [operation.data() for operation in self.operations],
            "over": [operation.data() for operation in self.over],
            "landlock": [[rule.path, rule.rights] for rule in self.rules],
            "staged": [[area.directory, "live" if area.live_lower else "snapshot"] for area in self.staged],
        }

    def points(self) -> list[tuple[str, bool]]:
        """(target, is a directory) of each mount on top of the staged areas, which the areas must have a place for."""
        return [(operation.target, os.path.isdir(operation.source)) for operation in self.over]

    def digest(self) -> str:
        return digest(self.to_data())

    def describe(self) -> list[str]:
        """One line an operation, rule and area, for `launch --dry-run`."""
        return [
            *[operation.describe() for operation in self.operations],
            *[f"stage {area.directory} ({'live' if area.live_lower else 'snapshot'} lower)" for area in self.staged],
            *[operation.describe() for operation in self.over],
            *[f"landlock {rule.path} {rights(rule.rights)}" for rule in self.rules],
        ]


def rights(bits: int) -> str:
    """Landlock rights as words, in the order of the header."""
    from launcher.kernel import landlock

    names = [
        "EXECUTE",
        "WRITE_FILE",
        "READ_FILE",
        "READ_DIR",
        "REMOVE_DIR",
        "REMOVE_FILE",
        "MAKE_CHAR",
        "MAKE_DIR",
        "MAKE_REG",
        "MAKE_SOCK",
        "MAKE_FIFO",
        "MAKE_BLOCK",
        "MAKE_SYM",
        "REFER",
        "TRUNCATE",
        "IOCTL_DEV",
    ]
    return ",".join([name.lower() for name in names if bits & getattr(landlock, name)])
