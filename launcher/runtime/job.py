"""What a program is told about its job, from the context that the supervisor hands in."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any


class Job:
    """The program's name and arguments, the staged directories, and the secrets that were granted to it by name."""

    __slots__ = ("_secrets", "arguments", "loopback", "name", "packages", "staged", "state")

    def __init__(
        self,
        name: str = "",
        arguments: Sequence[str] = (),
        staged: Sequence[str] = (),
        secrets: Mapping[str, str] | None = None,
        packages: Sequence[str] = (),
        *,
        loopback: bool = False,
    ) -> None:
        self.name = name
        # Whether the base profile gives the job's network namespace its own loopback interface: no grant says so.
        self.loopback = loopback
        self.arguments = tuple(arguments)
        self.staged = tuple(staged)
        # Where optional packages are (the interpreter is started without site-packages).
        self.packages = tuple(packages)
        # What library modules keep for the life of the job, by module.
        self.state: dict[str, Any] = {}
        self._secrets = dict(secrets or {})

    def secret(self, name: str) -> str | None:
        """The value of a granted keychain entry, None when the job was given none of that name."""
        return self._secrets.get(name)

    def secret_names(self) -> list[str]:
        """The names of the keychain entries that the job was given, sorted."""
        return sorted(self._secrets)

    def __repr__(self) -> str:
        return f"<Job {self.name}>"

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Job:
        """From the context JSON: `name`, `args`, `staged`, `keychain`, `packages`, `loopback`, each optional."""
        return cls(
            str(data.get("name", "")),
            [str(word) for word in data.get("args", ())],
            [str(path) for path in data.get("staged", ())],
            {str(name): str(value) for name, value in data.get("keychain", {}).items()},
            [str(path) for path in data.get("packages", ())],
            loopback=data.get("loopback") is True,
        )
