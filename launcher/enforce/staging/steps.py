"""What a commit does to the host, as data: each step is one rename, can be repeated, and can be taken back. [L]

    create    temporary -> name, if nothing is there                (a file, or a whole new directory)
    replace   temporary <-> name, exchanged                         (what was there is then under the temporary name)
    remove    name -> temporary                                     (a file, or a whole directory)

After replace and remove what was displaced is compared with what it must be, and put back if it is another version:
checking first and renaming then would lose what the host wrote between the two (kernel-facts 16).
Where a step stands is seen from which inode has which name, so a step that a crash interrupted is simply done again.
"""

from __future__ import annotations

import os
import stat
from errno import EINVAL

from launcher.enforce.staging.tree import DIRECTORY, identity, join, look, names, remove_tree
from launcher.kernel import libc
from launcher.kernel.abi import RENAME_EXCHANGE, RENAME_NOREPLACE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from launcher.enforce.staging.judge import Judged
    from launcher.enforce.staging.layers import Places
    from launcher.enforce.staging.tree import Identity

CREATE, REPLACE, REMOVE = "create", "replace", "remove"
TEMPORARY = ".mlsandbox-"


class Step:
    """`parent` and `name` say where in `area`; `temporary` is in the same directory.

    `made` identifies what was prepared under the temporary name, `expected` what must have been displaced; `manifest`
    is what a removed directory may hold: relative path -> identity. `items` are the changes that it carries out.
    """

    __slots__ = ("area", "expected", "items", "kind", "made", "manifest", "name", "parent", "temporary")

    def __init__(self, kind: str, area: str, parent: str, name: str, temporary: str) -> None:
        self.kind = kind
        self.area = area
        self.parent = parent
        self.name = name
        self.temporary = temporary
        self.made: Identity | None = None
        self.expected: Identity | None = None
        self.manifest: dict[str, Identity] | None = None
        self.items: list[Judged] = []

    def to_data(self) -> dict[str, Any]:
        """Plain JSON values, for the journal; `items` are not in it."""
        data: dict[str, Any] = {name: getattr(self, name) for name in ("kind", "area", "parent", "name", "temporary")}
        data["made"] = list(self.made) if self.made else None
        data["expected"] = list(self.expected) if self.expected else None
        data["manifest"] = None if self.manifest is None else {path: list(it) for path, it in self.manifest.items()}
        return data

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> Step:
        """The inverse of `to_data`."""
        step = cls(data["kind"], data["area"], data["parent"], data["name"], data["temporary"])
        step.made = _identity(data["made"])
        step.expected = _identity(data["expected"])
        if data["manifest"] is not None:
            step.manifest = {path: found for path, it in data["manifest"].items() if (found := _identity(it))}
        return step

    @property
    def inside(self) -> str:
        return join(self.parent, self.name)


def _identity(data: list[int] | None) -> Identity | None:
    return (data[0], data[1], data[2], data[3]) if data else None


class ConflictError(Exception):
    """The host changed meanwhile; nothing of it was lost, and nothing of the job's was put there."""


def apply(step: Step, places: Places) -> None:
    """Does the step if it is not done. Raises ConflictError (and has put everything back), OSError."""
    directory = places.directory(step.area, step.parent)
    if not is_applied(step, directory):
        _APPLY[step.kind](step, directory)


def is_applied(step: Step, directory: int) -> bool:
    """Whether the rename was done: by an earlier run that crashed, or just now."""
    at_temporary = _found(directory, step.temporary)
    if step.kind == REMOVE:
        return at_temporary is not None and at_temporary == step.expected
    return at_temporary != step.made and _found(directory, step.name) == step.made


def _found(directory: int, name: str) -> Identity | None:
    found = look(directory, name)
    return identity(found) if found else None


def _create(step: Step, directory: int) -> None:
    _rename(directory, step.temporary, step.name, "something of that name was made on the host meanwhile")


def _replace(step: Step, directory: int) -> None:
    if _found(directory, step.name) != step.expected:
        raise ConflictError("it was changed on the host meanwhile")
    _exchange(step, directory)
    if _found(directory, step.temporary) != step.expected:
        _exchange(step, directory)
        _settle(step, directory)
        raise ConflictError("it was changed on the host meanwhile")


def _settle(step: Step, directory: int) -> None:
    """After putting back: if the host renamed its own file over ours in between, that one is the newest and stays."""
    if _found(directory, step.temporary) != step.made:
        _exchange(step, directory)


def _exchange(step: Step, directory: int) -> None:
    try:
        libc.renameat2(directory, step.temporary, directory, step.name, RENAME_EXCHANGE)
    except FileNotFoundError:
        raise ConflictError("it was removed on the host meanwhile") from None
    except OSError as error:
        if error.errno == EINVAL:  # renameat2(2): the file system does not support the flag (NFS, some FUSE)
            raise OSError(EINVAL, "its file system cannot exchange two names, so a change could be lost") from None
        raise


def _remove(step: Step, directory: int) -> None:
    if _found(directory, step.name) != step.expected:
        raise ConflictError("it was changed on the host meanwhile")
    _rename(directory, step.name, step.temporary, "its temporary name is taken")
    if _found(directory, step.temporary) != step.expected or not as_listed(step, directory, step.temporary):
        _rename(directory, step.temporary, step.name, f"it was replaced on the host; the old one is {step.temporary}")
        raise ConflictError("it was changed on the host meanwhile")


def _rename(directory: int, old: str, new: str, taken: str) -> None:
    try:
        libc.renameat2(directory, old, directory, new, RENAME_NOREPLACE)
    except FileExistsError:
        raise ConflictError(taken) from None
    except FileNotFoundError:
        raise ConflictError("it was removed on the host meanwhile") from None


def as_listed(step: Step, directory: int, name: str) -> bool:
    """Whether a directory that is to go holds nothing but what the job saw in it."""
    return step.manifest is None or _listed(directory, name, "", step.manifest)


def _listed(directory: int, name: str, inside: str, manifest: dict[str, Identity]) -> bool:
    fd = os.open(name, DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
    try:
        for child in names(fd):
            path = join(inside, child)
            found = os.stat(child, dir_fd=fd, follow_symlinks=False)
            if manifest.get(path) != identity(found):
                return False
            if stat.S_ISDIR(found.st_mode) and not _listed(fd, child, path, manifest):
                return False
        return True
    finally:
        os.close(fd)


def revert(step: Step, places: Places) -> None:
    """Takes an applied step back. What the host did to the new file since is left alone."""
    directory = places.directory(step.area, step.parent)
    if not is_applied(step, directory):
        return
    try:
        if step.kind == REPLACE:
            _exchange(step, directory)
        elif step.kind == CREATE:
            _rename(directory, step.name, step.temporary, "")
        else:
            _rename(directory, step.temporary, step.name, "")
    except ConflictError:
        return


def clear(step: Step, places: Places) -> None:
    """Removes what is under the temporary name: what was displaced, or what was prepared and not used.

    After a conflict in `_remove` the host's own file may be there: it is not what was expected, and stays.
    """
    directory = places.directory(step.area, step.parent)
    found = _found(directory, step.temporary)
    if found is not None and found in (step.made, step.expected):
        remove_tree(directory, step.temporary)


_APPLY = {CREATE: _create, REPLACE: _replace, REMOVE: _remove}
