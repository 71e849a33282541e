"""The manifest `mlsandbox.yaml` of a workspace: what a command says that it needs and wants. It grants nothing.

It is the attacker's, like a program's source; it is small, and read by the strict document loader (bounded size,
depth and nodes, no aliases, no tags) before anything in it is believed.
"""

from __future__ import annotations

import os

from launcher.errors import DocumentError
from launcher.policy import reading
from launcher.policy.document import load
from launcher.policy.notation import Rules
from launcher.service.declarations import Declared

TYPE_CHECKING = False
if TYPE_CHECKING:
    from launcher.policy.document import Node

_LARGEST = 64 << 10
_KEYS = ("name", "description", "needs", "wants")


def read_manifest(path: str) -> Declared | None:
    """The declaration of the manifest at `path`; None where it has no `needs`. Raises DocumentError with the place."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise DocumentError(f"cannot read the manifest: {error.strerror}", place=path) from error
    try:
        data = os.read(fd, _LARGEST + 1)
    finally:
        os.close(fd)
    if len(data) > _LARGEST:
        raise DocumentError(f"the manifest is larger than {_LARGEST} bytes", place=path)
    members = reading.mapping(load(data, path), "the manifest", _KEYS)
    if "wants" in members:  # checked like needs, and never a reason to refuse
        _rules(members["wants"])
    if "needs" not in members:
        return None
    return Declared(_rules(members["needs"]).grants, [])


def _rules(node: Node) -> Rules:
    rules = Rules("declared")
    rules.capabilities(node)
    if rules.denies:
        raise DocumentError("a manifest declares what is needed; it denies nothing", place=str(rules.denies[0].place))
    return rules
