"""Where everything is: configuration, policies, base profiles, state, cache, audit, scratch and runtime files.

Three layouts (design section 12): the host's (uid 0), a plain user's XDG directories, and everything below one
directory (`--root DIR` or `MLSANDBOX_ROOT`), which tests and trials use. On the launch path.
"""

from __future__ import annotations

import os

NAME = "mlsandbox"
ROOT_VARIABLE = "MLSANDBOX_ROOT"

# attribute -> place below the layout's directories; {c} configuration, {s} state, {k} cache, {l} logs, {r} runtime
_LAYOUT = {
    "config": "{c}/config.yaml",
    "policies": "{c}/policies",
    "local_profiles": "{c}/profiles",
    "state": "{s}",
    "database": "{s}/state.db",
    "grants": "{s}/grants.db",
    "scratch": "{s}/scratch",
    "cache": "{k}",
    "audit": "{l}",
    "runtime": "{r}",
    "token": "{s}/token",
}
_HOST = {
    "c": f"/etc/{NAME}",
    "s": f"/var/lib/{NAME}",
    "k": f"/var/cache/{NAME}",
    "l": f"/var/log/{NAME}",
    "r": f"/run/{NAME}",
}


_SOCKET = "service.sock"


def service_socket(root: str | None) -> str:
    """Where the service listens that answers for `root`, or MLSANDBOX_ROOT, or else for the host."""
    chosen = root or os.environ.get(ROOT_VARIABLE, "")
    return f"{os.path.abspath(chosen)}/run/{_SOCKET}" if chosen else f"{_HOST['r']}/{_SOCKET}"


class Locations:
    """Absolute paths, none of which need exist yet.

    `system` is true for the host's layout: there, documents that anybody but root could write are refused.
    `root` is the directory of `--root`, or "". `grants` is the database of grants and exclusions and `database`
    the one of everything else: the policy cache is keyed by the stat of `grants`, which therefore must change
    only when a grant changes. `local_profiles` are the administrator's own base profiles; `profiles` the shipped.
    """

    __slots__ = (
        "audit",
        "cache",
        "config",
        "database",
        "grants",
        "local_profiles",
        "policies",
        "profiles",
        "root",
        "runtime",
        "scratch",
        "state",
        "system",
        "token",
    )

    config: str
    policies: str
    local_profiles: str
    state: str
    database: str
    grants: str
    scratch: str
    cache: str
    audit: str
    runtime: str
    token: str

    def __init__(self, directories: dict[str, str], *, system: bool = False, root: str = "") -> None:
        for attribute, pattern in _LAYOUT.items():
            setattr(self, attribute, pattern.format(**directories))
        self.profiles = shipped_profiles()
        self.system = system
        self.root = root

    @classmethod
    def find(cls, root: str | None = None) -> Locations:
        """The layout for this process: `root`, else `MLSANDBOX_ROOT`, else the host's for uid 0, else XDG."""
        chosen = root or os.environ.get(ROOT_VARIABLE, "")
        if chosen:
            return cls.below(chosen)
        if os.geteuid() == 0:
            return cls.host()
        return cls(_xdg())

    @classmethod
    def below(cls, directory: str) -> Locations:
        """Everything below one directory; but a token is of who logs in, and the directory may be somebody else's."""
        top = os.path.abspath(directory)
        parts = {"c": top, "s": f"{top}/state", "k": f"{top}/cache", "l": f"{top}/log", "r": f"{top}/run"}
        places = cls(parts, root=top)
        if not _is_own(top):
            name = top.replace("%", "%25").replace("/", "%2F")
            places.token = f"{_xdg_directory('XDG_STATE_HOME', '.local/state')}/tokens/{name}"
        return places

    @classmethod
    def host(cls) -> Locations:
        """The host's own layout. Root's stored token is in root's home, whatever HOME sudo has left."""
        places = cls(_HOST, system=True)
        places.token = f"{_account_home(0)}/.local/state/{NAME}/token"
        return places

    @property
    def socket(self) -> str:
        """Where the service of these locations listens."""
        return f"{self.runtime}/{_SOCKET}"

    def profile_directories(self) -> tuple[str, ...]:
        """Where base profiles are looked for: the administrator's own first, then the shipped ones."""
        return (self.local_profiles, self.profiles)


def _is_own(directory: str) -> bool:
    """Whether this process's user may keep things there: it is his, or is not there yet, or he is root."""
    try:
        return os.geteuid() in {0, os.stat(directory).st_uid}
    except OSError:
        return True


def shipped_profiles() -> str:
    """The directory of the shipped base profiles: inside the wheel, or beside the package in a checkout."""
    package = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    inside = f"{package}/_profiles"
    return inside if os.path.isdir(inside) else f"{os.path.dirname(package)}/profiles"


def _xdg() -> dict[str, str]:
    state = _xdg_directory("XDG_STATE_HOME", ".local/state")
    cache = _xdg_directory("XDG_CACHE_HOME", ".cache")
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    return {
        "c": _xdg_directory("XDG_CONFIG_HOME", ".config"),
        "s": state,
        "k": cache,
        "l": state,
        "r": f"{runtime}/{NAME}" if runtime.startswith("/") else f"{state}/run",
    }


def _xdg_directory(variable: str, default: str) -> str:
    # The XDG base directory specification: relative values are invalid and ignored.
    value = os.environ.get(variable, "")
    parent = value if value.startswith("/") else f"{_home()}/{default}"
    return f"{parent.rstrip('/')}/{NAME}"


def _home() -> str:
    home = os.environ.get("HOME", "")
    return home if home.startswith("/") else _account_home(os.geteuid())


def _account_home(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_dir
    except KeyError:
        return "/nonexistent"
