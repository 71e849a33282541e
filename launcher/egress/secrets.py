"""Where injected credentials come from: a store outside the sandbox, named in the configuration.

    {"file": "/etc/mlsandbox/secrets/github"}          only its owner may read it, and that is root or the caller
    {"command": ["/usr/bin/pass", "show", "github"]}   its first line of output
    {"keyring": ["service", "user"]}                   the keyring library, where it is installed

They are read by the proxy's process before it gives up its ids: the supervisor, of which the sandbox is a fork, never
holds a value. A value never appears in an error, an event or the Profile.
"""

from __future__ import annotations

import os
import stat
from typing import Any

from launcher.errors import ConfigurationError
from launcher.policy.secret_names import SOURCES

MAX_SECRET = 8192  # bytes; a header value is not larger
COMMAND_TIME = 10.0  # seconds


def fetch(name: str, source: dict[str, Any]) -> str:
    """The value of the secret `name`. Raises ConfigurationError."""
    if len(source) != 1 or next(iter(source)) not in _READERS:
        hint = f"one of: {', '.join(SOURCES)}"
        raise ConfigurationError(f"secret {name}: no such source: {', '.join(source) or 'nothing'}", hint=hint)
    kind, where = next(iter(source.items()))
    value = _READERS[kind](name, where)
    if not value or len(value) > MAX_SECRET or not value.isprintable() or not value.isascii():
        raise ConfigurationError(
            f"secret {name}: empty, too long, or not printable ASCII", hint="one line, no blanks around"
        )
    return value


def placeholder() -> str:
    """What a job sees instead: unguessable, so that only who was given it can send it."""
    return "mlsandbox-placeholder-" + os.urandom(16).hex()


def _file(name: str, path: Any) -> str:
    try:  # a fifo must not hold the launch up
        fd = os.open(str(path), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigurationError(f"secret {name}: {path}: {os.strerror(error.errno or 0)}") from error
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_mode & 0o077 or status.st_uid not in {0, os.geteuid()}:
            hint = f"chown root {path}; chmod 600 {path}"
            raise ConfigurationError(f"secret {name}: {path} can be read by others, or is not a file", hint=hint)
        return _line(os.read(fd, MAX_SECRET + 2))
    finally:
        os.close(fd)


def _command(name: str, argv: Any) -> str:
    import subprocess

    if not isinstance(argv, list) or not argv:
        raise ConfigurationError(
            f"secret {name}: a command is a list of words", hint="command: [/usr/bin/pass, show, NAME]"
        )
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=COMMAND_TIME, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        # The error's text would hold the command's output, which may be the secret.
        raise ConfigurationError(f"secret {name}: {words[0]} failed ({type(error).__name__})") from None
    return _line(done.stdout)


def _keyring(name: str, where: Any) -> str:
    try:
        import keyring  # type: ignore[import-not-found,unused-ignore]  # an optional extra
    except ImportError as error:
        hint = "install mlsandbox[keyring], or use file or command"
        raise ConfigurationError(f"secret {name}: the keyring library is not installed", hint=hint) from error
    service, user = (str(word) for word in where)
    try:
        return str(keyring.get_password(service, user) or "")
    except Exception as error:  # noqa: BLE001  backends raise what they like, and the text could hold the entry
        raise ConfigurationError(f"secret {name}: the keyring failed ({type(error).__name__})") from None


def _line(data: bytes) -> str:
    return data.partition(b"\n")[0].strip().decode("ascii", "replace")


_READERS = {"file": _file, "command": _command, "keyring": _keyring}
