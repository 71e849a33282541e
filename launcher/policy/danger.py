"""The danger list (profiles/danger.yaml): names that a grant of a whole directory does not mean. Pure.

A launch does not come here: what is read is kept in the policy cache, and `launcher.compile.danger` makes denies of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from launcher.capability.check import check_grant
from launcher.capability.grant import Grant, did_you_mean
from launcher.capability.kinds import DANGER_PREFIX
from launcher.errors import DocumentError
from launcher.policy import reading
from launcher.policy.document import Node, load

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from launcher.policy.model import Policy

HANDLE = "danger"
CONSTRAINT = "allow_danger"
_KEYS = ("why", "hidden", "write")
_NAME = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")


def read_danger(data: bytes, file: str) -> list[dict[str, Any]]:
    """The entries: `name`, `why`, `hidden` and `write` (lists of path globs), `place`. Raises DocumentError."""
    members = reading.mapping(load(data, file), "the danger list", (HANDLE,))
    if HANDLE not in members:
        raise DocumentError("the danger list has no `danger:`", hint="everything stands below `danger:`", place=file)
    return [_entry(name, node) for name, node in reading.mapping(members[HANDLE], HANDLE).items()]


def _entry(name: str, node: Node) -> dict[str, Any]:
    members = reading.mapping(node, name, _KEYS)
    if not name or not _NAME.issuperset(name):
        reading.refuse(node.place, f"{name!r} cannot name an entry", "write lower case letters, digits and -")
    entry: dict[str, Any] = {
        "name": name,
        "why": reading.line(members["why"], "why") if "why" in members else "",
        "place": node.place.to_data(),
    }
    for key in ("hidden", "write"):
        entry[key] = list(reading.texts(members[key], key)) if key in members else []
        check_grant(Grant("file", ("read",), tuple(entry[key]), {}, DANGER_PREFIX + name, node.place), deny=True)
    anywhere = [text for text in entry["hidden"] if text.startswith("**")]
    if anywhere:
        hint = "name its directory; a deny of a policy may hide names anywhere, and pays for it"
        reading.refuse(node.place, f"{anywhere[0]!r} would have every readable tree enumerated at each launch", hint)
    return entry


def check_names(policies: Iterable[Policy], entries: Iterable[Mapping[str, Any]]) -> None:
    """Raises DocumentError where a policy allows an entry that the list does not have: a typing error is not silent."""
    known = [str(entry["name"]) for entry in entries]
    for policy in policies:
        for grant in policy.grants:
            for name in grant.constraints.get(CONSTRAINT, ()):
                if name not in known:
                    hint = did_you_mean(name, known)
                    raise DocumentError(f"the danger list has no entry {name!r}", hint=hint, place=str(grant.place))
