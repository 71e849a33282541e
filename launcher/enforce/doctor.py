"""What this host can enforce, what each missing part costs, and how to get it: the probe's report as advice.

Pure: it reads a `launcher.kernel.probe.Report`. The command line prints it. What a launch makes of the same gaps is
`launcher.compile.requirements`; a test holds that the two agree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from launcher.compile.requirements import WITHOUT_NAMESPACES

if TYPE_CHECKING:
    from collections.abc import Callable

    from launcher.kernel.probe import Report

OK = "ok"
DEGRADED = "degraded"  # launches that need it are refused, or run with --allow-degraded
MISSING = "missing"  # no sandbox at all
NOTE = "note"  # nothing is lost, or only comfort

_NOT_TRIED = "not tried, since an earlier step failed"
_NAMESPACES = ("mount_namespace", "pid_namespace", "net_namespace", "ipc_namespace", "uts_namespace")


class Diagnosis:
    """One line of the doctor: `state`, what was `found`, what is lost (`cost`), how to get it (`remedy`).

    `attacks` are the cases of the attack list that are not covered meanwhile. Cost and remedy are "" where all is well.
    """

    __slots__ = ("attacks", "cost", "found", "name", "remedy", "state", "title")

    def __init__(self, row: Row, state: str, found: str, remedy: str) -> None:
        self.name = row.name
        self.title = row.title
        self.state = state
        self.found = found
        self.cost = "" if state == OK else row.cost
        self.remedy = "" if state == OK else remedy
        self.attacks = () if state in (OK, NOTE) else row.attacks

    def to_data(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**{name: getattr(self, name) for name in self.__slots__}, "attacks": list(self.attacks)}


class Row:
    """One thing to look at. `look` gives the state and what was found; `remedy` the way to get it on this host."""

    __slots__ = ("attacks", "cost", "look", "name", "remedy", "title")

    def __init__(
        self,
        name: str,
        title: str,
        look: Callable[[Report], tuple[str, str]],
        *,
        cost: str,
        remedy: str | Callable[[Report], str],
        attacks: tuple[int, ...] = (),
    ) -> None:
        self.name = name
        self.title = title
        self.look = look
        self.cost = cost
        self.remedy = remedy
        self.attacks = attacks


def diagnose(report: Report) -> list[Diagnosis]:
    """Everything that was looked at, in the order of importance."""
    return [_diagnosis(row, report) for row in ROWS]


def verdict(found: list[Diagnosis]) -> str:
    """MISSING when no sandbox can be built, DEGRADED when some launches are refused or weaker, else OK."""
    states = {diagnosis.state for diagnosis in found}
    return MISSING if MISSING in states else DEGRADED if DEGRADED in states else OK


def _diagnosis(row: Row, report: Report) -> Diagnosis:
    state, found = row.look(report)
    return Diagnosis(row, state, found, row.remedy if isinstance(row.remedy, str) else row.remedy(report))


# Looking


def _tried(*names: str, otherwise: str = MISSING) -> Callable[[Report], tuple[str, str]]:
    """OK when all these trials worked, else `otherwise` and the first failure in the kernel's words."""

    def look(report: Report) -> tuple[str, str]:
        for name in names:
            result = report.trials.get(name, _NOT_TRIED)
            if result:
                return otherwise, f"{name.replace('_', ' ')}: {result}"
        return OK, "works"

    return look


def _landlock(report: Report) -> tuple[str, str]:
    failed = report.trials.get("landlock", _NOT_TRIED)
    if failed:
        return DEGRADED, failed
    return OK, f"ABI {report.features.landlock}"


def _landlock_truncate(report: Report) -> tuple[str, str]:
    abi = report.features.landlock
    return (OK, f"ABI {abi}") if abi >= 3 else (NOTE, f"ABI {abi}, the right to truncate came with 3")


def _controller(name: str) -> Callable[[Report], tuple[str, str]]:
    def look(report: Report) -> tuple[str, str]:
        features = report.features
        if name in features.controllers:
            return OK, f"cgroup v{features.cgroup}, {features.controllers[name]}"
        failed = report.trials.get(f"cgroup_{name}", "")
        return DEGRADED, failed or "no control group of ours has it"

    return look


def _pids(report: Report) -> tuple[str, str]:
    state, found = _controller("pids")(report)
    return (state if state == OK else NOTE), found


def _seccomp_notify(report: Report) -> tuple[str, str]:
    return (OK, "works") if report.features.seccomp_notify else (DEGRADED, "the kernel does not know the action")


def _idmapped(report: Report) -> tuple[str, str]:
    if report.features.uid:
        return OK, "not needed: the job runs as you"
    failed = report.trials.get("idmapped_mounts", _NOT_TRIED)
    return (NOTE, failed) if failed else (OK, "works on tmpfs; each file system is tried at the mount")


def _xattr(report: Report) -> tuple[str, str]:
    return (OK, "works") if report.features.tmpfs_xattr else (NOTE, "tmpfs takes no user.* attributes")


def _subordinate(report: Report) -> tuple[str, str]:
    if not report.features.uid:
        return OK, "not needed: the service has an id range of its own"
    count = report.facts["subuids"]
    if count and report.facts["newuidmap"]:
        return OK, f"{count} ids"
    return NOTE, f"{count} ids" + ("" if report.facts["newuidmap"] else ", newuidmap is not installed")


def _audit(report: Report) -> tuple[str, str]:
    state = report.facts["audit"]
    return (OK if state == "on" else NOTE), state


def _docker(report: Report) -> tuple[str, str]:
    socket = report.facts["docker"]
    return (OK, socket) if socket else (NOTE, "no socket that we may use")


# What to do about it


