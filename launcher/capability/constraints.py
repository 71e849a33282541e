"""Whether a grant's constraints accept those of a need. Absent in a need accepts whatever the grant says."""

from __future__ import annotations

from launcher.capability.limits import SIZE, parse_quantity

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from launcher.capability.grant import Grant

# A need of at most the grant's value is inside it; a grant without the value has no such bound.
_BOUNDS = frozenset(("max_file_size", "max_requests", "max_bytes", "max_rows", "max_uses"))
# True asks for more than false; a grant that does not say it does not give it.
_EXTRAS = frozenset(("live", "allow_private", "allow_loopback"))
# A need of some of the grant's values is inside it; a grant without a list has every value.
_SETS = frozenset(("tables", "methods"))
# Compared where the patterns are (ports), or no matter of containment (when it ends, when it is committed, what it
# means of the danger list, which is not subtracted from declarations).
_ELSEWHERE = frozenset(("ports", "expires_at", "commit", "allow_danger"))


def accepts(grant: Grant, need: Grant) -> bool:
    """Whether every constraint that the need states is inside what the grant states."""
    return all(_accepts(name, value, grant.constraints.get(name)) for name, value in need.constraints.items())


def _accepts(name: str, wanted: Any, given: Any) -> bool:
    if name in _ELSEWHERE or wanted is None:
        return True
    if name in _BOUNDS:
        return given is None or parse_quantity(name, wanted, SIZE) <= parse_quantity(name, given, SIZE)
    if name in _EXTRAS:
        return bool(given) or not wanted
    if name in _SETS:
        return given is None or _words(wanted) <= _words(given)
    # Anything else (a rate, how TLS is handled, what is injected): only the same thing is known to be inside.
    return bool(given == wanted)


def _words(value: Any) -> set[str]:
    return {str(item).upper() for item in (value if isinstance(value, (list, tuple)) else [value])}
