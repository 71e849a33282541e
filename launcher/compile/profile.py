"""The Profile: one sandbox as one JSON value, its canonical bytes and their digest.

The shape is `profile.schema.json`; `launcher.compile.schema` checks a value against it. A Profile is never changed
after it was made: what is explained is what is executed because both read this one value.
"""

from __future__ import annotations

from launcher.canonical import canonical_json, sha256_hex
from launcher.errors import ConfigurationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SCHEMA = "mlsandbox.profile/1"


class Profile:
    """One compiled sandbox. `data` is the JSON value; treat it as read-only."""

    __slots__ = ("_bytes", "_digest", "data")

    def __init__(self, data: dict[str, Any]) -> None:
        self.data = data
        self._bytes = canonical_json(data)
        self._digest = "sha256:" + sha256_hex(self._bytes)

    @property
    def digest(self) -> str:
        """`sha256:` and 64 hexadecimal digits, over the canonical bytes at the time it was made."""
        return self._digest

    def to_bytes(self) -> bytes:
        """Canonical JSON, ASCII, without a final newline."""
        return self._bytes

    @classmethod
    def from_bytes(cls, data: bytes) -> Profile:
        """The Profile of canonical JSON. Raises ConfigurationError for anything but a profile of this version."""
        import json

        try:
            value = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise ConfigurationError(f"this is not a profile: {error}") from error
        if not isinstance(value, dict) or value.get("schema") != SCHEMA:
            found = value.get("schema") if isinstance(value, dict) else None
            raise ConfigurationError(f"this is not a {SCHEMA} profile (schema: {found!r})")
        try:
            profile = cls(value)
        except TypeError as error:  # a float: nothing in a profile is one
            raise ConfigurationError(f"this is not a profile: {error}") from error
        if profile._bytes != data:
            # Two texts for one value would give one sandbox two digests in the audit.
            raise ConfigurationError("this profile is not in canonical form", hint="export it again")
        return profile

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Profile) and self._bytes == other._bytes

    def __hash__(self) -> int:
        return hash(self._bytes)

    def __repr__(self) -> str:
        return f"Profile({self._digest})"
