"""The process that all of the service's others are forks of: modules loaded, and nothing read.

It is started as a fresh interpreter, with an empty environment and one descriptor, before the service has read a
policy, a key or a token; so what a fork of it holds is code. It forks two kinds on request: the process that decides
one tenant's launches, which then reads what it needs; and that tenant's fork server, which never does. When the service
ends, this ends.
"""

from __future__ import annotations

import _signal
import _socket
import gc
import os
import sys

from launcher.enforce.namespace.channel import Channel
from launcher.enforce.namespace.spec import Identity

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

TENANT = "tenant"  # (root or ""); descriptor: the connection to the service
FORK_SERVER = "fork-server"  # (name, uid, gid, groups); descriptor: its requests
_ADDRESS = 3
_PROGRAM = "import sys; sys.path[:0] = {path!r}; from launcher.service.zygote import main; main()"
# What a tenant's process and a sandbox's pid 1 will need, imported once for all.
_PRELOADED = (
    "json", "pickle", "heapq",
    "launcher.service.tenant", "launcher.service.forkserver", "launcher.service.deciding", "launcher.service.ml",
    "launcher.service.declarations", "launcher.service.modules", "launcher.service.manifest", "launcher.service.claims",
    "launcher.capability.permissions", "launcher.capability.glob", "launcher.capability.containment",
    "launcher.compile.compiler", "launcher.enforce.staging.commit", "launcher.enforce.namespace.staged",
    "launcher.enforce.namespace.plan.files", "launcher.enforce.namespace.plan.live",
    "launcher.enforce.namespace.execcheck", "launcher.egress.topology", "launcher.runtime.preloaded",
)  # fmt: skip


_LOADED = "launcher.runtime.preloaded"  # by name: nothing trusted calls it, only what becomes a job


class Zygote:
    """The service's side of it. Raises EnforcementError where it went away."""

    __slots__ = ("_channel", "pid")

    def __init__(self) -> None:
        ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
        self.pid = os.fork()
        if self.pid == 0:
            _become(theirs.fileno())
        theirs.close()
        self._channel = Channel(ours.detach())

    def tenant(self, root: str | None, end: int) -> None:
        """Forks the process of a tenant, with `end` of its connection to the service."""
        self._ask(TENANT, (root or "",), end)

    def fork_server(self, identity: Identity, end: int) -> None:
        """Forks a fork server of a tenant, which `end` asks."""
        self._ask(FORK_SERVER, (identity.name, identity.uid, identity.gid, identity.groups), end)

    def _ask(self, kind: str, values: tuple[object, ...], end: int) -> None:
        from launcher.errors import EnforcementError

        try:
            self._channel.send(kind, values, (end,))
        except OSError as error:
            raise EnforcementError("reach", "the service's zygote", error.errno or 0, hint="restart it") from error

    def fileno(self) -> int:
        """Readable when it has ended."""
        return self._channel.fileno()

    def close(self) -> None:
        self._channel.close()


def _become(end: int) -> NoReturn:
    """After the fork: a fresh interpreter with 0, 1, 2 and its channel, and no environment."""
    try:
        os.dup2(end, _ADDRESS, inheritable=True)
        if end == _ADDRESS:
            os.set_inheritable(end, True)
        os.closerange(_ADDRESS + 1, os.sysconf("SC_OPEN_MAX"))
        os.chdir("/")
        program = _PROGRAM.format(path=[entry for entry in sys.path if entry])
        os.execve(sys.executable, [sys.executable, "-I", "-S", "-c", program], {})
    finally:
        os._exit(125)


def main() -> NoReturn:
    """The zygote's own life."""
    os.set_inheritable(_ADDRESS, False)
    for name in _PRELOADED:
        __import__(name)
    sys.modules[_LOADED].load()
    _signal.signal(_signal.SIGINT, _signal.SIG_IGN)  # Ctrl-C is for the service, which then ends this
    _signal.signal(_signal.SIGCHLD, _signal.SIG_IGN)
    channel = Channel(_ADDRESS)
    gc.collect()
    gc.freeze()  # a collection in a fork would write to every page that it shares
    while True:
        kind, values, descriptors = channel.receive()
        if not kind:
            os._exit(0)
        if os.fork() == 0:
            _be(kind, values, descriptors[0])
        os.close(descriptors[0])


def _be(kind: str, values: tuple[object, ...], end: int) -> NoReturn:
    """In a fork: what was asked for. Both kinds close every descriptor that is not theirs."""
    try:
        _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
        if kind == TENANT:
            from launcher.service import tenant

            tenant.serve(str(values[0]) or None, end)
        from launcher.service import forkserver

        name, uid, gid, groups = values
        identity = Identity(str(name), int(str(uid)), int(str(gid)), tuple(groups))  # type: ignore[arg-type]
        forkserver.serve(identity, Channel(end))
    except Exception:  # noqa: BLE001  the boundary of these processes: what they end with is in the service's log
        import traceback

        traceback.print_exc()
    finally:
        os._exit(125)
