"""The fork server of one tenant: it forks the pid 1 of sandboxes, and does and knows nothing else.

It is a fork of the zygote, which was started before any configuration was read, with the tenant's effective ids. Each
request brings one end of a channel, which is the new pid 1's; no other descriptor of a job is ever here. It ends when
the process that asks it ends.
"""

from __future__ import annotations

import _signal
import os

from launcher.enforce.namespace import channel as channels
from launcher.enforce.namespace import waiting
from launcher.enforce.namespace.backend import NAMESPACES
from launcher.enforce.namespace.fork import Effective
from launcher.enforce.namespace.init import close_all_but
from launcher.errors import EnforcementError
from launcher.kernel import libc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from launcher.enforce.namespace.channel import Channel
    from launcher.enforce.namespace.spec import Identity

CLONE = "clone"  # descriptor: the new pid 1's end of its channel
CLONED = "cloned"  # (pid); descriptor: its pidfd


def serve(identity: Identity, requests: Channel) -> NoReturn:
    """Answers `requests` until they end. Raises EnforcementError for an identity that no job may have."""
    if 0 in {identity.uid, identity.gid}:
        raise EnforcementError("map a job to", "host uid or gid 0", hint="give the user a host id, or an id range")
    close_all_but(0, 1, 2, requests.fileno())
    _signal.signal(_signal.SIGCHLD, _signal.SIG_IGN)  # the kernel reaps; who waits has a pidfd
    Effective(identity)  # the user namespaces made here belong to the tenant's uid, and never to host uid 0
    while True:
        kind, _values, descriptors = requests.receive()
        if kind != CLONE:
            os._exit(0)
        _clone(identity, requests, descriptors[0])


def _clone(identity: Identity, requests: Channel, end: int) -> None:
    try:
        pid = libc.clone(NAMESPACES | _signal.SIGCHLD)
    except OSError as error:
        os.close(end)
        hint = "user namespaces are refused on this host; `mlsandbox doctor` says by what"
        requests.send(channels.FAILED, ("create namespaces for", identity.name, error.errno or 0, hint))
        return
    if pid == 0:
        close_all_but(0, 1, 2, end)
        waiting.run(identity, channels.adopt(end))
    os.close(end)
    pidfd = os.pidfd_open(pid)
    requests.send(CLONED, (pid,), (pidfd,))
    os.close(pidfd)
