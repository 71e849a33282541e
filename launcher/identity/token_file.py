"""The token that `mlsandbox login --token-file FILE` keeps for later launches: one file, 0600, of its owner. [L]"""

from __future__ import annotations

import os
import stat

from launcher.errors import IdentityError

MAX_BYTES = 16 * 1024
_HINT = "log in again with: mlsandbox login --token-file FILE"


def store(path: str, token: str) -> None:
    """Keeps `token` at `path`, replacing what was there at once. Raises IdentityError."""
    token = token.strip()
    if not token or len(token) > MAX_BYTES or not token.isascii() or not token.isprintable():
        raise IdentityError("this is not a token", hint="the file must hold one token and nothing else")
    temporary = f"{path}.{os.getpid()}"
    try:
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        _write(temporary, token)
        os.replace(temporary, path)
    except OSError as error:
        _discard(temporary)
        raise IdentityError(f"cannot store the token in {path}: {os.strerror(error.errno or 0)}") from None


def _write(path: str, token: str) -> None:
    # The mode is given at creation: there is no moment at which others could open the file.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(token.encode() + b"\n")
        file.flush()
        os.fsync(descriptor)


def load(path: str) -> str:
    """The stored token, or "" when there is none. Raises IdentityError when others could have read or written it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise IdentityError(f"cannot read the token in {path}: {os.strerror(error.errno or 0)}", hint=_HINT) from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
            raise IdentityError(f"the token in {path} is not your own regular file", hint=_HINT)
        if status.st_mode & 0o077:
            raise IdentityError(
                f"others may read or write the token in {path}", hint=f"chmod 0600 {path}, and " + _HINT
            )
        return os.read(descriptor, MAX_BYTES + 1).decode("ascii", "replace").strip()
    finally:
        os.close(descriptor)


def remove(path: str) -> bool:
    """Forgets the token (`logout`); False when there was none. Raises IdentityError."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise IdentityError(f"cannot remove the token in {path}: {os.strerror(error.errno or 0)}") from None
    return True


def _discard(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        return


def read_from(path: str) -> str:
    """The token in a file that the user names on the command line. Raises IdentityError."""
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise IdentityError(f"cannot read {path}: {os.strerror(error.errno or 0)}") from None
    return data.decode("ascii", "replace").strip()