def _userns_remedy(report: Report) -> str:
    features = report.features
    if features.apparmor_userns and features.uid:
        return (
            "AppArmor restricts them (Ubuntu 23.10 and later). Either add /etc/apparmor.d/mlsandbox with "
            "`profile mlsandbox /PATH/TO/python3 flags=(unconfined) { userns, }` and run apparmor_parser -r on it, "
            "or as root: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
        )
    if features.container:
        return (
            f"{features.container} filters them away inside its containers: start this one with --security-opt "
            "seccomp=unconfined --security-opt systempaths=unconfined, or use the container backend from outside"
        )
    return (
        "as root: sysctl -w user.max_user_namespaces=15000; on Debian 10 and older also "
        "sysctl -w kernel.unprivileged_userns_clone=1; in a chroot there are none"
    )


def _cgroup_remedy(report: Report) -> str:
    if report.features.container:
        return "start the container with --cgroupns=private and a writable cgroup mount, or launch from outside"
    if report.features.uid:
        return (
            "on a systemd host run: systemd-run --user --scope -p Delegate=yes mlsandbox launch ...; for all sessions "
            "put `Delegate=cpu memory pids` below [Service] in /etc/systemd/system/user@.service.d/delegate.conf; "
            "or use the service, which runs as root"
        )
    return "mount a cgroup hierarchy with this controller writable at /sys/fs/cgroup"


ROWS: tuple[Row, ...] = (
    Row(
        "user_namespaces", "user namespaces", _tried("user_namespace", "id_map"),
        cost="launches are refused; with --allow-degraded only Landlock, seccomp and resource limits hold a job",
        remedy=_userns_remedy, attacks=(*WITHOUT_NAMESPACES, 82),
    ),
    Row(
        "namespaces", "mount, pid, network, ipc and uts namespaces", _tried(*_NAMESPACES),
        cost="nothing can be launched: the job would share them with the host", remedy=_userns_remedy,
    ),
    Row(
        "mount_api", "mounts by descriptor", _tried("tmpfs"),
        cost="nothing can be launched: sources could be swapped between check and mount (attack 5)",
        remedy="Linux 5.12 or later, and no seccomp filter around us that refuses fsopen and mount_setattr",
    ),
    Row(
        "proc", "a /proc of the job's own", _tried("proc"),
        cost="nothing can be launched: the kernel refuses a new /proc where the one in sight is partly covered",
        remedy="inside a container: --security-opt systempaths=unconfined; else unmount what covers parts of /proc",
    ),
    Row(
        "overlayfs", "overlayfs in a user namespace", _tried("overlay", otherwise=DEGRADED),
        cost="writes cannot be staged: policies that grant writing are refused unless they are `live`",
        remedy="modprobe overlay (Linux 5.11 or later)",
    ),
    Row(
        "seccomp", "system call filter", _tried("seccomp", otherwise=DEGRADED),
        cost="system calls are not filtered: launches are refused, or degraded with --allow-degraded",
        remedy="a kernel with CONFIG_SECCOMP_FILTER",
        attacks=(13, 16, 34, 37, 49, 50, 51, 52, 53, 57, 58, 73, 74, 75, 90),
    ),
    Row(
        "seccomp_notify", "execve refused after the start", _seccomp_notify,
        cost="a job without any command could still start what it can execute", remedy="Linux 5.0 or later",
        attacks=(16, 17),
    ),
    Row(
        "landlock", "Landlock", _landlock,
        cost="rights within what is mounted are not narrowed: launches are refused, or degraded with --allow-degraded",
        remedy="a kernel with CONFIG_SECURITY_LANDLOCK, and `landlock` in the lsm= list of its command line",
        attacks=(16, 17, 74),
    ),
    Row(
        "landlock_truncate", "Landlock's right to truncate", _landlock_truncate,
        cost="live grants that allow writing but not appending and deleting are staged instead",
        remedy="Linux 6.2 or later",
    ),
    Row(
        "cgroup_memory", "memory limit", _controller("memory"),
        cost="max_memory cannot be held: policies with it are refused, or degraded with --allow-degraded",
        remedy=_cgroup_remedy, attacks=(81,),
    ),
    Row(
        "cgroup_cpu", "processor quota and the tree's processor time", _controller("cpu"),
        cost="cpus cannot be held, and max_cpu_time only for each process",
        remedy=_cgroup_remedy, attacks=(85,),
    ),
    Row(
        "cgroup_pids", "process limit", _pids,
        cost="max_processes is held by RLIMIT_NPROC in the job's own user namespace, which is as exact",
        remedy=_cgroup_remedy,
    ),
    Row(
        "idmapped_mounts", "id-mapped mounts", _idmapped,
        cost="a tenant's files can only be used by a job that runs with the tenant's own id",
        remedy="Linux 5.12 or later on a file system that has them (ext4, xfs, btrfs, tmpfs; not overlayfs, NFS)",
    ),
    Row(
        "tmpfs_xattr", "user attributes on tmpfs", _xattr,
        cost="in staged trees a directory that the job removed cannot be made anew under the same name",
        remedy="Linux 6.6 or later",
    ),
    Row(
        "subordinate_ids", "subordinate ids", _subordinate,
        cost="a job of a plain user runs with that user's own id; tenants are told apart by the service only",
        remedy="apt install uidmap, and as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER",
    ),
    Row(
        "audit", "kernel audit", _audit,
        cost="denials that only the kernel sees are not in the audit log; our own decisions always are",
        remedy="as root: auditctl -e 1 (mlsandbox never switches it on, since it is the whole host's)",
    ),
    Row(
        "docker", "Docker engine", _docker,
        cost="the container backend is not available", remedy="install it, or add yourself to the group docker",
    ),
)  # fmt: skip
