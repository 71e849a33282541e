"""`keychain:` of the configuration: the names that policies may grant, and where the value of each is. Pure."""

from __future__ import annotations

from launcher.capability.names import parse_name
from launcher.errors import DocumentError
from launcher.policy import reading
from launcher.policy.reading import refuse
from launcher.policy.secret_source import read_source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from launcher.policy.document import Node

_WILD = frozenset("*?[]\\")


def read_keychain(node: Node) -> dict[str, dict[str, Any]]:
    """Name to source: `deploy/github: {file: /etc/mlsandbox/secrets/github}`. Raises DocumentError."""
    found: dict[str, dict[str, Any]] = {}
    for name, member in reading.mapping(node, "keychain").items():
        place = node.keys[name]
        if _WILD.intersection(name):
            refuse(place, f"{name!r} is a pattern", "an entry has a name of its own; policies grant patterns of names")
        try:
            parse_name(name)
        except DocumentError as error:
            refuse(place, error.message)
        found[name] = read_source(member, name)
    return found
