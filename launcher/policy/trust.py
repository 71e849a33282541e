"""Documents are read once, by descriptor; in strict mode nobody but a trusted owner can have written them.

Attacks 101 and 102: a policy replaced or made a symlink between check and use, or writable by the tenant, would be
the tenant's own policy. So each directory on the way is opened relative to the one above without following links,
judged by `fstat` of the descriptor that is then used, and the bytes come from the descriptor that was judged.
On the launch path.
"""

from __future__ import annotations

import os
import stat

from launcher.errors import ConfigurationError
from launcher.policy.paths import shipped_profiles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_BYTES = 1 << 20
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


class Reader:
    """Reads documents. `strict`: refuse what others than root (or this process's own uid) could have written."""

    __slots__ = ("_code", "_flags", "_shipped", "owners", "strict")

    def __init__(self, *, strict: bool, shipped: str = "", code: str = __file__) -> None:
        self.strict = strict
        # The shipped base profiles are part of the program, which may be a developer's checkout run as root: whoever
        # can write `code` needs no profile. So they are held to the code's owner and mode, in its own tree.
        self._shipped = shipped or shipped_profiles()
        self._code = code
        # A plain user's own files may be links into a dotfiles repository; nobody else is protected by them.
        self._flags = _FILE | os.O_NOFOLLOW if strict else _FILE
        # The operator's own documents are his; whom he launches for is somebody else and owns none of these.
        self.owners = (0, os.geteuid())

    def names(self, directory: str) -> list[str]:
        """The names in `directory`, sorted; none when it does not exist. Raises ConfigurationError."""
        descriptor = self.open_directory(directory)
        if descriptor < 0:
            return []
        try:
            return sorted(os.listdir(descriptor))
        finally:
            os.close(descriptor)

    def read(self, path: str) -> tuple[bytes, os.stat_result] | None:
        """The bytes of a regular file and the stat of the descriptor they came from; None when there is none.

        Raises ConfigurationError when it may not be used, or is larger than 1 MiB.
        """
        parent = self.open_directory(os.path.dirname(path))
        if parent < 0:
            return None
        try:
            descriptor = self._open(os.path.basename(path), parent, path, self._flags)
        finally:
            os.close(parent)
        if descriptor < 0:
            return None
        try:
            status = os.fstat(descriptor)
            self._judge_file(status, path)
            return _bytes(descriptor, path), status
        finally:
            os.close(descriptor)

    def _judge_file(self, status: os.stat_result, path: str) -> None:
        if not stat.S_ISREG(status.st_mode):
            raise ConfigurationError(f"{path} is not a regular file")
        if self.strict and os.path.dirname(path) == self._shipped:
            self._judge_shipped(status, path, self._code)
        elif self.strict:
            self._judge(status, path, child_trusted=False)

    def check(self, path: str) -> None:
        """Judges a file that another library will open by name, and the way to it; it need not exist."""
        parent = self.open_directory(os.path.dirname(path))
        if parent < 0:
            return
        try:
            descriptor = self._open(os.path.basename(path), parent, path, self._flags)
        finally:
            os.close(parent)
        if descriptor >= 0:
            try:
                self._judge_file(os.fstat(descriptor), path)
            finally:
                os.close(descriptor)

    def open_directory(self, path: str) -> int:
        """A descriptor of a directory, or -1 when it does not exist. The caller closes it."""
        if not self.strict:
            return self._open(path, None, path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return self._walk(path) if path != self._shipped else self._open_shipped(path)

    def _open_shipped(self, path: str) -> int:
        descriptor = self._open(path, None, path, _DIRECTORY)
        if descriptor >= 0:
            try:
                self._judge_shipped(os.fstat(descriptor), path, os.path.dirname(self._code))
            except ConfigurationError:
                os.close(descriptor)
                raise
        return descriptor

    def _judge_shipped(self, status: os.stat_result, path: str, code: str) -> None:
        program = os.stat(code)
        if status.st_uid not in {*self.owners, program.st_uid}:
            raise _untrusted(path, f"belongs to uid {status.st_uid}", f"chown root: {path}")
        extra = status.st_mode & 0o022 & ~program.st_mode
        if status.st_mode & 0o020 and status.st_gid != program.st_gid:
            extra |= 0o020
        if extra:
            raise _writable(path, status)

    def _walk(self, path: str) -> int:
        here, descriptor = "/", os.open("/", _DIRECTORY)
        for part in [part for part in path.split("/") if part]:
            above = os.fstat(descriptor)
            reached = f"{here.rstrip('/')}/{part}"
            try:
                following = self._open(part, descriptor, reached, _DIRECTORY)
                if following < 0:
                    return -1
                owner = os.fstat(following).st_uid
                if above.st_mode & stat.S_ISVTX and owner not in self.owners:
                    raise _untrusted(reached, f"belongs to uid {owner}", f"chown root: {reached}")
                self._judge(above, here, child_trusted=True)
            finally:
                os.close(descriptor)
            here, descriptor = reached, following
        try:
            self._judge(os.fstat(descriptor), here, child_trusted=False)
        except ConfigurationError:
            os.close(descriptor)
            raise
        return descriptor

    def _open(self, name: str, parent: int | None, path: str, flags: int) -> int:
        try:
            return os.open(name, flags, dir_fd=parent)
        except FileNotFoundError:
            if _leads_nowhere(name, parent):  # what it was to say, a deny perhaps, must not silently be nothing
                raise ConfigurationError(f"{path} is a symbolic link to nothing", hint="repair or remove it") from None
            return -1
        except OSError as error:
            raise self._unopened(error, path, parent) from None

    def _unopened(self, error: OSError, path: str, parent: int | None) -> ConfigurationError:
        if parent is not None and os.path.islink(path):
            return ConfigurationError(
                f"{path} is a symbolic link, which could be pointed elsewhere",
                hint="replace it by the file or directory itself",
            )
        return ConfigurationError(f"cannot open {path}: {os.strerror(error.errno or 0)}")

    def _judge(self, status: os.stat_result, path: str, *, child_trusted: bool) -> None:
        """`child_trusted`: `status` is a directory's, and what is used in it belongs to a trusted owner."""
        if status.st_uid not in self.owners:
            raise _untrusted(path, f"belongs to uid {status.st_uid}", f"chown root: {path}")
        if status.st_mode & 0o022 and not (child_trusted and status.st_mode & stat.S_ISVTX):
            # In a sticky directory (/tmp) others cannot rename or remove what a trusted owner has there.
            raise _writable(path, status)


def _leads_nowhere(name: str, parent: int | None) -> bool:
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)
    except OSError:
        return False


