"""What the in-process check says to each operation: `Permissions.decide`, composed as the runtime's library composes it.

Pure. Paths are absolute here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.agreement.generator import FILE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from launcher.capability import Permissions
    from tests.agreement.generator import Case, Operation

RIGHTS = (
    ("file", "read"),
    ("file", "write"),
    ("file", "append"),
    ("file", "delete"),
    ("path", "read"),
    ("path", "write"),
)


class Expected:
    """The verdicts of one policy. `directories` are those that the host has before the job."""

    def __init__(self, permissions: Permissions, workspace: str, directories: set[str]) -> None:
        self.permissions = permissions
        self.workspace = workspace
        self.directories = directories

    def path(self, relative: str) -> str:
        return f"{self.workspace}/{relative}"

    def may(self, kind: str, right: str, path: str) -> bool:
        return bool(self.permissions.decide(kind, right, path))

    def allowed(self, operation: Operation) -> bool:
        """Whether the process allows it."""
        paths = [self.path(path) for path in operation.paths]
        return bool(
            getattr(self, f"_{operation.kind}")(*paths, *([operation.words] if operation.kind == "exec" else []))
        )

    def near_miss(self, operation: Operation, case: Case) -> bool:
        """Whether it is denied, and a change of one right, one component or one word would make it allowed."""
        if self.allowed(operation):
            return False
        if operation.kind == "exec":
            return any(self._exec(self.path(f"tool/{tool}"), words) for tool, words in beside_command(operation, case))
        path = self.path(operation.paths[0])
        if any(self.may(kind, right, path) for kind, right in RIGHTS):
            return True
        if operation.kind == "rename" and (self.create(self.path(operation.paths[1])) or self._delete(path)):
            return True
        others = [border for border in case.borders if beside(border, operation.paths[0])]
        return any(self.may(kind, right, self.path(border)) for border in others for kind, right in RIGHTS)

    # -- one operation each

    def _read(self, path: str) -> bool:
        return self.may("file", "read", path)

    def _list(self, path: str) -> bool:
        return self.may("path", "read", path)

    def _stat(self, path: str) -> bool:
        """No right of its own: a name that is granted for anything is seen."""
        denied = bool(self.permissions.decide("file", "read", path).deciders) and not self._read(path)
        return any(self.may("file", right, path) for right in FILE) or (self.listed(path) and not denied)

    def listed(self, path: str) -> bool:
        """Whether the name itself is granted for listing, not only what may be below it."""
        decision = self.permissions.decide("path", "read", path)
        own = [grant for grant in decision.deciders if grant.type == "path" and not grant.policy.startswith("base:")]
        return decision.allowed and bool(own)

    def _write(self, path: str) -> bool:
        return self.may("file", "write", path)

    def _append(self, path: str) -> bool:
        return self.may("file", "append", path) or self.may("file", "write", path)

    def _create(self, path: str) -> bool:
        return self.create(path) and all(self.may_make(directory) for directory in self.missing(path))

    def _delete(self, path: str) -> bool:
        return self.may("file", "delete", path)

    def _rename(self, source: str, target: str) -> bool:
        return self._delete(source) and self.may("file", "write", target)

    def _mkdir(self, path: str) -> bool:
        return self.may("path", "write", path)

    def _rmdir(self, path: str) -> bool:
        return self.may("path", "write", path)

    def _connect(self, path: str) -> bool:
        return self.may("socket", "connect", path)

    def _exec(self, file: str, words: Sequence[str]) -> bool:
        return bool(self.permissions.decide("cmd", "execute", [file, *words], file=file))

    # -- parts

    def create(self, path: str) -> bool:
        """A new file: written, or appended to nothing where no rule denies writing it."""
        writing = self.permissions.decide("file", "write", path)
        return bool(writing) or (not writing.deciders and self.may("file", "append", path))

    def may_make(self, directory: str) -> bool:
        return self.may("path", "write", directory) or self.permissions.parent_of_granted_write(directory)

    def missing(self, path: str) -> list[str]:
        found = []
        directory = path.rpartition("/")[0]
        while directory not in self.directories:
            found.append(directory)
            directory = directory.rpartition("/")[0]
        return found


def beside(one: str, other: str) -> bool:
    """Whether two paths differ by one component: another, one more, or one less."""
    a, b = one.split("/"), other.split("/")
    if len(a) == len(b):
        return sum(x != y for x, y in zip(a, b, strict=True)) <= 1
    longer, shorter = (a, b) if len(a) > len(b) else (b, a)
    return len(longer) == len(shorter) + 1 and any(longer[:n] + longer[n + 1 :] == shorter for n in range(len(longer)))


def beside_command(operation: Operation, case: Case) -> list[tuple[str, tuple[str, ...]]]:
    """Commands of the policy that differ from this one by the program, or by one word."""
    tool = operation.paths[0].rpartition("/")[2]
    same = [(name, operation.words) for name, _words in case.commands]
    rest = [(tool, words) for _name, words in case.commands if beside("/".join(words), "/".join(operation.words))]
    return same + rest
