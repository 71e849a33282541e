"""What is to be run, beside the profile that it runs under."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable, Iterable, Sequence

    from launcher.enforce.namespace.observer import Observer
    from launcher.enforce.namespace.operations import Operation
    from launcher.enforce.namespace.spec import Identity, Rule


if TYPE_CHECKING:
    Review = Callable[[Iterable[str], int, int], bool]


class Network:
    """What the job's network namespace is connected to, made elsewhere (the egress proxy); enforcement only carries.

    `in_child` runs in the sandbox's pid 1, in its new network namespace with capabilities over it, before those are
    dropped; what it sends on the socket, `in_launcher` receives. `fileno` is polled; `read` takes what has come.
    """

    def in_child(self, socket: socket) -> None:
        raise NotImplementedError

    def child_side(self) -> Network:
        """What `in_child` needs and nothing else, for a pid 1 that is no fork of this process. It can be pickled."""
        raise NotImplementedError

    def in_launcher(self, socket: socket) -> None:
        raise NotImplementedError

    def fileno(self) -> int:
        raise NotImplementedError

    def read(self) -> None:
        raise NotImplementedError


class Job:
    """One run of one program.

    `path` is the image as the job sees it, `arguments` its argv, `environment` all of its environment.
    `stdio` are the caller's descriptors 0, 1, 2; `terminal` gives the job a pty of its own instead of pipes,
    and `raw` puts the caller's into raw mode.
    `passed` are (descriptor, number in the job). `mounts`, `programs` and `rules` are what the launcher itself needs
    in the view (the ML runtime's interpreter and library). `exec_once`: nothing may be executed after the image
    itself. `network` is what its network namespace is connected to, `etc` the files (path to content) that this
    brings. `preloaded` is the (module, library) that runs in place of the image, where pid 1 has it loaded.
    `mapped`: sources that belong to root are shown as the job's own (root's own jobs run with an id of the
    range). `observes` makes what looks at the job's calls with path names. `writer` are the ids that staged writes
    reach the host with; None for the launcher's own. `review` is given the change set as lines, the number of changes
    that would be committed and of those refused, and says whether to commit.
    """

    __slots__ = (
        "arguments", "environment", "etc", "exec_once", "id", "identity", "mapped", "mounts", "network", "observes",
        "passed", "path", "preloaded", "programs", "raw", "review", "rules", "stdio", "switch_ids", "terminal",
        "writer",
    )  # fmt: skip

    def __init__(self, job: str, identity: Identity, path: str, arguments: Sequence[str]) -> None:
        self.id = job
        self.identity = identity
        self.switch_ids = False
        self.path = path
        self.arguments = tuple(arguments)
        self.environment: dict[str, str] = {}
        self.stdio: tuple[int, int, int] = (0, 1, 2)
        self.terminal = False
        self.raw = True
        self.passed: tuple[tuple[int, int], ...] = ()
        self.mounts: tuple[Operation, ...] = ()
        self.programs: tuple[str, ...] = ()
        self.rules: tuple[Rule, ...] = ()
        self.exec_once = False
        self.preloaded: tuple[str, str] | None = None
        self.mapped = False
        self.network: Network | None = None
        self.observes: Callable[..., Observer] | None = None
        self.etc: dict[str, bytes] = {}
        self.writer: Identity | None = None
        self.review: Review | None = None
