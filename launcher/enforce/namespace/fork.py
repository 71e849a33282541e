"""The supervisor's side of making a sandbox: one clone(2) into all namespaces at once, with the right ids.

Started as root, the effective ids are those of the job during the clone, so the user namespace belongs to the job's
uid and never to host uid 0 (else /proc/sys/kernel/core_pattern is writable from inside: peers 0.1). The real and
saved ids stay root's meanwhile, so no process of that user can signal or trace the launcher.
"""

from __future__ import annotations

import _signal
import os

from launcher.enforce.namespace import channel as channels
from launcher.enforce.namespace import init
from launcher.errors import EnforcementError
from launcher.kernel import libc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from launcher.enforce.namespace.cgroup import Cgroup
    from launcher.enforce.namespace.channel import Channel
    from launcher.enforce.namespace.spec import Identity, Spec


class Effective:
    """The effective ids and groups of `identity`, and the way back to the launcher's own."""

    __slots__ = ("_before",)

    def __init__(self, identity: Identity) -> None:
        self._before = (os.geteuid(), os.getegid(), os.getgroups())
        os.setgroups(identity.groups)
        os.setegid(identity.gid)
        os.seteuid(identity.uid)

    def restore(self) -> None:
        uid, gid, groups = self._before
        os.seteuid(uid)
        os.setegid(gid)
        os.setgroups(groups)


def _clone(identity: Identity, flags: int, *, switch: bool) -> int:
    effective = Effective(identity) if switch else None
    pid = -1
    try:
        pid = libc.clone(flags)
    finally:
        if effective and pid != 0:  # the child keeps them
            effective.restore()
    return pid


def spawn(spec: Spec, cgroup: Cgroup | None = None) -> tuple[int, Channel]:
    """Clones the sandbox's pid 1, which enters `cgroup` and begins to build.

    Returns its process id and our end of the channel. Raises EnforcementError.
    """
    if spec.identity.uid == 0 or (spec.switch_ids and spec.identity.gid == 0):
        raise EnforcementError("map a job to", "host uid or gid 0", hint="give the user a host id, or an id range")
    doors = cgroup.doors() if cgroup else []
    if spec.network or spec.staged or spec.exec_once or spec.observer or not spec.stdio:
        channels.prepare()
    ours, theirs = channels.pair()
    flags = spec.namespaces | _signal.SIGCHLD
    try:
        pid = _clone(spec.identity, flags, switch=spec.switch_ids)
    except OSError as error:
        hint = "user namespaces are refused on this host; `mlsandbox doctor` says by what"
        raise EnforcementError("create namespaces for", spec.identity.name, error.errno or 0, hint=hint) from error
    if pid == 0:
        ours.close()
        init.run(spec, theirs, doors)
    theirs.close()
    for door in doors:
        os.close(door)
    return pid, ours
