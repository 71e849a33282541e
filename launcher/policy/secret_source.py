"""Where a secret is, as the configuration says it: a file, a command, a keyring entry. Pure; nothing is read here."""

from __future__ import annotations

from launcher.policy import reading
from launcher.policy.document import TEXT, Node
from launcher.policy.reading import refuse
from launcher.policy.secret_names import SOURCES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_KEYRING_WORDS = 2  # service and user


def read_source(node: Node, name: str) -> dict[str, Any]:
    """One of {file: PATH}, {command: [PROGRAM, WORD, ...]}, {keyring: [SERVICE, USER]}."""
    if node.kind == TEXT:
        hint = "a secret does not belong into the configuration: {file: /etc/mlsandbox/secrets/NAME}"
        refuse(node.place, f"the secret {name!r} must say where it is", hint)
    members = reading.mapping(node, f"the secret {name!r}", SOURCES)
    if len(members) != 1:
        refuse(node.place, f"the secret {name!r} needs one source", f"one of: {' '.join(SOURCES)}")
    kind, value = next(iter(members.items()))
    if kind == "file":
        return {kind: absolute(value, "file")}
    words = [reading.line(item, f"a word of {kind}") for item in reading.items(value, kind)]
    if kind == "keyring" and len(words) != _KEYRING_WORDS:
        refuse(value.place, "a keyring entry is a service and a user", "keyring: [SERVICE, USER]")
    if kind == "command" and (not words or not words[0].startswith("/")):
        refuse(value.place, "a command names its program by an absolute path", "command: [/usr/bin/pass, show, NAME]")
    return {kind: words}


def absolute(node: Node, what: str) -> str:
    """A path from the root. Raises DocumentError."""
    path = reading.line(node, what)
    if not path.startswith("/"):
        refuse(node.place, f"{what} must be an absolute path")
    return path
