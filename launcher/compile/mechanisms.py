"""For each permission of a profile the mechanism that holds it, in the kernel's words (design section 6)."""

from __future__ import annotations

from launcher.capability.grant import Place
from launcher.capability.kinds import DANGER_PREFIX
from launcher.capability.paths import PathPattern
from launcher.capability.scope import Scope
from launcher.compile.options import EGRESS
from launcher.compile.patterns import is_literal, whole_directory
from launcher.compile.requirements import egress_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from launcher.compile.options import Options
    from launcher.kernel.features import Features

    Data = dict[str, Any]

_ROOT = Scope("/", "/")  # patterns of a profile are written out, so no scope bears on them
_FLAGS = "nosuid, nodev, noexec"
_READ = {
    "tree": "the directory mounted read-only, {flags}",
    "sieved": "every name below it that is not denied at launch, mounted read-only, {flags}; whole directories where "
    "nothing can be denied",
    "name": "the one name mounted read-only, {flags}",
    "view": "names in the workspace and granted trees that match at launch, mounted read-only, {flags}",
    "names": "the names that match at launch, each mounted read-only, {flags}",
}
_STAGED = "written to an overlay in scratch; judged and committed by the trusted side when the job has ended"
_LIVE = "the directory mounted writable, {flags}, without staging; Landlock rights: {rights}"
# kernel-facts 24: what each operation is in Landlock's words.
_RIGHTS = {
    "file.read": "read file",
    "file.write": "write file, truncate, make regular",
    "file.append": "write file",
    "file.delete": "remove file",
    "path.read": "read directory",
    "path.write": "make directory, remove directory",
}
_COMMANDS = {
    "listed": "the file is mounted and executable; no other program is there",
    "all": "every program of the view is executable; shells, and interpreters that are denied, are covered",
}
_ONLY_LANDLOCK = "Landlock allows it; the names, sizes and times of other files can be seen"
_ONLY_THESE = "Landlock allows executing nothing else"
_ARGUMENTS = {True: "the arguments are verified at a traced exec stop", False: "the arguments are not enforced here"}
_NOT_STARTED = "nothing is mounted executable, and execve is refused once the job runs"
_NODE = "each that matches at launch mounted by itself, opened with the job's own ids"
_DENIED_FILE = "never mounted; discarded at commit"
_DANGER = "names of the danger list: never mounted, or where it denies writing alone, discarded at commit"
_DENIED_COMMAND = "the file is not mounted, under any name"
_NETWORK = "an own network namespace without interfaces; the egress proxy outside of it judges each connection"
_ABSENT = "it is not there"
_PASSED = "taken from the caller's environment, of which nothing else is passed"
_NO_NETWORK = "an own network namespace without interfaces: nothing is reachable"


def mechanisms(data: Data, features: Features, options: Options) -> list[Data]:
    """One row a permission, in the order of the profile's sections."""
    lacking = {gap["permission"] for gap in data["unenforced"]}
    if not features.user_namespaces:
        return _without_namespaces(data, lacking)
    return [
        *_files(data["files"], landlock=features.landlock > 0, sockets=bool(data["sockets"])),
        *_commands(data["commands"], features, lacking),
        *_network(data["network"], proxy=EGRESS in options.supports),
        *_names(data, lacking),
        *[_limit(name, value, features, lacking) for name, value in data["limits"].items() if value is not None],
    ]


