"""A workspace whose `.git` is a file: a worktree or a submodule, whose repository may be outside of what is granted.

git then says "not a git repository", which is true in the job's view and helps nobody. Not on the launch path: asked
when a job has failed.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from launcher.service.denials import literal

if TYPE_CHECKING:
    from launcher.capability.permissions import Permissions
    from launcher.service.denials import Row

_LONGEST = 4096
_WORD = b"gitdir: "
# git-worktree(1), gitsubmodules(7): below the repository that everything else of theirs is in
_PARTS = ("/.git/worktrees/", "/.git/modules/")


def of_gitdir(workspace: str, permissions: Permissions) -> list[Row]:
    """One row where the workspace's repository is elsewhere and may not be read by the job; the job's user wrote it."""
    directory = _named(workspace)
    if not directory or permissions.decide("file", "read", f"{directory}/HEAD").allowed:
        return []
    whole = _repository(directory)
    reason = (
        f"{workspace}/.git leads to {directory}, which is not granted; git needs all of {whole} "
        f"(to commit there, file.write and file.delete as well)"
    )
    return [
        {
            "capability": "file", "operation": "read", "resource": directory, "reason": reason, "layer": "policy",
            "grant": f"file.read:{literal(whole)}/**",
        }
    ]  # fmt: skip


def _named(workspace: str) -> str:
    """The canonical directory that the file `.git` names; "" where there is none.

    Links are not followed: the file is the tenant's, and we may be root.
    """
    try:
        fd = os.open(f"{workspace}/.git", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        content = os.read(fd, _LONGEST) if stat.S_ISREG(os.fstat(fd).st_mode) else b""
    finally:
        os.close(fd)
    if not content.startswith(_WORD) or b"\0" in content:
        return ""
    return os.path.normpath(os.path.join(workspace, os.fsdecode(content[len(_WORD) :].rstrip(b"\n"))))


def _repository(directory: str) -> str:
    for part in _PARTS:
        above, found, _rest = directory.partition(part)
        if found:
            return f"{above}/.git"
    return directory
