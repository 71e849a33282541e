"""The provider "os": who the kernel says the caller is. On the launch path."""

from __future__ import annotations

import grp
import os
import pwd
import time

from launcher.errors import IdentityError
from launcher.identity.user import NO_HOME, User, valid_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

METHOD = "os"
_SHADOW = "/etc/shadow"
_DAY = 86_400


def authenticate() -> User:
    """The real uid of this process, which nobody but root can choose. Raises IdentityError for a disabled account."""
    return by_uid(os.getuid())


def by_uid(uid: int) -> User:
    """The user with this uid. One without a passwd entry (in a container) is called `#UID`, as sudo writes it."""
    try:
        return _from_entry(pwd.getpwuid(uid))
    except KeyError:
        gid = os.getgid() if uid == os.getuid() else uid
        return User(f"#{uid}", uid=uid, gid=gid, method=METHOD, home=NO_HOME)


def by_name(name: str, lookup: Callable[[str], pwd.struct_passwd] = pwd.getpwnam) -> User | None:
    """The user of this exact name, or None when the host has none. Raises IdentityError for a disabled account.

    The name that comes back must be the name asked for: a directory that folds case would make one user of two.
    """
    if not name or "\0" in name:
        return None
    try:
        entry = lookup(name)
    except (KeyError, UnicodeEncodeError):
        return None
    return _from_entry(entry) if entry.pw_name == name else None


def _from_entry(entry: pwd.struct_passwd) -> User:
    if expired(entry.pw_name, time.time()):
        raise IdentityError(
            f"the account {entry.pw_name!r} has expired", hint=f"an administrator can run: chage -E -1 {entry.pw_name}"
        )
    home = entry.pw_dir if entry.pw_dir.startswith("/") else NO_HOME
    names = group_names(entry.pw_name, entry.pw_gid)
    return User(entry.pw_name, uid=entry.pw_uid, gid=entry.pw_gid, groups=names, method=METHOD, home=home)


def group_names(name: str, gid: int) -> tuple[str, ...]:
    """The names of the groups that `name` is in; groups without a name cannot be named by a policy and are left out."""
    names: list[str] = []
    for number in os.getgrouplist(name, gid):
        try:
            names.append(grp.getgrgid(number).gr_name)
        except KeyError:
            continue
    return tuple(dict.fromkeys(names))


def expired(name: str, now: float, path: str = _SHADOW) -> bool:
    """Whether shadow(5) says that the account has expired, which is how an administrator disables one.

    Only root can read it; for anybody else the login already made the check. A locked password (`!`) is no sign:
    accounts that use keys alone have one.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    table = bytearray(os.fstat(descriptor).st_size)
    try:
        os.readv(descriptor, [table])
        day = _expiry(table, os.fsencode(name))
    finally:
        # The hashes of everybody's passwords must not stay in memory from which a job may be forked (attack 9).
        table[:] = bytes(len(table))
        os.close(descriptor)
    return day.isdigit() and int(day) * _DAY <= now


def _expiry(table: bytearray, name: bytes) -> bytes:
    """The eighth field of the line of `name`, found without copying what stands before it."""
    start = 0 if table.startswith(name + b":") else table.find(b"\n" + name + b":") + 1
    if not table.startswith(name + b":", start):
        return b""
    end = table.find(b"\n", start)
    end = len(table) if end < 0 else end
    for _ in range(7):
        start = table.find(b":", start, end) + 1
        if not start:
            return b""
    stop = table.find(b":", start, end)
    return bytes(table[start : end if stop < 0 else stop])


def named(name: str) -> User:
    """Somebody an operator names: the host's user, or one whom only policies know. Raises IdentityError."""
    user = by_name(name)
    if user is not None:
        return user
    if not valid_name(name):
        raise IdentityError(f"{name!r} is not a user name", hint="letters, digits and . _ @ + - , at most 128")
    return User(name, method="named")
