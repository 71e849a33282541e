"""The thorough probe for `doctor`: everything a sandbox is made of is tried for real, in children that then end.

Not on the launch path. Nothing is left behind: what the children mount is in their own namespaces, and the control
groups that are made for the trial are removed again.
"""

from __future__ import annotations

import errno
import marshal
import os
import pwd
import stat
from typing import TYPE_CHECKING, Any

from launcher.kernel import filter as seccomp_filter
from launcher.kernel import landlock, libc, mount
from launcher.kernel.abi import (
    CLONE_NEWCGROUP,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
    MOUNT_ATTR_IDMAP,
    MS_PRIVATE,
    MS_REC,
    PR_SET_DUMPABLE,
    PR_SET_NO_NEW_PRIVS,
)
from launcher.kernel.features import Features, fast

if TYPE_CHECKING:
    from collections.abc import Callable

_NAMESPACES = {
    "mount_namespace": CLONE_NEWNS,
    "pid_namespace": CLONE_NEWPID,
    "net_namespace": CLONE_NEWNET,
    "ipc_namespace": CLONE_NEWIPC,
    "uts_namespace": CLONE_NEWUTS,
    "cgroup_namespace": CLONE_NEWCGROUP,
}
_SCRATCH = "/tmp"  # noqa: S108  covered by our own tmpfs, in our own mount namespace, before it is used
_ALLOW_ALL = (0x06).to_bytes(8, "little")[:4] + (0x7FFF0000).to_bytes(4, "little")  # BPF_RET | BPF_K, RET_ALLOW
_DOCKER_SOCKETS = ("/run/docker.sock", "/var/run/docker.sock")
_ANSWER_LIMIT = 65536


class Report:
    """What was found.

    features   as a launch sees them, corrected by the trials
    trials     name -> "" when it worked, else the step and the kernel's words
    facts      name -> plain value, for what is not tried: subuids, subgids, audit, docker, kernel, lsm
    """

    __slots__ = ("facts", "features", "trials")

    def __init__(self, features: Features, trials: dict[str, str], facts: dict[str, Any]) -> None:
        self.features = features
        self.trials = trials
        self.facts = facts

    def to_data(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"features": self.features.to_data(), "trials": self.trials, "facts": self.facts}


def full() -> Report:
    """Tries everything; takes some 20 ms and forks. Never raises for what the host lacks."""
    guess = fast()
    trials = _in_child(_try_namespaces)
    trials.update(_in_child(_try_confinement))
    trials["idmapped_mounts"] = _in_child(_try_idmap).get("idmapped_mounts", "not tried")
    trials.update({f"cgroup_{name}": _try_group(place) for name, place in sorted(guess.controllers.items())})
    return Report(_corrected(guess, trials), trials, _facts())


def _corrected(guess: Features, trials: dict[str, str]) -> Features:
    usable = {name: place for name, place in guess.controllers.items() if not trials[f"cgroup_{name}"]}
    built = all(not trials.get(name, "not tried") for name in ("user_namespace", "mount_namespace", "pid_namespace"))
    return guess.replaced(
        user_namespaces=built and not trials.get("proc", "not tried"),
        net_namespaces=not trials.get("net_namespace", "not tried"),
        mount_api=not trials.get("tmpfs", "not tried"),
        overlayfs=not trials.get("overlay", "not tried"),
        idmapped_mounts=not trials["idmapped_mounts"],
        landlock=0 if trials.get("landlock", "not tried") else guess.landlock,
        seccomp=not trials.get("seccomp", "not tried"),
        controllers=usable,
        cgroup=guess.cgroup if usable else 0,
    )


# Trials: each runs in a child of its own and fills a dictionary, which is the child's only way out.


