"""`mlsandbox whoami`: who you are to the launcher, and what you are granted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher.cli.options import Option
from launcher.cli.output import show, show_json
from launcher.cli.requests import request_identity
from launcher.policy import cache
from launcher.policy.paths import Locations
from launcher.policy.show import user_lines
from launcher.service.deciding import identify

if TYPE_CHECKING:
    from launcher.cli.options import Arguments

HELP = "Show who you are to the launcher, how that was established, and what you are granted."
EXAMPLE = "mlsandbox whoami"
OPTIONS = (Option("--token", metavar="TOKEN", help="an identity token (MLSANDBOX_TOKEN)"),)


def run(arguments: Arguments) -> int:
    """Prints the user, the method and the grants."""
    locations = Locations.find(arguments.root)
    snapshot = cache.load(locations)
    acting = identify(request_identity(arguments), snapshot, locations)
    policies = snapshot.policies_for(acting.user)
    if arguments.json:
        data = acting.user.to_data()
        show_json({**data, "operator": acting.operator, "policies": [policy.handle for policy in policies]})
        return 0
    for line in user_lines(acting.user, policies):
        show(line)
    show(f"authenticated by {acting.caller.method}{', an operator' if acting.operator else ''}")
    return 0