def _without_namespaces(data: Data, lacking: set[str]) -> list[Data]:
    """The degraded backend: nothing is mounted, so what is not allowed is refused and not absent."""
    files = data["files"]
    rows = [_row(rule_text(rule), _ONLY_LANDLOCK, rule["place"]) for rule in (*files["read"], *files["live"])]
    commands = data["commands"]
    rows += [_row(f"{kind}.execute", _ONLY_THESE) for kind in ("sh", "js", "py") if commands[kind]]
    rows += [
        _row(command_text(rule), f"{_ONLY_THESE}; {_ARGUMENTS[True]}", rule["place"]) for rule in commands["rules"]
    ]
    rows.append(_row("no network", "sockets of the internet families are refused by seccomp"))
    rows += _names(data, lacking)
    held = ("max_wall_time", "max_open_files", "max_file_size", "max_output", "max_processes", "max_cpu_time")
    limits = [(name, data["limits"][name]) for name in held if data["limits"][name] is not None]
    return rows + [_row(f"limits.{name} {value}", _LIMITS[name][2] or _LIMITS[name][0]) for name, value in limits]


def _row(permission: str, mechanism: str, place: str = "") -> Data:
    return {"permission": permission, "mechanism": mechanism, "place": place}


def rule_text(rule: Data) -> str:
    """`file.write,append /w/out/*.txt`."""
    kind = rule["operations"][0].partition(".")[0]
    operations = ",".join([operation.partition(".")[2] for operation in rule["operations"]])
    return f"{kind}.{operations} {rule['pattern']}"


def _files(files: Data, *, landlock: bool, sockets: bool) -> list[Data]:
    narrowed = "; Landlock allows reading only" if landlock else ""
    hiding = [rule for rule in files["denied"] if {"file.read", "path.read"}.intersection(rule["operations"])]
    denied = [(PathPattern(rule["pattern"], _ROOT), rule["policy"]) for rule in hiding]
    rows = [
        _row(rule_text(rule), _read(rule, denied, sieved=sockets) + narrowed, rule["place"]) for rule in files["read"]
    ]
    rows += [_row(rule_text(rule), _staged(rule), rule["place"]) for rule in files["staged"]]
    rows += [_row(rule_text(rule), _live(rule), rule["place"]) for rule in files["live"]]
    listed = {rule["policy"]: rule for rule in files["denied"] if rule["policy"].startswith(DANGER_PREFIX)}
    plain = [rule for rule in files["denied"] if rule["policy"] not in listed]
    rows += [_row(f"not {rule_text(rule)}", _DENIED_FILE, rule["place"]) for rule in plain]
    return rows + [_row(f"not file.{name}", _DANGER, rule["place"]) for name, rule in listed.items()]


def _read(rule: Data, denied: list[tuple[PathPattern, str]], *, sieved: bool) -> str:
    pattern, meant = rule["pattern"], [DANGER_PREFIX + name for name in rule["allow_danger"]]
    if pattern.startswith("**"):
        shape = "view"
    elif directory := whole_directory(pattern):
        hidden = any(deny.could_match_below(directory) for deny, policy in denied if policy not in meant)
        shape = "sieved" if sieved or hidden else "tree"
    else:
        shape = "name" if is_literal(pattern) else "names"
    return _READ[shape].format(flags=_FLAGS)


def _staged(rule: Data) -> str:
    size = rule["max_file_size"]
    return _STAGED if size is None else f"{_STAGED}, files of at most {size} bytes"


def _live(rule: Data) -> str:
    return _LIVE.format(flags=_FLAGS, rights="; ".join([_RIGHTS[operation] for operation in rule["operations"]]))


def _commands(commands: Data, features: Features, lacking: set[str]) -> list[Data]:
    how = _how_started(commands, features, lacking)
    rows = [_row(f"{kind}.execute", how) for kind in ("sh", "js", "py") if commands[kind]]
    rows += [_row(command_text(rule), how, rule["place"]) for rule in commands["rules"]]
    rows += [_row(f"not {command_text(rule)}", _DENIED_COMMAND, rule["place"]) for rule in commands["denied"]]
    return rows or [_row("no command", _NOT_STARTED)]


def _how_started(commands: Data, features: Features, lacking: set[str]) -> str:
    parts = [_COMMANDS.get(commands["mode"], _NOT_STARTED)]
    if commands["mode"] == "listed" and features.landlock:
        parts.append(_ONLY_THESE)
    if commands["check"] == "arguments":
        parts.append(_ARGUMENTS["commands.arguments" not in lacking])
    return "; ".join(parts)


