"""In the child: from fresh namespaces to a complete, locked view. Runs before any byte that the job controls.

Order matters and each step names itself in its failure:
user namespace 1 (ids) -> loopback, host name -> new root, mounts -> pivot -> user namespace 2 (locks the mounts).
"""

from __future__ import annotations

import os

from launcher.enforce.namespace import channel as messages
from launcher.enforce.namespace.operations import View, place
from launcher.errors import EnforcementError
from launcher.kernel import libc, mount, netlink
from launcher.kernel.abi import (
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWUSER,
    MNT_DETACH,
    PR_SET_DUMPABLE,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from launcher.enforce.namespace.channel import Channel
    from launcher.enforce.namespace.operations import Operation
    from launcher.enforce.namespace.spec import Identity, Spec

# Where the new root is attached while it is assembled: a directory that every host has and that no source is below.
_BUILD_SITES = ("/sys", "/media", "/mnt")
_SCRATCH = "/.scratch"


def step(name: str, subject: str, action: Callable[[], object], hint: str = "") -> None:
    """Runs `action`; an OSError becomes an EnforcementError that names the step, the subject and the errno."""
    try:
        action()
    except OSError as error:
        raise _failed(name, subject, error, hint) from error


def _failed(name: str, subject: str, error: OSError, hint: str = "") -> EnforcementError:
    what = f"{subject} ({error.filename})" if error.filename and error.filename != subject else subject
    return EnforcementError(name, what, error.errno or 0, hint=hint)


def perform(operations: Sequence[Operation], view: View) -> None:
    for operation in operations:  # a hundred: only the one that fails is described
        try:
            operation.execute(view)
        except OSError as error:
            raise _failed("do", operation.describe(), error) from error


def build(spec: Spec, control: Channel) -> None:
    """Makes the view of `spec`. Raises EnforcementError; the caller reports it and exits."""
    become(spec.identity)
    complete(spec, control, new_view(), spec.operations)


def become(identity: Identity) -> None:
    """In user namespace 1, and with the job's ids."""
    step("map ids in", "user namespace 1", lambda: map_ids(identity), hint=_USERNS_HINT)
    step("take the ids of", identity.name, lambda: _take_ids(identity))


def new_view() -> View:
    """A new root, attached and still empty."""
    return View(_new_root())


def complete(spec: Spec, control: Channel, view: View, operations: Sequence[Operation]) -> None:
    """From a root on which all but `operations` is done to the locked view of `spec`."""
    if spec.network:
        control.send(messages.LISTENERS)
        spec.network.in_child(control.socket)
    elif spec.namespaces & CLONE_NEWNET and spec.loopback:
        step("bring up", "the loopback interface", netlink.loopback_up)
    step("set", "the host name", lambda: libc.sethostname(os.fsencode(spec.hostname)))
    perform(operations, view)
    if spec.staged:
        _stage(spec, view, control)
    perform(spec.over, view)
    root = view.root
    step("protect", "the root of the sandbox", lambda: mount.set_options(root, ("ro", "nosuid", "nodev", "noexec")))
    step("change to", "the root of the sandbox", lambda: _pivot(root))
    step("lock the mounts in", "user namespace 2", lambda: _lock(spec.identity))


_USERNS_HINT = (
    "unprivileged user namespaces may be restricted on this host; `mlsandbox doctor` says by what and how to allow them"
)


def map_ids(identity: Identity) -> None:
    """Maps the job's uid and gid to themselves, as user_namespaces(7) lets an unprivileged process do for itself.

    After the ids of a process change it is not dumpable and its /proc files belong to root, so it is made dumpable
    for the moment of writing; nobody can attach meanwhile, its real and saved ids being the launcher's.
    """
    libc.prctl(PR_SET_DUMPABLE, 1)
    _write("/proc/self/setgroups", b"deny")
    _write("/proc/self/gid_map", b"%d %d 1" % (identity.gid, identity.gid))
    _write("/proc/self/uid_map", b"%d %d 1" % (identity.uid, identity.uid))
    libc.prctl(PR_SET_DUMPABLE, 0)


def _write(path: str, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)


def _take_ids(identity: Identity) -> None:
    os.setresgid(identity.gid, identity.gid, identity.gid)
    os.setresuid(identity.uid, identity.uid, identity.uid)
    libc.prctl(PR_SET_DUMPABLE, 0)


def _new_root() -> int:
    settings = {"size": "16m", "nr_inodes": "65536", "mode": "0755"}
    root = mount.filesystem("tmpfs", settings, ("nosuid", "nodev"))
    site = next((path for path in _BUILD_SITES if os.path.isdir(path)), None)
    if site is None:
        raise EnforcementError("find a place to build the root at", " or ".join(_BUILD_SITES))
    step("attach the new root at", site, lambda: libc.move_mount(root, libc.HERE, site))
    return root


def _stage(spec: Spec, view: View, control: Channel) -> None:
    """Mounts scratch, hands it to the supervisor for the snapshots, then mounts one overlay per staged area."""
    parent, name = place(view, _SCRATCH, directory=True)
    scratch = mount.filesystem("tmpfs", dict(spec.scratch), ("nosuid", "nodev", "noexec"))
    libc.move_mount(scratch, parent, name)
    os.close(parent)
    for area in spec.staged:
        for part in (area.name, f"{area.name}/lower", f"{area.name}/upper", f"{area.name}/work"):
            os.mkdir(part, 0o700 if part == area.name else 0o755, dir_fd=scratch)
    control.send(messages.SCRATCH, (), (scratch,))
    kind, _values, _descriptors = control.receive()
    if kind != messages.PREPARED:
        os._exit(0)
    for area in spec.staged:
        step("mount the staged", area.directory, lambda area=area: _overlay(view, scratch, area))  # type: ignore[misc]
    # The overlays hold their layers; the job must not reach scratch by a name.
    step("hide", _SCRATCH, lambda: libc.umount2(f"/proc/self/fd/{view.root}{_SCRATCH}", MNT_DETACH))
    os.rmdir(_SCRATCH.strip("/"), dir_fd=view.root)
    os.close(scratch)


def _overlay(view: View, scratch: int, area: object) -> None:
    from launcher.enforce.namespace.spec import Staged

    assert isinstance(area, Staged)  # noqa: S101  for the type checker
    layers = {
        part: os.open(f"{area.name}/{part}", os.O_PATH | os.O_CLOEXEC, dir_fd=scratch)
        for part in ("lower", "upper", "work")
    }
    lower = f"/proc/self/fd/{layers['lower']}"
    if area.live_lower:
        lower = f"/proc/self/fd/{os.open(area.directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)}"
    settings = {
        "lowerdir": lower,
        "upperdir": f"/proc/self/fd/{layers['upper']}",
        "workdir": f"/proc/self/fd/{layers['work']}",
        "userxattr": "",
        "redirect_dir": "nofollow",
        "index": "off",
        "metacopy": "off",
    }
    tree = mount.filesystem("overlay", settings, area.options)
    parent, name = place(view, area.directory, directory=True)
    mount.attach(tree, parent, name)
    os.close(parent)


def _pivot(root: int) -> None:
    os.fchdir(root)
    libc.pivot_root(".", ".")
    libc.umount2(".", MNT_DETACH)
    os.chdir("/")
    os.close(root)


def _lock(identity: Identity) -> None:
    """A second user and mount namespace: mounts made in the first are locked for it (mount_namespaces(7)).

    So even with CAP_SYS_ADMIN left in, the job could neither clear a read-only flag nor unmount a mask.
    """
    libc.unshare(CLONE_NEWUSER | CLONE_NEWNS)
    map_ids(identity)
