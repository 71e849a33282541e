"""A learnt policy as a document: a list of capability strings, which is what `--merge` reads again. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher.errors import DocumentError
from launcher.policy.document import LIST, TEXT, load
from launcher.policy.policy_document import read_policy
from launcher.service.denials import quoted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from launcher.policy.model import Policy

HANDLE = "learnt"


def written(grants: Sequence[str], command: Sequence[str], user: str, notes: Sequence[str]) -> bytes:
    """The document. `notes` are lines for the reader: what was asked for and not granted."""
    shown = " ".join(quoted(word) for word in command)
    lines = [
        "# Proposed by `mlsandbox learn`: what this job did when it was learnt from, and nothing else.",
        "# Read it before you install it: the job chose what it asked for.",
        *[f"# not granted: {note}" for note in notes],
        "policy:",
        f"  description: {quoted(f'learnt from {shown}'[:500])}",
        f"  applies_to: {{users: [{quoted(user)}]}}",
        "  capabilities:" if grants else "  capabilities: []",
        *[f"    - {quoted(grant)}" for grant in grants],
    ]
    return "\n".join(lines).encode("utf-8", "surrogateescape") + b"\n"


def policy(grants: Sequence[str], user: str = "x") -> Policy:
    """The grants through the reader of policies. Raises DocumentError."""
    return read_policy(written(grants, ("x",), user, ()), "what was learnt", HANDLE)


def merged(data: bytes, file: str) -> list[str]:
    """The capability strings of a document that `learn` wrote. Raises DocumentError."""
    read_policy(data, file, HANDLE)
    members = load(data, file).members["policy"].members
    capabilities = members.get("capabilities")
    if capabilities is None:
        return []
    if capabilities.kind != LIST or any(item.kind != TEXT for item in capabilities.items):
        raise DocumentError(
            "only a list of capability strings can be merged", place=str(capabilities.place),
            hint="--merge takes what `learn -o` wrote",
        )  # fmt: skip
    return [str(item.value) for item in capabilities.items]
