"""What this host can enforce, found by asking the kernel and never by its version.

`fast()` is for a launch: no fork, no mount, a few reads and system calls that are made to fail. A call that is given
an argument no kernel accepts tells a seccomp filter above us (EPERM, ENOSYS: Docker's default profile) from the
kernel itself (EINVAL), without any effect. `launcher.kernel.probe.full()` tries everything for real, for `doctor`.

A wrong guess here is never a hole: the step that then fails refuses the launch.
"""

from __future__ import annotations

import errno
import os

from launcher.kernel import landlock, libc, places
from launcher.kernel.abi import CLONE_NEWUSER, NR
from launcher.kernel.places import read as _read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

# <linux/seccomp.h>
_SECCOMP_GET_ACTION_AVAIL = 2
_SECCOMP_RET_ERRNO = 0x00050000  # Linux 3.17
_SECCOMP_RET_USER_NOTIF = 0x7FC00000  # Linux 5.0
_NO_SUCH_FLAG = 0x1
_NO_FD = 0xFFFFFFFF

_ROOT_NAMES = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_CONTAINER_MARKS = (("/.dockerenv", "docker"), ("/run/.containerenv", "podman"))


class Features:
    """One host as `compile` sees it: plain values, so that a profile for another machine can be computed anywhere.

    uid               who builds the sandbox (0: root, who drops to an unprivileged id first)
    container         "docker", "podman" or "" when not in one that is known
    user_namespaces   may make user namespaces with full rights inside
    apparmor_userns   AppArmor restricts user namespaces of unprivileged programs (Ubuntu 23.10 and later) and so ours
    net_namespaces    network namespaces exist
    landlock          Landlock ABI, 0 for none
    seccomp, seccomp_notify, mount_api, idmapped_mounts, overlayfs, tmpfs_xattr
    cgroup            0, 1 or 2: the hierarchy that has the controllers we may use
    controllers       controller name -> directory in which a group with it may be made (`launcher.kernel.places`)
    root_links        "bin" -> "usr/bin" where /bin is a link, "" where it is a directory; absent names are absent
    """

    __slots__ = (
        "apparmor_userns",
        "cgroup",
        "container",
        "controllers",
        "idmapped_mounts",
        "landlock",
        "mount_api",
        "net_namespaces",
        "overlayfs",
        "root_links",
        "seccomp",
        "seccomp_notify",
        "tmpfs_xattr",
        "uid",
        "user_namespaces",
    )

    apparmor_userns: bool
    cgroup: int
    container: str
    controllers: dict[str, str]
    idmapped_mounts: bool
    landlock: int
    mount_api: bool
    net_namespaces: bool
    overlayfs: bool
    root_links: dict[str, str]
    seccomp: bool
    seccomp_notify: bool
    tmpfs_xattr: bool
    uid: int
    user_namespaces: bool

    def __init__(self, values: Mapping[str, Any]) -> None:
        """Raises KeyError unless `values` has exactly the names above (a cache of another release has not)."""
        if set(values) != set(self.__slots__):
            raise KeyError(*(set(values) ^ set(self.__slots__)))
        for name in self.__slots__:
            setattr(self, name, values[name])

    def to_data(self) -> dict[str, Any]:
        """Plain JSON values; `Features(data)` makes an equal one."""
        return {name: getattr(self, name) for name in self.__slots__}

    def replaced(self, **values: object) -> Features:
        """The same host but for `values`."""
        return Features({**self.to_data(), **values})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Features) and self.to_data() == other.to_data()

    __hash__ = None  # type: ignore[assignment]  # it holds dictionaries

    def __repr__(self) -> str:
        return f"Features({self.to_data()!r})"


def fast(cache_dir: str = "") -> Features:
    """What one launch needs, without forks or effects. With `cache_dir` the result is kept there until reboot.

    The cache holds for one boot, user, cgroup, mount and user namespace, and the sysctls that change the answer.
    """
    key = _identity()
    if not cache_dir:
        return _look(key)
    from launcher.kernel import feature_cache

    known = feature_cache.load(cache_dir, key)
    if known is None:
        known = _look(key)
        feature_cache.store(cache_dir, key, known)
    return known


