"""`mlsandbox login`: keep an identity token for later launches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher.audit.printable import printable
from launcher.cli.options import Option
from launcher.cli.output import show, show_json
from launcher.errors import IdentityError, UsageError
from launcher.identity import token_file
from launcher.identity.registry import default_providers
from launcher.policy import cache
from launcher.policy.paths import Locations, service_socket
from launcher.service.client import connect

if TYPE_CHECKING:
    from launcher.cli.options import Arguments
    from launcher.policy.config import Config

HELP = "Verify an identity token and keep it, readable by you alone, for later launches."
EXAMPLE = "mlsandbox login --token-file token.jwt"
OPTIONS = (Option("--token-file", metavar="FILE", help="the file that holds the token"),)


def run(arguments: Arguments) -> int:
    """Stores the token of --token-file. Raises UsageError, IdentityError."""
    if not arguments.token_file:
        raise UsageError("--token-file is missing", hint="mlsandbox login --token-file FILE")
    locations = Locations.find(arguments.root)
    client = connect(service_socket(arguments.root))
    if client:
        token = _read(arguments.token_file)
        name = client.call("whoami", {"token": token})["user"]["name"]
    else:
        config = _verifying(locations)
        token = _read(arguments.token_file)
        name = default_providers(config).authenticate("jwt", token=token).name
    token_file.store(locations.token, token)
    if arguments.json:
        show_json({"user": name, "token": locations.token})
    else:
        show(f"logged in as {printable(name)}")
    return 0


def _verifying(locations: Locations) -> Config:
    """The configuration, where no service verifies: the keys are then this user's to read. Raises IdentityError."""
    config = cache.load(locations).config
    if config.jwt is None:
        raise IdentityError(
            "this installation verifies no tokens", hint=f"an administrator can set `jwt` in {locations.config}"
        )
    return config


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read(token_file.MAX_BYTES + 1).strip()
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read {path!r}: {getattr(error, 'strerror', None) or error}") from error
