"""The sandbox's /etc: its own passwd, group, hosts and resolver files, and read-only copies of what programs need."""

from __future__ import annotations

import os
import stat

from launcher.enforce.namespace.binds import Bind
from launcher.enforce.namespace.operations import File, Operation, Symlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from launcher.enforce.namespace.spec import Identity

_NOLOGIN = "/usr/sbin/nologin"
_OVERFLOW = 65534
_LARGEST_COPY = 1 << 20
_BOUND = ("ro", "nosuid", "nodev", "noexec")


def etc_operations(names: list[str], identity: Identity, home: str, hostname: str, shell: str) -> list[Operation]:
    """Steps for each of `names` below /etc; a name that the host does not have is left out."""
    made = _synthesised(identity, home, hostname, shell)
    operations: list[Operation] = []
    for name in names:
        if name in made:
            operations.append(File(f"/etc/{name}", made[name].encode("utf-8", "surrogateescape")))
        else:
            operations += _from_host(f"/etc/{name}")
    return operations


def _synthesised(identity: Identity, home: str, hostname: str, shell: str) -> dict[str, str]:
    name, uid, gid = identity.name, identity.uid, identity.gid
    return {
        "passwd": f"{name}:x:{uid}:{gid}:{name}:{home}:{shell or _NOLOGIN}\n"
        f"nobody:x:{_OVERFLOW}:{_OVERFLOW}:nobody:/nonexistent:{_NOLOGIN}\n",
        "group": f"{name}:x:{gid}:\nnogroup:x:{_OVERFLOW}:\n",
        "hosts": f"127.0.0.1 localhost {hostname}\n::1 localhost ip6-localhost ip6-loopback\n",
        "hostname": f"{hostname}\n",
        "resolv.conf": "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n",
        "nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\n"
        "protocols: files\nservices: files\nethers: files\nrpc: files\n",
        "machine-id": "00000000000000000000000000000000\n",
    }


def _from_host(path: str) -> list[Operation]:
    """A directory is mounted read-only, a small file is copied, a link whose target is in view stays a link."""
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return []
    # two components, and the last is no link: nothing is left to resolve (what is mounted must be canonical)
    real = path if path.count("/") == 2 else os.path.realpath(path)
    if stat.S_ISLNK(mode):
        text = os.readlink(path)
        target = os.path.normpath(os.path.join("/etc", text))
        if target.startswith("/usr/"):
            return [Symlink(text, path)]
        real = os.path.realpath(path)
        mode = os.stat(real).st_mode if os.path.exists(real) else 0
    if stat.S_ISDIR(mode):
        return [Bind(real, path, _BOUND)]
    try:
        fd = os.open(real, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return []
    try:
        if os.fstat(fd).st_size > _LARGEST_COPY:
            return [Bind(real, path, _BOUND)]
        return [File(path, os.read(fd, _LARGEST_COPY))]
    finally:
        os.close(fd)
