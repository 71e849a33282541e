"""The types of capability, their operations, and what their patterns are: one table for everybody."""

from __future__ import annotations

# What the patterns of a type are. PROGRAM: a command pattern by file, or () meaning the whole set.
PATH = "path"
HOST = "host"
URL = "url"
COMMAND = "command"
PROGRAM = "program"
NAME = "name"


class Kind:
    """One row: the type's operations, the kind of its patterns, and the constraints that its grants may carry."""

    __slots__ = ("constraints", "name", "operations", "pattern")

    def __init__(self, name: str, pattern: str, operations: str, constraints: str = "") -> None:
        self.name = name
        self.pattern = pattern
        self.operations = tuple(operations.split())
        self.constraints = (*constraints.split(), *COMMON_CONSTRAINTS)


# Any grant may carry these (design section 5). `expires_at` is seconds since the epoch.
COMMON_CONSTRAINTS = ("expires_at", "max_uses", "rate")

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("file", PATH, "read write append delete", "max_file_size live commit allow_danger"),
        Kind("path", PATH, "read write", "live commit allow_danger"),
        Kind(
            "network",
            HOST,
            "http https tcp loopback",
            "ports methods tls max_requests max_bytes allow_private allow_loopback inject",
        ),
        Kind("database", URL, "select insert update delete ddl", "tables max_rows"),
        Kind("cmd", COMMAND, "execute", "uses"),
        Kind("sh", PROGRAM, "execute"),
        Kind("js", PROGRAM, "execute"),
        Kind("py", PROGRAM, "execute"),
        Kind("keychain", NAME, "read"),
        Kind("env", NAME, "read"),
        Kind("import", NAME, "use"),
        Kind("device", PATH, "use"),
        Kind("socket", PATH, "connect"),
    )
}

# What decides between a scheme and its port when neither side names one (kernel-facts 27: tcp must name ports).
DEFAULT_PORTS: dict[str, int] = {"http": 80, "https": 443}

# A grant of these policies belongs to the base profile: allowed in the process, ignored by containment.
BASE_PREFIX = "base:"
# A deny of these policies is an entry of the shipped danger list: it binds, but is not subtracted from declarations.
DANGER_PREFIX = "danger:"

# Interpreters by file name: what `sh`, `js` and `py` mean. A trailing version is cut before the look-up.
INTERPRETERS: dict[str, frozenset[str]] = {
    "sh": frozenset(
        [
            "sh",
            "bash",
            "rbash",
            "dash",
            "ash",
            "zsh",
            "ksh",
            "ksh93",
            "mksh",
            "lksh",
            "pdksh",
            "posh",
            "yash",
            "fish",
            "csh",
            "tcsh",
            "rc",
            "es",
            "elvish",
            "nu",
            "pwsh",
        ]
    ),
    "js": frozenset(["node", "nodejs", "deno", "bun", "qjs", "d8"]),
    "py": frozenset(["python", "pypy", "micropython"]),
}

# One of each set, for a question about the set that names no file.
REPRESENTATIVES = {"sh": "sh", "js": "node", "py": "python3"}


def interpreter_type(program: str) -> str:
    """`sh`, `js`, `py` when the file name of `program` is such an interpreter (`python3.11`, `BASH`), else ""."""
    name = program.rpartition("/")[2].lower()
    name = name.removeprefix("-")  # a login shell's argv[0]
    stem = name.rstrip("0123456789.-")
    for kind, names in INTERPRETERS.items():
        if name in names or stem in names:
            return kind
    return ""


def is_boolean(kind: str) -> bool:
    """Whether a grant of this type with no pattern means all of it (`sh`, `js`, `py`)."""
    return KINDS[kind].pattern == PROGRAM


# One file, many programs: what it does is in its name or in its first argument.
_MULTI_CALL = frozenset(("busybox", "toybox"))


def is_multi_call(program: str) -> bool:
    """Whether the program is a multi-call file by its name (`busybox`, `busybox.static`)."""
    return program.rpartition("/")[2].lower().partition(".")[0] in _MULTI_CALL
