"""What the sandbox's child is told: everything is decided before it is forked, and it decides nothing."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from launcher.enforce.job import Network
    from launcher.enforce.namespace.execcheck import ExecCheck
    from launcher.enforce.namespace.observer import Observer
    from launcher.enforce.namespace.operations import Operation


class Identity:
    """The ids a job runs with on the host, and that it sees (one id, mapped to itself, so files keep their owners)."""

    __slots__ = ("gid", "groups", "name", "uid")

    def __init__(self, name: str, uid: int, gid: int, groups: Sequence[int]) -> None:
        self.name = name
        self.uid = uid
        self.gid = gid
        self.groups = tuple(groups)


class Rule:
    """Landlock rights (launcher.kernel.landlock) at and below `path`; `optional` where the path may be absent."""

    __slots__ = ("optional", "path", "rights")

    def __init__(self, path: str, rights: int, *, optional: bool = False) -> None:
        self.path = path
        self.rights = rights
        self.optional = optional


class Staged:
    """One staged area: the host directory, whether its lower is the live directory or a snapshot, mount options."""

    __slots__ = ("directory", "live_lower", "name", "options")

    def __init__(self, name: str, directory: str, *, live_lower: bool, options: Sequence[str]) -> None:
        self.name = name
        self.directory = directory
        self.live_lower = live_lower
        self.options = tuple(options)


class Spec:
    """One sandbox, ready to be built. `stdio` are the job's descriptors 0, 1, 2, or empty for a terminal of its own.

    `over` are mounts on top of the staged areas. `passed` are (descriptor, number in the job). `preloaded`
    is (module, library): the job is a fork of pid 1 that runs the module, and starts no image at all. `exec_once`
    refuses execve after the job's own image has started; with `check` every later exec is held against it. `observer`
    is told of the job's calls with path names (--trace-denials). `bounded` are the private file systems that a limit
    makes as large as they are: (directory, names of the limits).
    """

    __slots__ = (
        "arguments", "bounded", "check", "cwd", "environment", "exec_once", "filter", "hostname", "identity",
        "landlock_abi", "loopback", "namespaces", "network", "observer", "operations", "over", "passed", "path",
        "preloaded", "rlimits", "rules", "scratch", "staged", "stdio", "switch_ids",
    )  # fmt: skip

    def __init__(self, **fields: object) -> None:
        for name in self.__slots__:
            setattr(self, name, fields.pop(name))
        if fields:
            raise TypeError(f"unknown fields {sorted(fields)}")

    if TYPE_CHECKING:
        operations: Sequence[Operation]
        over: Sequence[Operation]
        rules: Sequence[Rule]
        staged: Sequence[Staged]
        scratch: dict[str, str]
        identity: Identity
        switch_ids: bool
        namespaces: int
        hostname: str
        loopback: bool
        network: Network | None
        path: str
        arguments: Sequence[str]
        environment: dict[str, str]
        cwd: str
        bounded: Sequence[tuple[str, Sequence[str]]]
        stdio: Sequence[int]
        passed: Sequence[tuple[int, int]]
        rlimits: Sequence[tuple[int, int]]
        landlock_abi: int
        filter: bytes
        exec_once: bool
        preloaded: tuple[str, str] | None
        check: ExecCheck | None
        observer: Observer | None