def command_text(rule: Data) -> str:
    """`cmd.execute git status:*`; a token list with its brackets."""
    pattern = rule["pattern"]
    shown = pattern if isinstance(pattern, str) else "[" + ", ".join(pattern) + "]"
    return f"{rule['type']}.execute {shown}"


def _network(network: Data, *, proxy: bool) -> list[Data]:
    rows = [_row("network.loopback", "the loopback interface of the job's own network namespace")]
    if not network["loopback"]:
        rows = [_row("no network.loopback", "an own network namespace whose loopback interface is down")]
    mechanism = _NETWORK if proxy else _NO_NETWORK
    rows += [_row(egress_text(rule), mechanism, rule["place"]) for rule in network["egress"]]
    return rows + [_row(f"not {egress_text(rule)}", mechanism, rule["place"]) for rule in network["denied"]]


def _names(data: Data, lacking: set[str]) -> list[Data]:
    fixed = (
        ("keychain", "keychain.read", "handed over by the supervisor on request; it is nowhere in the sandbox before"),
        ("devices", "device.use", _NODE + "; Landlock allows reading, writing and ioctl; no block device"),
        ("sockets", "socket.connect", _NODE + "; seccomp allows AF_UNIX sockets, and no tree is mounted whole"),
    )
    rows = []
    for key, name, how in fixed:
        for rule in data[key]:
            permission = f"{name} {rule['pattern']}"
            rows.append(_row(permission, _ABSENT if permission in lacking else how, rule["place"]))
    grants = [grant for grant in data["permissions"]["grants"] if grant["type"] == "env"]
    granted = {text: Place.from_data(grant["place"]) for grant in grants for text in grant["patterns"]}
    shown = [text for text in data["environment"]["pass"] if text not in granted]
    rows += [_row(f"env.read {text}", _PASSED, str(place)) for text, place in granted.items()]
    return [*rows, _row(f"env.read {' '.join(shown)}", f"{_PASSED}, by the base profile")] if shown else rows


# limit -> what holds it with a control group, the controllers of which one is needed, and what holds it without
_LIMITS: dict[str, tuple[str, tuple[str, ...], str]] = {
    "max_memory": ("memory control group", ("memory",), "nothing"),
    "cpus": ("cpu control group: quota", ("cpu",), "nothing"),
    "max_processes": ("pids control group", ("pids",), "RLIMIT_NPROC in the job's own user namespace"),
    "max_cpu_time": (
        "control group accounting, watched by the supervisor",
        ("cpu", "cpuacct"),
        "RLIMIT_CPU of each process",
    ),
    "max_wall_time": ("the supervisor's monotonic clock", (), ""),
    "max_open_files": ("RLIMIT_NOFILE", (), ""),
    "max_file_size": ("RLIMIT_FSIZE", (), ""),
    "max_disk": ("the size of scratch and of each private file system", (), ""),
    "max_files": ("the inodes of scratch and of each private file system", (), ""),
    "max_output": ("the supervisor's pipes or terminal", (), ""),
    "max_io_read": ("io control group: each disk (io.max, or blkio.throttle)", ("io", "blkio"), "nothing"),
    "max_io_write": ("io control group: each disk, written back or directly (io.max)", ("io",), "nothing"),
    "max_jobs": ("the service, before the job starts", (), "nothing"),
}


def _limit(name: str, value: int, features: Features, lacking: set[str]) -> Data:
    grouped, controllers, fallback = _LIMITS[name]
    if f"limits.{name}" in lacking:
        mechanism = f"{fallback} (not enforced here)"
    else:
        mechanism = grouped if not controllers or set(controllers) & set(features.controllers) else fallback
    return _row(f"limits.{name} {value}", mechanism)
