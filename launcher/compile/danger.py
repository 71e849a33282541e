"""The danger list as denies: the entries that some grant of this launch could reach, and no others.

A name of the list is denied unless a grant that covers it says `allow_danger` with the name of the entry
(`Permissions.decide`). An entry that no grant reaches would deny what nothing allows, and is left out: so a launch that
grants no files pays nothing, and a profile says what matters to it.
"""

from __future__ import annotations

from launcher.capability.grant import Grant, Place
from launcher.capability.kinds import DANGER_PREFIX
from launcher.capability.paths import PathPattern

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from launcher.capability.scope import Scope

_WRITES = ("write", "append", "delete")
_EVERY = ("read", *_WRITES)


def danger_denies(entries: Sequence[dict[str, Any]], grants: Sequence[Grant], scope: Scope) -> list[Grant]:
    """The denies, of policies `danger:NAME`. `entries` are those of `launcher.policy.danger`."""
    tops = _tops([grant for grant in grants if grant.type in {"file", "path"}], scope)
    written = _tops([grant for grant in grants if grant.type == "file" and set(_WRITES) & set(grant.operations)], scope)
    denies = []
    for entry in entries if tops else ():
        policy, place = DANGER_PREFIX + entry["name"], Place.from_data(entry["place"])
        hidden = _reached(entry["hidden"], tops, scope)
        kept = _reached(entry["write"], written, scope)
        if hidden:
            denies.append(Grant("file", _EVERY, hidden, {}, policy, place))
            denies.append(Grant("path", ("read", "write"), hidden, {}, policy, place))
        if kept:
            denies.append(Grant("file", _WRITES, kept, {}, policy, place))
    return denies


def _tops(grants: Sequence[Grant], scope: Scope) -> list[str]:
    """The literal directories of what is granted, none inside another."""
    patterns = [PathPattern(str(text), scope) for grant in grants for text in grant.patterns]
    prefixes = {pattern.prefix if pattern.anchored else scope.base for pattern in patterns}
    tops: list[str] = []
    for prefix in sorted(prefixes, key=len):
        if not any(prefix == top or prefix.startswith(top.rstrip("/") + "/") for top in tops):
            tops.append(prefix)
    return tops


def _reached(texts: Sequence[str], tops: Sequence[str], scope: Scope) -> tuple[str, ...]:
    if not tops:
        return ()
    patterns = [PathPattern(text, scope) for text in texts]
    return tuple([pattern.text for pattern in patterns if any(pattern.could_match_below(top) for top in tops)])
