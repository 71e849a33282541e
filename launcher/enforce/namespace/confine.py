"""In the child, after the view is built: giving up everything that a job must not have."""

from __future__ import annotations

import os
import stat

from launcher.kernel import libc
from launcher.kernel.abi import (
    KEYCTL_JOIN_SESSION_KEYRING,
    PR_CAP_AMBIENT,
    PR_CAP_AMBIENT_CLEAR_ALL,
    PR_CAPBSET_DROP,
    PR_SET_DUMPABLE,
    PR_SET_NAME,
    PR_SET_NO_NEW_PRIVS,
    PR_SET_SECUREBITS,
    SECUREBITS_ALL_LOCKED,
)
from launcher.kernel.landlock import FILE_RIGHTS, Ruleset

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from launcher.enforce.namespace.spec import Rule

_LAST_CAPABILITY = 63
_LONGEST_STAT = 4096  # 52 numbers and a name of 16 bytes


def drop_privileges() -> None:
    """No capability in any set, no way to get one back, a session keyring of its own. Raises OSError."""
    libc.keyctl(KEYCTL_JOIN_SESSION_KEYRING)
    libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    _drop_bounding_set()
    libc.prctl(PR_SET_SECUREBITS, SECUREBITS_ALL_LOCKED)
    libc.capset_none()
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1)


def _drop_bounding_set() -> None:
    for capability in range(_LAST_CAPABILITY + 1):
        try:
            libc.prctl(PR_CAPBSET_DROP, capability)
        except OSError:  # EINVAL: beyond the last capability of this kernel
            if capability == 0:
                raise
            return


def forget_command_line() -> None:
    """Empties this process's argument and environment areas and its name: /proc/1/cmdline tells the job nothing."""
    fd = os.open("/proc/self/stat", os.O_RDONLY | os.O_CLOEXEC)
    fields = os.read(fd, _LONGEST_STAT).rpartition(b") ")[2].split()
    os.close(fd)
    # proc(5): fields 48 to 51 are arg_start, arg_end, env_start, env_end; `fields` begins at field 3.
    arg_start, arg_end, env_start, env_end = (int(field) for field in fields[45:49])
    for start, end in ((arg_start, arg_end), (env_start, env_end)):
        if 0 < start < end:
            libc.overwrite_memory(start, end - start)
    libc.prctl(PR_SET_NAME, b"init\0")
    libc.prctl(PR_SET_DUMPABLE, 0)


def restrict_files(abi: int, rules: Sequence[Rule]) -> None:
    """Applies the Landlock rules. A path that is a file gets only the rights that a file can have."""
    if not abi:
        return
    ruleset = Ruleset(abi)
    for rule in rules:
        try:
            fd = os.open(rule.path, os.O_PATH | os.O_CLOEXEC)
        except FileNotFoundError:
            if rule.optional:
                continue
            raise
        rights = rule.rights if stat.S_ISDIR(os.fstat(fd).st_mode) else rule.rights & FILE_RIGHTS
        if rights:
            ruleset.allow(fd, rights, rule.path)
        os.close(fd)
    ruleset.restrict_self()
