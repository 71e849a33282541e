"""What a profile needs of the host, what happens where it is missing, and how to get it: one table.

Fail closed: a missing row refuses the launch. Rows that leave a sandbox standing can be accepted by the operator
(`--allow-degraded`), and are then in the profile's `unenforced` with the attack cases that are no longer covered.
"""

from __future__ import annotations

from launcher.compile.options import ARGUMENTS, DEVICES, EGRESS, JOBS, KEYCHAIN, SOCKETS
from launcher.errors import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from launcher.compile.options import Options
    from launcher.kernel.features import Features

    Data = dict[str, Any]

REFUSE = "refuse"  # without it there is no sandbox
DEGRADE = "degrade"  # the operator may accept its absence
REPORT = "report"  # the job merely has less than it was granted: reported, never refused


class Row:
    """One requirement: `missing` says whether this profile needs it and this host (or backend) lacks it."""

    __slots__ = ("attacks", "hint", "missing", "permission", "reason", "severity")

    def __init__(
        self,
        permission: str,
        severity: str,
        missing: Callable[[Data, Features, Options], bool],
        *,
        reason: str,
        hint: str,
        attacks: tuple[int, ...] = (),
    ) -> None:
        self.permission = permission
        self.severity = severity
        self.missing = missing
        self.reason = reason
        self.hint = hint
        self.attacks = attacks


def _limited(data: Data, name: str) -> bool:
    return data["limits"][name] is not None


def _has(features: Features, *controllers: str) -> bool:
    return any(name in features.controllers for name in controllers)


def _no_cpu_accounting(features: Features) -> bool:
    # v1 accounts in cpuacct; v2 in every group's cpu.stat, so any group will do.
    return not features.controllers if features.cgroup == 2 else "cpuacct" not in features.controllers


# What only a view, processes, ids and a network of the job's own stop (docs/explanation/attacks.md). Contents of files
# and execution are held by Landlock, sockets and the rest by seccomp.
WITHOUT_NAMESPACES = (
    1, 5, 7, 10, 12, 16, 17, 19, 23, 26, 27, 28, 29, 30, 31, 32, 40, 43, 45, 46, 47, 48, 92, 95, 97,
)  # fmt: skip

_CGROUP_HINT = (
    "run as root or through the service; as a user on a systemd host: systemd-run --user --scope -p Delegate=yes "
    "mlsandbox launch ..."
)

