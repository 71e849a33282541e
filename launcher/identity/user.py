"""Who asks. On the launch path."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_NAME = 128
_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._@+-")
NO_HOME = "/nonexistent"  # what Debian's policy gives accounts without a home


class User:
    """One person or service.

    `uid` and `gid` are None for people whom the host does not know. `method` is the provider that vouches for the
    name ("os", "jwt"; "named" when an operator named somebody). Names are compared exactly, never folded: two tenants
    `alice` and `Alice` are two (attack 103).
    """

    __slots__ = ("email", "gid", "groups", "home", "method", "name", "roles", "uid")

    def __init__(  # noqa: PLR0913  one argument per attribute
        self,
        name: str,
        *,
        uid: int | None = None,
        gid: int | None = None,
        groups: tuple[str, ...] = (),
        roles: tuple[str, ...] = (),
        email: str = "",
        method: str = "",
        home: str = NO_HOME,
    ) -> None:
        self.name = name
        self.uid = uid
        self.gid = gid
        self.groups = groups
        self.roles = roles
        self.email = email
        self.method = method
        self.home = home

    def __repr__(self) -> str:
        return f"User({self.name!r}, uid={self.uid}, method={self.method!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, User) and self.to_data() == other.to_data()

    def __hash__(self) -> int:
        return hash((self.name, self.uid, self.method))

    def to_data(self) -> dict[str, Any]:
        """Plain JSON values."""
        data = {name: getattr(self, name) for name in self.__slots__}
        return {**data, "groups": list(self.groups), "roles": list(self.roles)}

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> User:
        """The inverse of `to_data`."""
        return cls(**{**data, "groups": tuple(data["groups"]), "roles": tuple(data["roles"])})


def valid_name(name: str) -> bool:
    """Whether `name` is one that a token or a command line may give a user, group or role.

    name = ( letter | digit | "_" ) { letter | digit | "." | "_" | "@" | "+" | "-" }, ASCII, at most 128.
    No blank, slash, colon, comma, quote or control character, and no leading dash: names reach logs, file names and
    the argument lists of other programs (attack 101).
    """
    return 0 < len(name) <= MAX_NAME and name[0] not in ".@+-" and all(c in _NAME for c in name)
