"""Which host ids a job runs with: never 0, never another tenant's.

A plain user's jobs run with the user's own ids. Started as root, a job runs with the OS user's ids, or, for root
itself and for people whom the host does not know, with an id of the configured range that belongs to that name for
good (a re-used id would own the files of whoever had it before; attack 98).
"""

from __future__ import annotations

import fcntl
import os

from launcher.enforce.namespace.spec import Identity
from launcher.errors import ConfigurationError, RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from launcher.identity.user import User
    from launcher.policy.paths import Locations

_FILE = "host-ids"
DEFAULT_RANGE = (1_879_048_192, 65_536)  # 0x70000000: above what adduser, systemd and subuid tools hand out


def identity_of(user: User, locations: Locations, id_range: tuple[int, int] | None) -> Identity:
    """The ids for a job of `user`. Raises RefusedError, ConfigurationError."""
    if os.geteuid() != 0:
        return Identity(user.name, os.geteuid(), os.getegid(), os.getgroups())
    if user.uid:
        gid = user.gid or user.uid
        if gid == 0:
            raise RefusedError(f"{user.name} has group 0 on this host", hint="give the account a group of its own")
        return Identity(user.name, user.uid, gid, [group for group in os.getgrouplist(user.name, gid) if group != 0])
    number = _allocated(user.name, f"{locations.state}/{_FILE}", id_range or DEFAULT_RANGE)
    return Identity(user.name, number, number, ())


def service_identity(what: str, locations: Locations, id_range: tuple[int, int] | None) -> Identity:
    """The ids of a part of the launcher itself. A tab cannot be in a user's name, so it is nobody's."""
    number = _allocated(f"\t{what}", f"{locations.state}/{_FILE}", id_range or DEFAULT_RANGE)
    return Identity(what, number, number, ())


def _allocated(name: str, path: str, id_range: tuple[int, int]) -> int:
    """The id of `name` in the file of allocations, which is only ever appended to, under a lock."""
    os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        taken = {}
        for line in os.read(fd, os.fstat(fd).st_size).decode("utf-8", "surrogateescape").splitlines():
            number, _, holder = line.partition("\t")
            taken[holder] = int(number)
        if name not in taken:
            first, count = id_range
            number_of = next((number for number in range(first, first + count) if number not in taken.values()), None)
            if number_of is None:
                raise ConfigurationError(f"all {count} ids of the range are taken", hint="make `id_range` larger")
            os.write(fd, f"{number_of}\t{name}\n".encode("utf-8", "surrogateescape"))
            os.fsync(fd)
            return number_of
        return taken[name]
    finally:
        os.close(fd)
