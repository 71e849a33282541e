"""The permission algebra: grants, patterns, decisions, limits, containment. Pure, and on the launch path.

One algebra serves policy, validator, runtime check, compiler and audit; nobody else matches strings.
"""

from __future__ import annotations

from launcher.capability.commands import CommandPattern
from launcher.capability.decision import Decision, Shortfall
from launcher.capability.grant import NOWHERE, Grant, Place
from launcher.capability.hosts import HostPattern, canonical_host
from launcher.capability.kinds import KINDS
from launcher.capability.limits import Limits
from launcher.capability.paths import PathPattern
from launcher.capability.permissions import Permissions
from launcher.capability.scope import Scope, canonical_path
from launcher.capability.suggest import suggest

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
