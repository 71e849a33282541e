"""`mlsandbox init`: configuration, directories, id range, operators' group and a starter policy.

`plan` looks at the host's tables and decides; `apply` acts. Everything that exists is left as it is, so a second run
does nothing.
"""

from __future__ import annotations

import os
import subprocess

from launcher.errors import ConfigurationError
from launcher.policy.config import DEFAULT_OPERATORS
from launcher.policy.starter import CONFIG_TEMPLATE, STARTER_POLICY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from launcher.policy.paths import Locations

# systemd reserves 524288 to 1879048191 for containers and 2^31 is where some file systems and tools fail
# (systemd's UIDS-GIDS.md), so tenants' ids start between.
FIRST_ID = 1_900_000_000
COUNT_IDS = 65_536
LAST_ID = (1 << 31) - 2


class Host:
    """What `plan` needs to know of the host: the texts of its tables, and who asks."""

    __slots__ = ("group", "passwd", "subgid", "subuid", "user_name")

    def __init__(self, *, passwd: str, group: str, subuid: str, subgid: str, user_name: str) -> None:
        self.passwd = passwd
        self.group = group
        self.subuid = subuid
        self.subgid = subgid
        self.user_name = user_name

    @classmethod
    def here(cls, user_name: str) -> Host:
        """The host we run on, from /etc."""
        tables = {name: _table(f"/etc/{name}") for name in ("passwd", "group", "subuid", "subgid")}
        return cls(**tables, user_name=user_name)


class Directory:
    """Make a directory."""

    __slots__ = ("mode", "path")

    def __init__(self, path: str, mode: int) -> None:
        self.path = path
        self.mode = mode

    def describe(self) -> str:
        """What is done, for people."""
        return f"make the directory {self.path} (mode {self.mode:04o})"

    def execute(self) -> None:
        """Acts. Raises OSError."""
        os.makedirs(self.path, self.mode, exist_ok=True)
        os.chmod(self.path, self.mode)


class Document:
    """Write a file that does not exist yet."""

    __slots__ = ("content", "mode", "path")

    def __init__(self, path: str, mode: int, content: str) -> None:
        self.path = path
        self.mode = mode
        self.content = content

    def describe(self) -> str:
        """What is done, for people."""
        return f"write {self.path} (mode {self.mode:04o})"

    def execute(self) -> None:
        """Acts. Raises OSError; a file that appeared meanwhile is left alone."""
        try:
            descriptor = os.open(
                self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, self.mode
            )
        except FileExistsError:
            return
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, self.mode)
            file.write(self.content.encode())


class OperatorGroup:
    """Make the operators' group, with the host's own tool."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def describe(self) -> str:
        """What is done, for people."""
        return f"make the system group {self.name} (its members may launch for others)"

    def execute(self) -> None:
        """Acts. Raises OSError or ConfigurationError."""
        done = subprocess.run(
            ["/usr/sbin/groupadd", "--system", "--", self.name], capture_output=True, text=True, check=False
        )
        # 9 is groupadd's "the name is taken": somebody made it meanwhile.
        if done.returncode not in {0, 9}:
            raise ConfigurationError(f"groupadd {self.name} failed: {done.stderr.strip()}")


Action = Directory | Document | OperatorGroup


def plan(locations: Locations, host: Host, exists: Callable[[str], bool] = os.path.lexists) -> list[Action]:
    """What is missing, in the order it is made. Pure but for `exists`."""
    actions: list[Action] = [Directory(path, mode) for path, mode in _directories(locations) if not exists(path)]
    if locations.system and not _names(host.group).get(DEFAULT_OPERATORS):
        actions.append(OperatorGroup(DEFAULT_OPERATORS))
    if not exists(locations.config):
        actions.append(Document(locations.config, 0o644, _configuration(locations, host)))
    if not exists(locations.policies):
        who = "[]" if locations.system else f'["{host.user_name}"]'
        actions.append(Document(f"{locations.policies}/starter.yaml", 0o644, STARTER_POLICY.replace("@USERS@", who)))
    return actions


def apply(actions: Sequence[Action]) -> None:
    """Does them in order. Raises ConfigurationError for the first that fails."""
    for action in actions:
        try:
            action.execute()
        except OSError as error:
            hint = "run it as root" if error.errno in {1, 13} else ""
            raise ConfigurationError(
                f"cannot {action.describe()}: {os.strerror(error.errno or 0)}", hint=hint
            ) from None


def _directories(locations: Locations) -> list[tuple[str, int]]:
    """Configuration is there for everybody to read; state, cache and audit are the launcher's."""
    public = [
        (os.path.dirname(locations.config), 0o755),
        (locations.policies, 0o755),
        (locations.local_profiles, 0o755),
    ]
    private = [(path, 0o700) for path in (locations.state, locations.cache, locations.scratch)]
    return list(dict([*public, *private, (locations.audit, 0o750)]).items())


def _configuration(locations: Locations, host: Host) -> str:
    first = free_range(host)
    commented = "" if locations.system else "# "
    values = {"@FIRST@": str(first), "@COUNT@": str(COUNT_IDS), "@OPERATORS@": DEFAULT_OPERATORS, "@IDS@": commented}
    text = CONFIG_TEMPLATE
    for mark, value in values.items():
        text = text.replace(mark, value)
    return text


def free_range(host: Host, first: int = FIRST_ID, count: int = COUNT_IDS) -> int:
    """The first id of a range that nobody on the host uses: no account, no group, no subordinate ids.

    Raises ConfigurationError when there is none.
    """
    taken = sorted([*_ids(host.passwd), *_ids(host.group), *_subordinate(host.subuid), *_subordinate(host.subgid)])
    for low, high in taken:
        if low < first + count and high >= first:
            first = high + 1
    if first + count - 1 > LAST_ID:
        raise ConfigurationError(
            "no range of free ids is left for tenants", hint="set id_range in the configuration by hand"
        )
    return first


def _ids(table: str) -> list[tuple[int, int]]:
    return [(int(fields[2]), int(fields[2])) for fields in _fields(table) if len(fields) > 2 and fields[2].isdigit()]


def _subordinate(table: str) -> list[tuple[int, int]]:
    return [
        (int(fields[1]), int(fields[1]) + int(fields[2]) - 1)
        for fields in _fields(table)
        if len(fields) == 3 and fields[1].isdigit() and fields[2].isdigit() and int(fields[2])
    ]


def _names(table: str) -> dict[str, bool]:
    return {fields[0]: True for fields in _fields(table)}


def _fields(table: str) -> list[list[str]]:
    return [line.split(":") for line in table.splitlines() if line and not line.startswith("#")]


def _table(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {os.strerror(error.errno or 0)}") from None
