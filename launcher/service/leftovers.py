"""What a launcher that was killed leaves behind: empty control groups, interrupted commits, half-made cache files. [L]

`sweep` looks at every launch, before anything of the host is planned: a commit that was interrupted is finished or
undone before another job sees half of it. It costs a few stat(2) and one listing where there is nothing. `clean` is
`doctor --clean`: the same, and the rarer places. Processes, mounts and namespaces need nobody: they end with the
launcher (`enforce.namespace.init`).
"""

from __future__ import annotations

import os
import stat

from launcher.audit.event import event
from launcher.enforce.namespace import cgroup
from launcher.enforce.namespace.fork import Effective
from launcher.enforce.namespace.spec import Identity

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from launcher.audit.log import AuditLog
    from launcher.policy.paths import Locations

# What a journal can raise that is not one of ours; recovery reads it as data.
_MALFORMED = (ValueError, KeyError, TypeError, AttributeError, IndexError)
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_STUCK = "stuck"
CGROUP, COMMIT, FILE = "control group", "commit", "temporary file"


class Leftover:
    """Something that was found: its `kind`, `name`, and what became of it ("removed", "finished", "stuck: why")."""

    __slots__ = ("kind", "name", "outcome")

    def __init__(self, kind: str, name: str, outcome: str) -> None:
        self.kind = kind
        self.name = name
        self.outcome = outcome

    @property
    def stuck(self) -> bool:
        """Whether it is still there, and needs somebody: `outcome` says why."""
        return self.outcome.startswith(_STUCK)

    def to_data(self) -> dict[str, str]:
        return {name: getattr(self, name) for name in self.__slots__}


def sweep(locations: Locations, log: AuditLog) -> list[Leftover]:
    """What a launch tidies up before it plans. Raises AuditError where a recovered commit cannot be recorded."""
    return [*_commits(f"{locations.state}/journals", log), *_cgroups(), *_temporaries(locations.cache, _of_cache)]


def clean(locations: Locations, log: AuditLog) -> list[Leftover]:
    """`sweep`, and what other verbs leave when they are killed. Raises AuditError."""
    return [
        *sweep(locations, log),
        *_temporaries(locations.policies, lambda name: name.startswith(".")),
        *_temporaries(os.path.dirname(locations.token), lambda name: name == os.path.basename(locations.token)),
    ]


def _cgroups() -> Iterable[Leftover]:
    return [Leftover(CGROUP, path, "removed") for path in cgroup.remove_leftovers()]


# -- interrupted commits ----------------------------------------------------------------------------------------------


def _commits(journals: str, log: AuditLog) -> list[Leftover]:
    """Each writer has a directory of journals, named by his uid. What is stuck stays, and is not recorded each time."""
    found = []
    for name in _names(journals):
        if _names(f"{journals}/{name}"):
            outcomes = _recover(journals, name)
            done = [_recorded(job, name, outcome) for job, outcome in outcomes if not outcome.startswith(_STUCK)]
            if done:
                log.append(done)
            found += [Leftover(COMMIT, job, outcome) for job, outcome in outcomes]
    return found


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []


def _recover(journals: str, name: str) -> list[tuple[str, str]]:
    """Recovers the commits of one writer with his own ids: (job, outcome) of each."""
    from launcher.enforce.staging.commit import recover

    if os.stat(journals).st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        # A writer who could walk here could have put a journal, a fifo or a lock of his own into his directory.
        return [(name, f"{_STUCK}: {journals} must have mode 0700")]
    fd = os.open(f"{journals}/{name}", _DIRECTORY)
    before = Effective(Identity("", os.geteuid(), os.getegid(), os.getgroups())) if os.geteuid() == 0 else None
    try:
        return recover(f"/proc/self/fd/{fd}", _acting_as(os.fstat(fd).st_uid))
    except _MALFORMED as error:
        return [(name, f"{_STUCK}: a journal there is not one of ours ({type(error).__name__})")]
    except OSError as error:
        return [(name, f"{_STUCK}: {error.strerror}")]
    finally:
        if before:
            before.restore()
        os.close(fd)


def _acting_as(owner: int) -> Callable[[dict[str, Any]], None] | None:
    """What takes the ids of a commit; None where they are this process's own.

    The uid is that of the directory's owner, and no record can say otherwise; the groups are those of the record that
    the owner has.
    """
    if os.geteuid() != 0 or owner == 0:
        return None

    def act(begin: dict[str, Any]) -> None:
        uid, gid, groups = begin["ids"]
        has = _groups_of(owner)
        if uid != owner or gid not in has:
            raise ValueError("ids of somebody else")
        os.seteuid(0)  # the journal before this one may have taken ids
        Effective(Identity("", owner, gid, [group for group in groups if group in has]))

    return act


def _groups_of(uid: int) -> set[int]:
    """The groups of an account; an id of the range has one of its own number."""
    import pwd

    try:
        account = pwd.getpwuid(uid)
    except KeyError:
        return {uid}
    return {account.pw_gid, *os.getgrouplist(account.pw_name, account.pw_gid)} - {0}


def _recorded(job: str, writer: str, outcome: str) -> dict[str, object]:
    return event("commit.recovered", "commit", job=job, resource=job, detail={"outcome": outcome, "uid": writer})


# -- temporary files --------------------------------------------------------------------------------------------------


def _temporaries(directory: str, ours: Callable[[str], bool]) -> list[Leftover]:
    """Files that were to replace NAME at once: NAME.PID or NAME.PID.new of a process that is gone.

    Only of names that are `ours`: the segments of an audit log end with a number as well.
    """
    found = []
    for file in _names(directory):
        name, _, number = file.removesuffix(".new").rpartition(".")
        if number.isdecimal() and ours(name) and _unlinked(f"{directory}/{file}", number):
            found.append(Leftover(FILE, f"{directory}/{file}", "removed"))
    return found


def _of_cache(name: str) -> bool:
    """Policies, filters, features-UID.FORMAT."""
    return name.endswith((".marshal", ".bpf")) or (name.startswith("features-") and "." in name)


def _unlinked(path: str, pid: str) -> bool:
    if os.path.exists(f"/proc/{pid}"):
        return False
    try:
        os.unlink(path)
    except OSError:
        return False
    return True