ROWS: tuple[Row, ...] = (
    Row(
        "sandbox.user_namespaces", DEGRADE, lambda _data, features, _options: not features.user_namespaces,
        reason="this process may not make user namespaces, of which every sandbox is built: only Landlock, system call "
        "filters and resource limits are left. Names and sizes of all files can be seen, other processes too",
        hint="{user_namespaces}",
        attacks=WITHOUT_NAMESPACES,
    ),
    Row(
        "sandbox.only_landlock", REFUSE,
        lambda data, features, _options: not features.user_namespaces
        and (features.landlock < max(1, data["landlock"]["minimum_abi"]) or not features.seccomp),
        reason="without user namespaces Landlock and seccomp are all that could hold a job, and one of them is missing",
        hint="{user_namespaces}",
    ),
    Row(
        "limits.max_disk", DEGRADE,
        lambda data, features, _options: not features.user_namespaces
        and (_limited(data, "max_disk") or _limited(data, "max_files")),
        reason="the temporary directory of the job is on the host's own disk, of which it may use as much as the user",
        hint="{user_namespaces}", attacks=(82,),
    ),
    Row(
        "sandbox.mount_api", REFUSE,
        lambda _data, features, _options: features.user_namespaces and not features.mount_api,
        reason="mounts by descriptor and mount_setattr (Linux 5.12) are not available",
        hint="{mount_api}",
    ),
    Row(
        "sandbox.net_namespaces", REFUSE,
        lambda _data, features, _options: features.user_namespaces and not features.net_namespaces,
        reason="the kernel has no network namespaces, so the job would share the host's network",
        hint="use a kernel with CONFIG_NET_NS",
    ),
    Row(
        "files.staged", REFUSE,
        lambda data, features, _options: bool(data["files"]["staged"])
        and not (features.overlayfs and features.user_namespaces),
        reason="writes are staged in an overlay of the job's own view, which cannot be made here",
        hint="load the overlay module, or make the grant of a whole directory `live: true`",
    ),
    Row(
        "sandbox.seccomp", DEGRADE, lambda _data, features, _options: not features.seccomp,
        reason="system calls are not filtered",
        hint="use a kernel with CONFIG_SECCOMP_FILTER",
        attacks=(13, 16, 34, 37, 49, 50, 51, 52, 53, 57, 58, 73, 74, 75, 90),
    ),
    Row(
        "sandbox.landlock", DEGRADE,
        lambda data, features, _options: features.landlock < data["landlock"]["minimum_abi"],
        reason="Landlock does not narrow rights within what is mounted",
        hint="use a kernel with CONFIG_SECURITY_LANDLOCK and `landlock` in the lsm= list of the kernel command line",
        attacks=(16, 17, 74),
    ),
    Row(
        "commands.refuse", DEGRADE,
        lambda data, features, _options: data["commands"]["check"] == "refuse" and not features.seccomp_notify,
        reason="execve cannot be refused after the start (seccomp user notification, Linux 5.0)",
        hint="use a newer kernel; the programs of the host are still not mounted",
        attacks=(16, 17),
    ),
    Row(
        "commands.arguments", DEGRADE,
        lambda data, features, options: data["commands"]["check"] == "arguments"
        and not (ARGUMENTS in options.supports and features.seccomp),
        reason="commands are held by file; their arguments are not verified when they are executed",
        hint="grant the program without arguments",
    ),
    Row(
        "limits.max_memory", DEGRADE,
        lambda data, features, _options: _limited(data, "max_memory") and "memory" not in features.controllers,
        reason="there is no memory control group, so the memory of the job is not limited",
        hint=_CGROUP_HINT, attacks=(81,),
    ),
    Row(
        "limits.cpus", DEGRADE,
        lambda data, features, _options: _limited(data, "cpus") and "cpu" not in features.controllers,
        reason="there is no cpu control group, so the job may use every processor",
        hint=_CGROUP_HINT, attacks=(85,),
    ),
    Row(
        "limits.max_cpu_time", DEGRADE,
        lambda data, features, _options: _limited(data, "max_cpu_time") and _no_cpu_accounting(features),
        reason="without a control group the limit holds for each process and not for all of them together",
        hint=_CGROUP_HINT, attacks=(85,),
    ),
    Row(
        "limits.max_io_read", DEGRADE,
        lambda data, features, _options: _limited(data, "max_io_read") and not _has(features, "io", "blkio"),
        reason="there is no io control group, so the job may read from disks as fast as they are",
        hint=_CGROUP_HINT, attacks=(85,),
    ),
    Row(
        "limits.max_io_write", DEGRADE,
        lambda data, features, _options: _limited(data, "max_io_write")
        and not (_has(features, "io") and _has(features, "memory")),
        reason="there are no io and memory control groups of version 2, so what is written back later is nobody's",
        hint=_CGROUP_HINT + "; version 1 of control groups cannot hold it", attacks=(85,),
    ),
    Row(
        "limits.max_jobs", DEGRADE,
        lambda data, _features, options: _limited(data, "max_jobs") and JOBS not in options.supports,
        reason="nothing counts the jobs of one user here",
        hint="launch through the service, which does", attacks=(107,),
    ),
)  # fmt: skip

_GRANT_ROWS: tuple[tuple[str, str, str, str, str], ...] = (
    # key of the profile, what the backend must support, prefix of the permission, reason, hint
    (
        "egress", EGRESS, "",
        "launches, but has no network beyond loopback: the egress proxy is not available",
        "leave it in the policy; nothing of the network is reachable meanwhile",
    ),
    (
        "keychain", KEYCHAIN, "keychain.read", "launches without it: only ML programs read the keychain",
        "pass the value as a granted environment variable",
    ),
    ("devices", DEVICES, "device.use", "launches without it: this backend mounts no devices", "use another backend"),
    (
        "sockets", SOCKETS, "socket.connect",
        "launches without it: this backend mounts no sockets",
        "use another backend",
    ),
)  # fmt: skip

# Constraints that only something which sees each use can hold: the runtime in the process, the proxy outside.
_COUNTED = ("max_uses", "rate")
_SEEN_OUTSIDE = ("network", "database")


def check(data: Data, features: Features, options: Options) -> list[Data]:
    """The entries of `unenforced`. Raises RefusedError naming all that is missing, unless it may be degraded."""
    missing = [row for row in ROWS if row.missing(data, features, options)]
    gaps = [(row.severity, _entry(row, features)) for row in missing]
    gaps += [(DEGRADE, entry) for entry in _counted(data)]
    fatal = [entry for severity, entry in gaps if severity == REFUSE or not options.allow_degraded]
    if fatal:
        raise _refusal(fatal, hopeless=any(severity == REFUSE for severity, _ in gaps))
    return [entry for _, entry in gaps] + _unusable(data, options) + _expiring(data) + _statements(data, options)


