"""A Profile for people: each permission with the mechanism that enforces it and the policy line it came from.

It reads the Profile and nothing else, so what is explained is what is executed. It returns lines; the command line
prints them.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from launcher.compile.profile import Profile

    Data = dict[str, Any]

# What holds for every profile and is easily believed otherwise (design section 1, "Not promised"; kernel-facts 3, 19).
STANDING = (
    (
        "`cmd` decides which programs the kernel starts. It is no boundary inside a process that runs: native code can "
        "read and interpret any file that it may read. What protects is that no program brings more authority."
    ),
    (
        "A granted host can receive whatever the job can read. Without interception (`tls: intercept`) a name behind a "
        "shared CDN may front for another."
    ),
    (
        "Names that appear on the host after the launch are not visible in the job; a file that is replaced on the "
        "host stays what it was at launch."
    ),
    "A staged write counts when it is committed: what is not granted is discarded then, and reported.",
)
_FRONTING = 1
_STAGING = 3

_TITLES = (
    ("files", "Files", ("file.", "path.", "not file.", "not path.")),
    ("commands", "Commands", ("cmd.", "sh.", "js.", "py.", "not cmd.", "not sh.", "not js.", "not py.", "no command")),
    ("network", "Network", ("network.", "database.", "not network.", "not database.", "no network")),
    ("environment", "Environment, secrets, devices", ("env.", "keychain.", "device.", "socket.")),
    ("limits", "Limits", ("limits.",)),
)
_UNITS = {
    "max_memory": "size", "max_file_size": "size", "max_disk": "size", "max_output": "size",
    "max_io_read": "size", "max_io_write": "size",
    "max_cpu_time": "time", "max_wall_time": "time", "cpus": "cpus",
}  # fmt: skip
_SIZES = (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10))
_TIMES = (("h", 3600), ("min", 60))


def explain(profile: Profile) -> list[str]:
    """The whole profile, a line each, without control characters (names are the attacker's to choose)."""
    data = profile.data
    lines = _head(profile)
    for section in sections(profile):
        lines += ["", section["title"]]
        lines += [line for row in section["rows"] for line in _row_lines(row)]
    lines += ["", "Not enforced on this host, or not usable"]
    lines += [line for gap in data["unenforced"] for line in _gap_lines(gap)] or ["  nothing: all of it is enforced"]
    lines += ["", "What every sandbox does not promise, and how it behaves"]
    lines += [f"  {sentence}" for sentence in standing(profile)]
    return [printable(line) for line in lines]


def sections(profile: Profile) -> list[Data]:
    """The permissions by kind, as data: title, and rows of permission, mechanism and place."""
    rows = profile.data["mechanisms"]
    found = []
    for key, title, prefixes in _TITLES:
        mine = [_shown(row) for row in rows if row["permission"].startswith(prefixes)]
        if mine:
            found.append({"key": key, "title": title, "rows": mine})
    return found


def standing(profile: Profile) -> list[str]:
    """The sentences of STANDING that bear on this profile."""
    data = profile.data
    dropped = set() if data["network"]["egress"] else {_FRONTING}
    if not data["files"]["staged"]:
        dropped.add(_STAGING)
    return [sentence for place, sentence in enumerate(STANDING) if place not in dropped]


def _head(profile: Profile) -> list[str]:
    data = profile.data
    policies = ", ".join([policy["handle"] for policy in data["policies"]]) or "none"
    runs = {
        "granted": "It runs with all that is granted.",
        "declared": "It runs with what it declares, within what is granted.",
    }
    commits = {
        "always": "Granted writes are kept whatever its exit status.",
        "success": "Granted writes are kept only when it exits with 0.",
    }
    return [
        f"A job of {data['user']['name']} in {data['workspace']}",
        f"  policies {policies}; base profile {data['base']}",
        f"  {profile.digest}",
        f"  {runs[data['run_with']]} {commits[data['commit']]}",
    ]


def _shown(row: Data) -> Data:
    name, _, value = row["permission"].partition(" ")
    if not name.startswith("limits."):
        return dict(row)
    return {**row, "permission": f"{name} {amount(name.partition('.')[2], int(value))}"}


def amount(limit: str, value: int) -> str:
    """A limit's value as people write it: `2 GiB`, `90 s`, `1.5`, `64`."""
    unit = _UNITS.get(limit, "")
    if unit == "cpus":
        return f"{value // 1000}.{value % 1000:03}".rstrip("0").rstrip(".")
    table = {"size": _SIZES, "time": _TIMES}.get(unit, ())
    for word, factor in table:
        if value and value % factor == 0:
            return f"{value // factor} {word}"
    return f"{value} {'bytes' if unit == 'size' else 's'}" if unit else str(value)


def _row_lines(row: Data) -> list[str]:
    lines = [f"  {row['permission']}"]
    if row["mechanism"]:
        lines.append(f"      {row['mechanism']}")
    if row["place"]:
        lines.append(f"      from {row['place']}")
    return lines


def _gap_lines(gap: Data) -> list[str]:
    cases = f" (attack cases {', '.join([str(number) for number in gap['attacks']])})" if gap["attacks"] else ""
    lines = [f"  {gap['permission']}: {gap['reason']}{cases}"]
    if gap["hint"]:
        lines.append(f"      to change it: {gap['hint']}")
    if gap["place"]:
        lines.append(f"      from {gap['place']}")
    return lines


def printable(text: str) -> str:
    r"""`text` on one line and harmless to a terminal: control characters and bytes that are no text as `\\xNN`.

    A policy or a file name may hold escape sequences meant for the operator's terminal (CVE-2023-28101).
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join([char if char.isprintable() else _escaped(char) for char in text])


def _escaped(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # PEP 383: a byte that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
