"""A policy as a value: what one document says, after reading and with `extends` followed. On the launch path."""

from __future__ import annotations

from launcher.capability.grant import Grant, Place
from launcher.capability.limits import Limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from launcher.identity.user import User

RUN_WITH = ("granted", "declared")
COMMIT = ("always", "success")
DEFAULT_BASE = "default"
SUBJECTS = ("user", "group", "role")


class AppliesTo:
    """Who a policy is for: names of users, groups and roles, compared exactly (`Alice` is not `alice`)."""

    __slots__ = ("groups", "roles", "users")

    def __init__(self, users: tuple[str, ...] = (), groups: tuple[str, ...] = (), roles: tuple[str, ...] = ()) -> None:
        self.users = users
        self.groups = groups
        self.roles = roles

    def covers(self, user: User) -> bool:
        """Whether `user` is named here."""
        return (
            user.name in self.users
            or any(name in self.groups for name in user.groups)
            or any(name in self.roles for name in user.roles)
        )

    def to_data(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"users": list(self.users), "groups": list(self.groups), "roles": list(self.roles)}

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> AppliesTo:
        """The inverse of `to_data`."""
        return cls(tuple(data["users"]), tuple(data["groups"]), tuple(data["roles"]))


class Policy:
    """One document's meaning.

    `handle` is the file's stem, `base` the handle of a base profile or "" where the document names none.
    `grants` and `denies` carry the handle and place of the document that they stand in, which for what came through
    `extends` is another one. `digest` is that of the bytes that were read (with `extends`: of all of them).
    """

    __slots__ = (
        "applies_to",
        "base",
        "commit",
        "denies",
        "description",
        "digest",
        "extends",
        "grants",
        "handle",
        "limits",
        "name",
        "place",
        "run_with",
    )

    def __init__(  # noqa: PLR0913  one argument per key of the document
        self,
        handle: str,
        *,
        name: str = "",
        description: str = "",
        extends: tuple[str, ...] = (),
        base: str = "",
        applies_to: AppliesTo | None = None,
        grants: tuple[Grant, ...] = (),
        denies: tuple[Grant, ...] = (),
        limits: Limits | None = None,
        run_with: str = "granted",
        commit: str = "always",
        place: Place | None = None,
        digest: str = "",
    ) -> None:
        self.handle = handle
        self.name = name or handle
        self.description = description
        self.extends = extends
        self.base = base
        self.applies_to = applies_to or AppliesTo()
        self.grants = grants
        self.denies = denies
        self.limits = limits or Limits()
        self.run_with = run_with
        self.commit = commit
        self.place = place or Place()
        self.digest = digest

    def __repr__(self) -> str:
        return f"Policy({self.handle!r}, grants={self.grants!r}, denies={self.denies!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Policy) and self.to_data() == other.to_data()

    def __hash__(self) -> int:
        return hash((self.handle, self.digest))

    def to_data(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "handle": self.handle,
            "name": self.name,
            "description": self.description,
            "extends": list(self.extends),
            "base": self.base,
            "applies_to": self.applies_to.to_data(),
            "grants": [grant.to_data() for grant in self.grants],
            "denies": [grant.to_data() for grant in self.denies],
            "limits": self.limits.to_data(),
            "run_with": self.run_with,
            "commit": self.commit,
            "place": self.place.to_data(),
            "digest": self.digest,
        }

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> Policy:
        """The inverse of `to_data`."""
        return cls(
            data["handle"],
            name=data["name"],
            description=data["description"],
            extends=tuple(data["extends"]),
            base=data["base"],
            applies_to=AppliesTo.from_data(data["applies_to"]),
            grants=tuple([Grant.from_data(item) for item in data["grants"]]),
            denies=tuple([Grant.from_data(item) for item in data["denies"]]),
            limits=Limits.from_data(data["limits"]),
            run_with=data["run_with"],
            commit=data["commit"],
            place=Place.from_data(data["place"]),
            digest=data["digest"],
        )