def _entry(row: Row, features: Features) -> Data:
    return {
        "permission": row.permission,
        "reason": row.reason,
        "hint": _hint(row.hint, features),
        "attacks": list(row.attacks),
        "place": "",
    }


def _hint(hint: str, features: Features) -> str:
    return {"{user_namespaces}": _userns_hint, "{mount_api}": _mount_hint}.get(hint, lambda _: hint)(features)


def _userns_hint(features: Features) -> str:
    if features.apparmor_userns and features.uid:
        return (
            "AppArmor restricts user namespaces here: install a profile with `userns,` for mlsandbox in "
            "/etc/apparmor.d, or: sysctl kernel.apparmor_restrict_unprivileged_userns=0"
        )
    if features.container:
        return _container_hint(features)
    return "sysctl user.max_user_namespaces=15000, and on Debian 10 and older kernel.unprivileged_userns_clone=1"


def _container_hint(features: Features) -> str:
    return (
        f"inside {features.container} its seccomp profile refuses them: launch outside of it, use the container "
        "backend, or start it with --security-opt seccomp=unconfined --security-opt systempaths=unconfined"
    )


def _mount_hint(features: Features) -> str:
    return _container_hint(features) if features.container else "use Linux 5.12 or later"


def _counted(data: Data) -> list[Data]:
    rows = data["permissions"]["grants"]
    return [
        {
            "permission": _permission(grant),
            "reason": f"{name} is counted in the process, by the ML runtime, and by nothing outside of it",
            "hint": f"leave out {name} in the grant",
            "attacks": [104],
            "place": _place(grant["place"]),
        }
        for grant in rows
        if grant["type"] not in _SEEN_OUTSIDE
        for name in _COUNTED
        if name in grant["constraints"]
    ]


def _expiring(data: Data) -> list[Data]:
    """Grants that may end while the job runs: what is mounted stays mounted."""
    return [
        {
            "permission": _permission(grant),
            "reason": "it expires; that is judged when the job starts, and a job that is running keeps it",
            "hint": "limit max_wall_time",
            "attacks": [],
            "place": _place(grant["place"]),
        }
        for grant in data["permissions"]["grants"]
        if "expires_at" in grant["constraints"] and grant["type"] not in _SEEN_OUTSIDE
    ]


def _statements(data: Data, options: Options) -> list[Data]:
    """What of a database grant the proxy cannot see: it reads the start-up packet, and no statement."""
    return [
        {
            "permission": egress_text(rule),
            "reason": "the proxy holds host, port, database and user; statements are judged in the ML library alone",
            "hint": "give the database role of the connection just these rights",
            "attacks": [104],
            "place": rule["place"],
        }
        for rule in (data["network"]["egress"] if EGRESS in options.supports else ())
        if rule["type"] == "database"
    ]


def _permission(grant: Data) -> str:
    patterns = ", ".join([text if isinstance(text, str) else " ".join(text) for text in grant["patterns"]])
    return f"{grant['type']}.{','.join(grant['operations'])} {patterns}".rstrip()


def _place(parts: list[Any]) -> str:
    return f"{parts[0]}:{parts[1]}:{parts[2]}" if parts[1] else str(parts[0])


def _unusable(data: Data, options: Options) -> list[Data]:
    found = []
    for key, part, prefix, reason, hint in _GRANT_ROWS:
        rules = data["network"]["egress"] if key == "egress" else data[key]
        for rule in () if part in options.supports else rules:
            name = f"{prefix} {rule['pattern']}" if prefix else egress_text(rule)
            found.append({"permission": name, "reason": reason, "hint": hint, "attacks": [], "place": rule["place"]})
    return found


def egress_text(rule: Data) -> str:
    """`network.https,http api.example.com *.example.org`."""
    return f"{rule['type']}.{','.join(rule['operations'])} {' '.join(rule['patterns'])}"


def _refusal(fatal: list[Data], *, hopeless: bool) -> RefusedError:
    lines = "; ".join([f"{entry['permission']}: {entry['reason']}" for entry in fatal])
    hints = list(dict.fromkeys([entry["hint"] for entry in fatal if entry["hint"]]))
    if not hopeless:
        hints.append("--allow-degraded launches without it and reports what is not enforced")
    place = next((entry["place"] for entry in fatal if entry["place"]), "")
    message = f"this host cannot enforce what the job would be given: {lines}"
    return RefusedError(message, place=place, hint="; ".join(hints))
