"""The permission algebra: grants, patterns, decisions, limits, containment. Pure, and on the launch path.

One algebra serves policy, validator, runtime check, compiler and audit; nobody else matches strings.

The names below are imported when they are first asked for (PEP 562): a launch whose decision is remembered needs the
limits and nothing else, and the whole algebra is 5 ms of imports.
"""

from __future__ import annotations

from launcher.capability.suggest import suggest  # at once: the function has the name of its module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from launcher.capability.commands import CommandPattern
    from launcher.capability.decision import Decision, Shortfall
    from launcher.capability.grant import NOWHERE, Grant, Place
    from launcher.capability.hosts import HostPattern, canonical_host
    from launcher.capability.kinds import KINDS
    from launcher.capability.limits import Limits
    from launcher.capability.paths import PathPattern
    from launcher.capability.permissions import Permissions
    from launcher.capability.scope import Scope, canonical_path

__all__ = [
    "KINDS",
    "NOWHERE",
    "CommandPattern",
    "Decision",
    "Grant",
    "HostPattern",
    "Limits",
    "PathPattern",
    "Permissions",
    "Place",
    "Scope",
    "Shortfall",
    "canonical_host",
    "canonical_path",
    "suggest",
]

_HOMES = {
    "KINDS": "kinds",
    "NOWHERE": "grant",
    "CommandPattern": "commands",
    "Decision": "decision",
    "Grant": "grant",
    "HostPattern": "hosts",
    "Limits": "limits",
    "PathPattern": "paths",
    "Permissions": "permissions",
    "Place": "grant",
    "Scope": "scope",
    "Shortfall": "decision",
    "canonical_host": "hosts",
    "canonical_path": "scope",
}


def __getattr__(name: str) -> object:
    """The names of `__all__`, from the modules that they live in."""
    import sys

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = f"{__name__}.{_HOMES[name]}"
    __import__(home)
    value = getattr(sys.modules[home], name)
    globals()[name] = value
    return value
