"""Patterns of each type, checked when a document is read: the algebra's own parsers decide, the place is added here."""

from __future__ import annotations

from launcher.capability import kinds
from launcher.capability.commands import CommandPattern
from launcher.capability.databases import UrlPattern
from launcher.capability.hosts import HostPattern
from launcher.capability.kinds import KINDS
from launcher.capability.names import NamePattern
from launcher.capability.paths import PathPattern
from launcher.capability.scope import Scope
from launcher.errors import DocumentError, SandboxError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from launcher.capability.grant import Place

# Whether a pattern parses does not depend on where its anchors point.
_ANYWHERE = Scope("/home/user", "/work")

# What `true` and a bare name stand for in a grant. (In a deny it is `()`, which is everything.)
WHOLE: dict[str, tuple[str, ...]] = {
    kinds.PATH: ("**",),  # every path in the job's view; the whole host is /**, written out
    kinds.HOST: ("*",),  # every public host
    kinds.COMMAND: ("*",),  # every program in view
    kinds.PROGRAM: (),  # the whole set
    kinds.NAME: ("**",),
}


def check_command(pattern: str | tuple[str, ...], place: Place) -> None:
    """Raises DocumentError at `place` when `pattern` is not a command pattern."""
    located(lambda: CommandPattern.parse(pattern, _ANYWHERE), place)


def _command(text: str) -> object:
    return CommandPattern.parse(text, _ANYWHERE)


_PARSERS: dict[str, Callable[[str], object]] = {
    kinds.PATH: lambda text: PathPattern(text, _ANYWHERE),
    kinds.HOST: HostPattern,
    kinds.URL: UrlPattern,
    kinds.COMMAND: _command,
    kinds.PROGRAM: _command,
    kinds.NAME: NamePattern,
}


def check_pattern(kind: str, text: str, place: Place) -> None:
    """Raises DocumentError at `place` when `text` is not a pattern of the type `kind`."""
    located(lambda: _PARSERS[KINDS[kind].pattern](text), place)


def located(parse: Callable[[], object], place: Place) -> None:
    """Calls `parse`; what it refuses becomes a DocumentError at `place`."""
    try:
        parse()
    except SandboxError as error:
        raise DocumentError(error.message, hint=error.hint, place=error.place or str(place)) from None
