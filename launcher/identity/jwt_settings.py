"""How identity tokens are verified, as configured. On the launch path: it imports nothing."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# RFC 7518 names; `none` is not among them and cannot be configured.
ALGORITHMS = ("HS256", "RS256", "ES256", "EdDSA")


class Jwt:
    """How identity tokens are verified. `key` is a public key in PEM, `key_file` the path of a key; one of the two."""

    __slots__ = ("algorithm", "audience", "issuer", "key", "key_file")

    def __init__(
        self, algorithm: str, *, key: str = "", key_file: str = "", issuer: str = "", audience: str = ""
    ) -> None:
        self.algorithm = algorithm
        self.key = key
        self.key_file = key_file
        self.issuer = issuer
        self.audience = audience

    def to_data(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> Jwt:
        """The inverse of `to_data`."""
        return cls(**data)
