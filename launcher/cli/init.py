"""`mlsandbox init`: make the configuration, the id range, the operators' group and a starter policy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher.cli.options import Option
from launcher.cli.output import show, show_json
from launcher.identity import os_user
from launcher.policy.init import Host, apply, plan
from launcher.policy.paths import Locations

if TYPE_CHECKING:
    from launcher.cli.options import Arguments

HELP = "Make the configuration, id ranges, operators' group and a first policy; what is there already is left alone."
EXAMPLE = """
mlsandbox init
mlsandbox --root /srv/trial init
"""
OPTIONS = (Option("--dry-run", flag=True, help="print what would be made"),)


def run(arguments: Arguments) -> int:
    """Idempotent. Raises ConfigurationError for the first step that fails."""
    locations = Locations.find(arguments.root)
    actions = plan(locations, Host.here(os_user.authenticate().name))
    steps = [action.describe() for action in actions]
    if not arguments.dry_run:
        apply(actions)
    if arguments.json:
        show_json({"configuration": locations.config, "policies": locations.policies, "made": steps})
        return 0
    for step in steps:
        show(step)
    if not steps:
        show("everything is there already")
    return 0