def _writable(path: str, status: os.stat_result) -> ConfigurationError:
    # /tmp is for everybody to write: it is the document that is in the wrong place.
    sticky = stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX
    fix = f"move the documents out of {path}" if sticky else f"run: chmod go-w {path}"
    return _refused(path, f"can be written by others (mode {status.st_mode & 0o7777:04o})", fix)


def _untrusted(path: str, why: str, command: str) -> ConfigurationError:
    return _refused(path, why, f"run: {command}")


def _refused(path: str, why: str, hint: str) -> ConfigurationError:
    return ConfigurationError(f"{path} {why}: whoever can write it could grant himself anything", hint=hint)


def _bytes(descriptor: int, path: str) -> bytes:
    parts: list[bytes] = []
    size = 0
    while chunk := os.read(descriptor, 1 << 16):
        size += len(chunk)
        if size > MAX_BYTES:
            raise ConfigurationError(f"{path} is larger than {MAX_BYTES} bytes")
        parts.append(chunk)
    return b"".join(parts)


def ancestors(path: str) -> Iterator[str]:
    """The directories above `path`, outermost first."""
    parts = [part for part in path.split("/") if part][:-1]
    yield "/"
    for count in range(1, len(parts) + 1):
        yield "/" + "/".join(parts[:count])
