"""`mlsandbox whoami`: who you are to the launcher, and what you are granted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher.cli.options import Option
from launcher.cli.output import show, show_json
from launcher.cli.requests import request_identity
from launcher.policy import cache
from launcher.policy.paths import Locations, service_socket
from launcher.service.asking import identify
from launcher.service.client import connect
from launcher.service.remote import credentials
from launcher.service.whoami import about

if TYPE_CHECKING:
    from launcher.cli.options import Arguments

HELP = "Show who you are to the launcher, how that was established, and what you are granted."
EXAMPLE = "mlsandbox whoami"
OPTIONS = (Option("--token", metavar="TOKEN", help="an identity token (MLSANDBOX_TOKEN)"),)


def run(arguments: Arguments) -> int:
    """Prints the user, the method and the grants."""
    request = request_identity(arguments)
    client = connect(service_socket(request.root))
    if client:
        found = client.call("whoami", credentials(request.token, request.root))
    else:
        locations = Locations.find(request.root)
        snapshot = cache.load(locations)
        found = about(identify(request, snapshot, locations), snapshot)
    if arguments.json:
        show_json({**found["user"], "operator": found["operator"], "policies": found["policies"]})
        return 0
    for line in found["lines"]:
        show(line)
    show(f"authenticated by {found['authenticated_by']}{', an operator' if found['operator'] else ''}")
    return 0