def _in_child(trial: Callable[[dict[str, str]], None]) -> dict[str, str]:
    """What `trial` wrote down, also when it died half-way."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if not pid:
        found: dict[str, str] = {}
        try:
            trial(found)
        finally:
            # The child never returns into the caller's stack, whatever happened.
            os.write(writer, marshal.dumps(found))
            os._exit(0)
    os.close(writer)
    data = b"".join(iter(lambda: os.read(reader, _ANSWER_LIMIT), b""))
    os.close(reader)
    os.waitpid(pid, 0)
    result: dict[str, str] = marshal.loads(data) if data else {}  # noqa: S302  written by our own child
    return result


def _attempt(found: dict[str, str], name: str, step: Callable[[], object]) -> bool:
    try:
        step()
    except OSError as error:
        found[name] = f"{error.strerror} ({errno.errorcode.get(error.errno or 0, error.errno)})"
        return False
    found[name] = ""
    return True


def _try_namespaces(found: dict[str, str]) -> None:
    uid, gid = os.geteuid(), os.getegid()
    if not _attempt(found, "user_namespace", lambda: libc.unshare(CLONE_NEWUSER)):
        return
    if not _attempt(found, "id_map", lambda: _map_to_self(uid, gid)):
        return
    for name, flag in _NAMESPACES.items():
        _attempt(found, name, lambda flag=flag: libc.unshare(flag))  # type: ignore[misc]
    if found["mount_namespace"]:
        return
    _attempt(found, "tmpfs", _mount_scratch)
    if not found["tmpfs"]:
        _attempt(found, "overlay", _mount_overlay)
    if not found["pid_namespace"]:
        found.update(_in_child(_try_proc))


def _map_to_self(uid: int, gid: int) -> None:
    # After a change of ids a process is not dumpable and its /proc files are root's.
    libc.prctl(PR_SET_DUMPABLE, 1)
    # user_namespaces(7): without CAP_SETGID outside, gid_map needs setgroups denied first.
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"0 {uid} 1")
    _write("/proc/self/gid_map", f"0 {gid} 1")


def _mount_scratch() -> None:
    libc.mount("none", "/", "", MS_REC | MS_PRIVATE)
    mount.attach(mount.filesystem("tmpfs", {"size": "1m"}, ["nosuid", "nodev"]), libc.HERE, _SCRATCH)


def _mount_overlay() -> None:
    for name in ("lower", "upper", "work"):
        os.mkdir(f"{_SCRATCH}/{name}")
    settings = {"lowerdir": f"{_SCRATCH}/lower", "upperdir": f"{_SCRATCH}/upper", "workdir": f"{_SCRATCH}/work"}
    os.close(mount.filesystem("overlay", {**settings, "userxattr": ""}, ["nosuid", "nodev"]))


def _try_proc(found: dict[str, str]) -> None:
    """In the first process of the new pid namespace. Refused (EPERM) where the /proc we see is masked: containers."""
    _attempt(found, "proc", lambda: os.close(mount.filesystem("proc", {}, ["nosuid", "nodev", "noexec"])))


def _try_confinement(found: dict[str, str]) -> None:
    if not _attempt(found, "no_new_privs", lambda: libc.prctl(PR_SET_NO_NEW_PRIVS, 1)):
        return
    _attempt(found, "seccomp", lambda: seccomp_filter.install(_ALLOW_ALL))
    _attempt(found, "landlock", _confine)


def _confine() -> None:
    version = landlock.abi()
    if not version:
        raise OSError(errno.EOPNOTSUPP, "not built in, or not in the list of active LSMs")
    landlock.Ruleset(version).restrict_self()
    try:
        os.close(os.open("/", os.O_RDONLY))
    except OSError as error:
        if error.errno == errno.EACCES:
            return
        raise
    raise OSError(errno.EOPNOTSUPP, "a ruleset without rules let / be opened")


def _try_idmap(found: dict[str, str]) -> None:
    _attempt(found, "idmapped_mounts", _idmap)


def _idmap() -> None:
    """A detached tmpfs, id-mapped by the user namespace of a child that waits meanwhile."""
    ready, started = os.pipe2(os.O_CLOEXEC)
    hold, release = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if not pid:
        os.close(release)
        try:
            libc.unshare(CLONE_NEWUSER)
            os.write(started, b"1")
            os.read(hold, 1)
        finally:
            os._exit(0)
    os.close(started)
    try:
        if not os.read(ready, 1):
            raise OSError(errno.EPERM, "no user namespace to map with")
        _write(f"/proc/{pid}/uid_map", "1000 2000 1")
        _write(f"/proc/{pid}/gid_map", "1000 2000 1")
        userns = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        tree = mount.filesystem("tmpfs", {}, ["nosuid", "nodev"])
        libc.mount_setattr(tree, 0, attr_set=MOUNT_ATTR_IDMAP, userns_fd=userns)
    finally:
        os.close(release)
        os.waitpid(pid, 0)


def _try_group(parent: str) -> str:
    """Makes a control group below `parent` and removes it."""
    found: dict[str, str] = {}
    path = f"{parent}/mlsandbox-probe-{os.getpid()}"
    if _attempt(found, "group", lambda: os.mkdir(path)):
        _attempt(found, "group", lambda: os.rmdir(path))
    return found["group"]


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


# Facts: read, not tried.


def _facts() -> dict[str, Any]:
    return {
        "kernel": os.uname().release,
        "machine": os.uname().machine,
        "lsm": _text("/sys/kernel/security/lsm").strip(),
        "subuids": _subordinate("/etc/subuid"),
        "subgids": _subordinate("/etc/subgid"),
        "newuidmap": _set_id("/usr/bin/newuidmap"),
        "audit": _audit(),
        "docker": next((path for path in _DOCKER_SOCKETS if os.access(path, os.R_OK | os.W_OK)), ""),
    }


def _subordinate(path: str) -> int:
    """How many subordinate ids the caller has, subuid(5): lines of `name-or-id:first:count`."""
    names = {str(os.geteuid())}
    try:
        names.add(pwd.getpwuid(os.geteuid()).pw_name)
    except KeyError:
        pass
    rows = [line.split(":") for line in _text(path).splitlines()]
    return sum(int(row[2]) for row in rows if len(row) == 3 and row[0] in names and row[2].isdigit())


def _set_id(path: str) -> bool:
    """Whether the helper is there and has its privilege: set-id, or file capabilities (Fedora, Debian 13)."""
    try:
        if os.stat(path).st_mode & stat.S_ISUID:
            return True
        return bool(os.getxattr(path, "security.capability"))
    except OSError:
        return False


def _audit() -> str:
    """The host's audit: "on", "off", "absent", or "unknown" where we may not ask. Kernel denials are logged when on."""
    from launcher.kernel import audit_status

    try:
        return audit_status.ask()
    except OSError as error:
        return "absent" if error.errno in {errno.EPROTONOSUPPORT, errno.ECONNREFUSED} else "unknown"


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError:
        return ""
