"""The manifest `mlsandbox.yaml` of a workspace: what a command says that it needs and wants. It grants nothing.

It is the attacker's, like a program's source; it is small, and read by the strict document loader (bounded size,
depth and nodes, no aliases, no tags) before anything in it is believed.
"""

from __future__ import annotations

import os
import stat

from launcher.errors import DocumentError
from launcher.policy import reading
from launcher.policy.document import load
from launcher.policy.notation import Rules
from launcher.service.declarations import Declared

_LARGEST = 64 << 10
_KEYS = ("name", "description", "needs", "wants")


def read_manifest(path: str) -> Declared | None:
    """The declaration of the manifest at `path`; None where it has no `needs`. Raises DocumentError with the place."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise DocumentError(f"cannot read the manifest: {error.strerror}", place=path) from error
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise DocumentError("the manifest is not a regular file", place=path)
        data = os.read(fd, _LARGEST + 1)
    finally:
        os.close(fd)
    if len(data) > _LARGEST:
        raise DocumentError(f"the manifest is larger than {_LARGEST} bytes", place=path)
    members = reading.mapping(load(data, path), "the manifest", _KEYS)
    if "wants" in members:  # what would be nice to have, best first: well-formed, and never a reason to refuse
        for tier in reading.items(members["wants"], "wants"):
            reading.text(reading.mapping(tier, "a tier of wants").get("tier", tier), "the tier's name")
    if "needs" not in members:
        return None
    rules = Rules("declared")
    rules.needs(members["needs"])
    return Declared(rules.grants, [])
