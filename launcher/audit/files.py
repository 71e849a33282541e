"""Where the audit lies, and opening it safely.

The log may be read by the operators' group (0640); the head may not, because whoever can open a file can hold a flock
on it, and the head's lock serialises the writers. In system mode (`Locations.system`, the host's own layout) nobody but
root may be able to replace either.
"""

from __future__ import annotations

import os
import stat

from launcher.errors import AuditError

LOG_NAME = "audit.jsonl"
HEAD_NAME = "audit.head"
CHECKPOINTS_NAME = "audit.checkpoints"
LOG_MODE = 0o640
HEAD_MODE = 0o600
# O_NONBLOCK: opening a fifo that somebody put there must fail, not wait. O_RDWR: repairing reads the tail.
_OPEN = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK


class AuditFiles:
    """Absolute paths of the `log`, the `head` and the `checkpoints`; `system` where root's rules of ownership hold."""

    __slots__ = ("checkpoints", "head", "log", "system")

    def __init__(self, log: str, head: str, *, system: bool | None = None) -> None:
        self.log = log
        self.head = head
        self.checkpoints = os.path.join(os.path.dirname(log), CHECKPOINTS_NAME)
        self.system = os.geteuid() == 0 if system is None else system


def audit_files(locations: object, config: object | None = None) -> AuditFiles:
    """The files of `Locations` (its `audit` and `state` directories) and `Config` (`audit.path` moves the log)."""
    directory = str(getattr(locations, "audit"))  # noqa: B009  duck-typed: audit does not import policy at run time
    state = str(getattr(locations, "state"))  # noqa: B009
    path = settings(config).get("path")
    log = str(path) if path else os.path.join(directory, LOG_NAME)
    return AuditFiles(log, os.path.join(state, HEAD_NAME), system=getattr(locations, "system", None))


def settings(config: object | None) -> dict[str, object]:
    """The `audit` section of a Config; empty where there is none."""
    section = getattr(config, "audit", None)
    return dict(section) if isinstance(section, dict) else {}


def open_log(files: AuditFiles) -> int:
    """Descriptor of the log for appending and reading its tail; made where it is missing. Raises AuditError."""
    return _opened(files.log, LOG_MODE, os.O_APPEND, files)


def open_head(files: AuditFiles) -> int:
    """Descriptor of the head file, made where it is missing. Raises AuditError."""
    return _opened(files.head, HEAD_MODE, 0, files)


def failed(action: str, path: str, error: OSError, hint: str = "") -> AuditError:
    """The AuditError of a failed system call on `path`."""
    return AuditError(f"cannot {action} {path}: {error.strerror} (errno {error.errno})", hint=hint or _hint(error))


def _opened(path: str, mode: int, flags: int, files: AuditFiles) -> int:
    directory = os.path.dirname(path)
    try:
        fd = _open_or_make(path, mode, flags, directory)
    except OSError as error:
        raise failed("open the audit file", path, error) from error
    try:
        _check(path, os.fstat(fd), mode)
        if files.system:
            _check_directories(directory)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _open_or_make(path: str, mode: int, flags: int, directory: str) -> int:
    try:
        return os.open(path, (_OPEN & ~os.O_CREAT) | flags)
    except FileNotFoundError:
        os.makedirs(directory, 0o750, exist_ok=True)
        fd = os.open(path, _OPEN | flags, mode)
        os.fchmod(fd, mode)  # the umask may have taken the group's read
        sync_directory(directory)
        return fd


def sync_directory(directory: str) -> None:
    """Make names in `directory` durable. Raises OSError."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _check(path: str, found: os.stat_result, mode: int) -> None:
    owner = os.geteuid()
    rules: tuple[tuple[bool, str, str], ...] = (
        (stat.S_ISREG(found.st_mode), "is not a regular file", "move it away"),
        (found.st_uid == owner, f"belongs to uid {found.st_uid}, not {owner}", f"chown {owner} {path}"),
        (found.st_mode & 0o7777 & ~mode == 0, f"has mode {found.st_mode & 0o7777:04o}", f"chmod {mode:04o} {path}"),
        (found.st_nlink == 1, f"has {found.st_nlink} names (hard links)", "remove the other names"),
    )
    for holds, problem, hint in rules:
        if not holds:
            raise AuditError(f"the audit file {path} {problem}", hint=hint)


def _check_directories(directory: str) -> None:
    """Nobody but root and the caller may rename what leads to the log; above it a sticky directory (/tmp) will do."""
    sticky_allowed = False
    while True:
        found = os.stat(directory)
        loose = found.st_mode & 0o022 and not (sticky_allowed and found.st_mode & stat.S_ISVTX)
        if loose or found.st_uid not in (0, os.geteuid()):
            raise AuditError(
                f"the audit directory {directory} can be changed by others than root"
                f" (uid {found.st_uid}, mode {found.st_mode & 0o7777:04o})",
                hint=f"chown root {directory} && chmod go-w {directory}",
            )
        parent = os.path.dirname(directory)
        if parent == directory:
            return
        directory, sticky_allowed = parent, True


def _hint(error: OSError) -> str:
    table: dict[int, str] = {
        28: "free space on that file system, or set `audit.on_failure: continue`",  # ENOSPC
        122: "raise the quota, or set `audit.on_failure: continue`",  # EDQUOT
        27: "raise the file size limit (ulimit -f), or rotate the log: mlsandbox audit rotate",  # EFBIG
        30: "the file system is read-only: remount it, or set `audit.path`",  # EROFS
        40: "it is a symbolic link: the audit follows none",  # ELOOP
        13: "run `mlsandbox init`, or set `audit.path` to a file that you may write",  # EACCES
    }
    return table.get(error.errno or 0, "")