def _identity() -> dict[str, str]:
    """What a result depends on that can change under us: reading it is most of the work of looking."""
    own = _read("/proc/self/cgroup")
    return {
        "boot": _read("/proc/sys/kernel/random/boot_id"),
        "uid": str(os.geteuid()),
        "cgroup": own,
        "alone": str(places.alone(own, os.getpid())),
        "mount": str(_inode("/proc/self/ns/mnt")),
        "user": str(_inode("/proc/self/ns/user")),
        "max_user_namespaces": _read("/proc/sys/user/max_user_namespaces"),
        # Debian's own switch; absent elsewhere.
        "unprivileged_userns_clone": _read("/proc/sys/kernel/unprivileged_userns_clone"),
        "apparmor_restrict": _read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
        # The restriction is for unconfined programs; a profile of our own may allow them.
        "apparmor_label": _read("/proc/self/attr/current").strip("\0\n"),
    }


def _look(key: dict[str, str]) -> Features:
    uid = os.geteuid()
    apparmor = _apparmor_restricts(key)
    version, controllers = places.find(key["cgroup"], os.getpid())
    mount_api = _answers(NR["mount_setattr"], _NO_FD, 0, 0, 0, 0)
    return Features(
        {
            "uid": uid,
            "container": next((name for mark, name in _CONTAINER_MARKS if os.path.exists(mark)), ""),
            "user_namespaces": _user_namespaces(uid, key, apparmor=apparmor),
            "apparmor_userns": apparmor,
            "net_namespaces": os.path.exists("/proc/self/ns/net"),
            "landlock": landlock.abi(),
            "seccomp": _action_available(_SECCOMP_RET_ERRNO),
            "seccomp_notify": _action_available(_SECCOMP_RET_USER_NOTIF),
            "mount_api": mount_api,
            # MOUNT_ATTR_IDMAP came with mount_setattr (Linux 5.12); it asks for CAP_SYS_ADMIN where the file
            # system was mounted, so a plain user never has it. Whether a file system can is seen at the mount.
            "idmapped_mounts": mount_api and uid == 0,
            "overlayfs": _overlayfs(),
            "tmpfs_xattr": _tmpfs_xattr(),
            "cgroup": version,
            "controllers": controllers,
            "root_links": root_links(),
        }
    )


def _apparmor_restricts(key: dict[str, str]) -> bool:
    """Whether the sysctl is on and no profile of AppArmor is attached to this program. A profile that does not allow
    user namespaces is found out at the step itself, and by `doctor`.
    """
    return key["apparmor_restrict"].strip() == "1" and key["apparmor_label"] in ("", "unconfined")


def _user_namespaces(uid: int, key: dict[str, str], *, apparmor: bool) -> bool:
    limit = key["max_user_namespaces"].strip()
    if not limit.isdigit() or int(limit) == 0:
        return False
    if uid and (key["unprivileged_userns_clone"].strip() == "0" or apparmor):
        return False
    # The kernel refuses the unknown flag before it does anything (check_unshare_flags); a filter sees NEWUSER first.
    return _answers(NR["unshare"], CLONE_NEWUSER | _NO_SUCH_FLAG)


def _answers(number: int, *words: int) -> bool:
    """Whether the kernel itself rejects these arguments: EPERM and ENOSYS come from a filter or from no such call."""
    return libc.syscall(number, *words) < 0 and libc.errno() == errno.EINVAL


def _action_available(action: int) -> bool:
    return libc.syscall(NR["seccomp"], _SECCOMP_GET_ACTION_AVAIL, 0, action.to_bytes(4, "little")) == 0


def _overlayfs() -> bool:
    """Loaded or built in, or a module: the kernel loads it at the first mount."""
    if "\toverlay\n" in _read("/proc/filesystems"):
        return True
    return os.path.isdir(f"/lib/modules/{os.uname().release}/kernel/fs/overlayfs")


def _tmpfs_xattr() -> bool:
    """user.* attributes on tmpfs (Linux 6.6), which an unprivileged overlay wants of its upper. A memfd is on tmpfs."""
    try:
        fd = os.memfd_create("mlsandbox-probe")
    except OSError:
        return False
    try:
        os.setxattr(fd, "user.mlsandbox", b"")
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def root_links(root: str = "/") -> dict[str, str]:
    """How /bin, /lib and their kin stand in `root`: link text, or "" for a directory. Merged-/usr hosts have links."""
    found = {}
    for name in _ROOT_NAMES:
        try:
            found[name] = os.readlink(root + name)
        except OSError as error:
            if error.errno == errno.EINVAL:  # it is there and no link
                found[name] = ""
    return found


def _inode(path: str) -> int:
    try:
        return os.stat(path).st_ino
    except OSError:
        return 0
