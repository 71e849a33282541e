"""Which refusals may become grants, and what a set of grants is as patterns. Pure.

The job is not trusted while it is learnt from: it chooses what it asks for. So nothing is granted but names inside the
trees that the caller said, hosts that the caller said, and programs of the trusted path; never what is on the list of
credentials, and nothing that a rule denies. The rest is reported, for a person to judge.
"""

from __future__ import annotations

import os
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import TYPE_CHECKING

from launcher.capability.hosts import HostPattern
from launcher.service import denials

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

EXACT, SIBLINGS, DIRECTORY = LEVELS = ("exact", "siblings", "directory")
_PROGRAMS = ("cmd", "sh", "py", "js")
_TREES = ("file", "path")
# Names that hold what lets one act as somebody, or that another program obeys: never granted by learning, whatever the
# policies opted out of. The shipped danger list and every other deny bind besides, in the kernel.
NEVER = (
    ".ssh", ".gnupg", ".aws", ".azure", ".kube", ".docker", ".config/gcloud", ".netrc", ".git-credentials", ".npmrc",
    ".pypirc", ".env", ".env.*", ".pgpass", ".my.cnf", ".vault-token", ".password-store", "id_rsa*", "id_dsa*",
    "id_ecdsa*", "id_ed25519*", "*.pem", "*.key", "*.p12", "*.pfx", "*.kdbx", "*.keytab", ".bash_history",
    ".python_history",
)  # fmt: skip
# and these are not granted for writing: they are started by somebody else, later, outside of the sandbox
NEVER_WRITTEN = (
    "hooks", ".bashrc", ".profile", ".bash_profile", ".zshrc", ".gitconfig", ".gitmodules", ".github", ".gitlab-ci.yml",
    ".envrc", ".vscode", ".idea", ".claude", ".cursor", "mlsandbox.yaml",
)  # fmt: skip


class Bounds:
    """What may be learnt: `trees` are canonical directories, `hosts` patterns of hosts."""

    __slots__ = ("_hosts", "_trees", "workspace")

    def __init__(self, workspace: str, trees: Sequence[str], hosts: Sequence[str]) -> None:
        """Raises DocumentError for a bad host pattern."""
        self.workspace = workspace
        self._trees = [tree.rstrip("/") + "/" for tree in trees]
        self._hosts = [None if host == "*" else HostPattern(host) for host in hosts]

    def refusal(self, row: dict[str, Any]) -> str:
        """Why this denial does not become a grant, "" where it does."""
        kind, operation, grant = str(row["capability"]), str(row["operation"]), str(row["grant"])
        if not grant:
            return str(row["reason"])
        if kind in _PROGRAMS:
            return ""
        if kind in _TREES:
            return self._path(path_of(grant, self.workspace), operation)
        if kind == "network":
            return self._host(grant)
        return "it is never granted by learning"

    def _path(self, path: str, operation: str) -> str:
        if not any(path.startswith(tree) or path + "/" == tree for tree in self._trees):
            return "outside of what may be learnt: --within DIR"
        if is_named(path, NEVER):
            return "it may hold credentials"
        if operation != "read" and is_named(path, NEVER_WRITTEN):
            return "something outside of the sandbox would obey it"
        return ""

    def _host(self, grant: str) -> str:
        host = grant.partition(":")[2].partition("/")[0]
        name, _, port = host.rpartition(":") if ":" in host else (host, "", "")
        number = int(port) if port.isdigit() else 443
        for pattern in self._hosts:
            if pattern is None or pattern.matches(name, pattern.port or number):
                return ""
        return "no host may be learnt: --host PATTERN"


def path_of(grant: str, workspace: str) -> str:
    """The path that a learnt `file.read:@base/x` names."""
    text = grant.partition(":")[2]
    if text == "@base" or text.startswith("@base/"):
        text = workspace + text.removeprefix("@base")
    elif not text.startswith(("/", "~")):
        text = f"{workspace}/{text}"
    return _unescaped(text)


def _unescaped(text: str) -> str:
    kept, skip = [], False
    for char in text:
        if char == "\\" and not skip:
            skip = True
            continue
        kept.append(char)
        skip = False
    return "".join(kept)


def is_named(path: str, names: Iterable[str]) -> bool:
    """Whether a component of `path` (or two, for a name with a slash) is on the list."""
    parts = path.lower().split("/")
    pairs = [f"{one}/{two}" for one, two in pairwise(parts)]
    return any(fnmatchcase(part, name) for name in names for part in (*parts, *pairs))


# -- patterns ----------------------------------------------------------------------------------------------------------


def generalised(grants: Sequence[str], level: str, workspace: str) -> list[str]:
    """The grants as patterns: `exact`; `siblings` by directory and suffix (`@base/data/*.csv`); `directory` (`/**`)."""
    if level == EXACT:
        return list(dict.fromkeys(grants))
    made = list(dict.fromkeys(_widened(grant, level, workspace) for grant in grants))
    return [grant for grant in made if not any(_within(grant, other) for other in made if other != grant)]


def _widened(grant: str, level: str, workspace: str) -> str:
    head = grant.partition(":")[0]
    kind = head.partition(".")[0]
    if kind == "cmd":
        return grant.partition(" ")[0]
    if kind not in _TREES:
        return grant
    if head == "path.read":
        return f"{grant.rstrip('*')}**" if level == DIRECTORY else grant
    path = path_of(grant, workspace)
    if head == "path.write":
        return _below(head, path.rpartition("/")[0], workspace) if level == DIRECTORY else grant
    above, _, name = path.rpartition("/")
    if level == DIRECTORY:
        return _below(head, above, workspace)
    suffix = os.path.splitext(name)[1]
    if not suffix or is_named(f"x{suffix}", NEVER):
        return grant
    return f"{head}:{denials.path_pattern(above, workspace)}/*{denials.literal(suffix)}"


def _below(head: str, directory: str, workspace: str) -> str:
    return f"{head}:{denials.path_pattern(directory, workspace).rstrip('/')}/**"


def _within(grant: str, other: str) -> bool:
    """Whether `other`, a pattern of a whole directory, covers `grant` of the same operation."""
    head, _, pattern = grant.partition(":")
    wide_head, _, wide = other.partition(":")
    if head != wide_head or not wide.endswith("/**"):
        return False
    return pattern.startswith(wide[:-2]) or (head == "path.read" and pattern == wide[:-3])
