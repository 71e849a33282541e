"""`mlsandbox logout`: forget the stored token."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher.cli.output import show, show_json
from launcher.identity import token_file
from launcher.policy.paths import Locations

if TYPE_CHECKING:
    from launcher.cli.options import Arguments

HELP = "Forget the token that `mlsandbox login` stored."
EXAMPLE = "mlsandbox logout"


def run(arguments: Arguments) -> int:
    """0 whether or not there was a token."""
    removed = token_file.remove(Locations.find(arguments.root).token)
    if arguments.json:
        show_json({"removed": removed})
    else:
        show("logged out" if removed else "there was no stored token")
    return 0
