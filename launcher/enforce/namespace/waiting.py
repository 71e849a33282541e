"""pid 1 of a sandbox that is made before anybody knows for what: namespaces, ids and a root, then it waits.

It is forked by a fork server that has read no policy and holds no other job's descriptor. It may be told steps to take
meanwhile (what every sandbox of this tenant begins with), then the spec of one job; after that it is as any other.
"""

from __future__ import annotations

import _signal
import os

from launcher.enforce.namespace import channel as messages
from launcher.enforce.namespace import handover
from launcher.enforce.namespace.build import become, complete, new_view, perform, step
from launcher.enforce.namespace.cgroup import enter
from launcher.enforce.namespace.init import guarded, live

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from launcher.enforce.namespace.channel import Channel
    from launcher.enforce.namespace.spec import Identity


def run(identity: Identity, control: Channel) -> NoReturn:
    """The whole life of such a pid 1. It only ever exits; also when the channel closes while it waits."""
    guarded(lambda: _life(identity, control), control)


def _life(identity: Identity, control: Channel) -> None:
    _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)  # what the fork server ignores, the job would inherit
    become(identity)
    view = new_view()
    while True:
        kind, _values, descriptors = control.receive()
        if kind != messages.PREBUILD:
            break
        perform(handover.receive_operations(descriptors), view)
    if kind != messages.SPEC:
        os._exit(0)
    handed = handover.receive_spec(descriptors)
    step("enter", "the control groups", lambda: enter(handed.doors))
    complete(handed.spec, control, view, handed.operations)
    live(handed.spec, control)
