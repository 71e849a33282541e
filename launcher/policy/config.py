"""The operator's configuration as a value. Read from YAML by `config_document`, from the cache on the launch path."""

from __future__ import annotations

from launcher.identity.jwt_settings import Jwt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from launcher.capability.limits import Limits

ON_FAILURE = ("refuse", "continue")
DEFAULT_OPERATORS = "mlsandbox"


class Config:
    """`/etc/mlsandbox/config.yaml`; a missing file means the defaults.

    `operators` is the OS group whose members may launch for others; `id_range` is `(first, count)` of the ids that
    tenants' jobs get, or None; `audit` has `path` and `on_failure` where they were set; `limits` are ceilings for
    everybody; `disabled_users` may not launch, however they authenticate; `egress` is what `egress_document` made of
    that key, {} for the defaults; `queue` what `queue_document` made of that.
    """

    __slots__ = (
        "_limits",
        "audit",
        "digest",
        "disabled_users",
        "egress",
        "id_range",
        "jwt",
        "keychain",
        "operators",
        "queue",
    )

    def __init__(
        self,
        *,
        operators: str = DEFAULT_OPERATORS,
        id_range: tuple[int, int] | None = None,
        jwt: Jwt | None = None,
        audit: dict[str, str] | None = None,
        limits: Limits | dict[str, Any] | None = None,
        disabled_users: tuple[str, ...] = (),
        digest: str = "",
    ) -> None:
        self.operators = operators
        self.id_range = id_range
        self.jwt = jwt
        self.audit = audit or {}
        self._limits = limits
        self.disabled_users = disabled_users
        self.egress: dict[str, Any] = {}
        self.keychain: dict[str, Any] = {}
        self.queue: dict[str, Any] = {}
        self.digest = digest

    @property
    def limits(self) -> Limits:
        """Made when first asked for: a launch with a remembered decision does not import what they are made of."""
        if self._limits is None or isinstance(self._limits, dict):
            from launcher.capability.limits import Limits

            self._limits = Limits() if self._limits is None else Limits.from_data(self._limits)
        return self._limits

    @limits.setter
    def limits(self, value: Limits) -> None:
        self._limits = value

    def to_data(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "operators": self.operators,
            "id_range": list(self.id_range) if self.id_range else None,
            "jwt": self.jwt.to_data() if self.jwt else None,
            "audit": self.audit,
            "limits": self.limits.to_data(),
            "disabled_users": list(self.disabled_users),
            "egress": self.egress,
            "keychain": self.keychain,
            "queue": self.queue,
            "digest": self.digest,
        }

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> Config:
        """The inverse of `to_data`."""
        ids = data["id_range"]
        config = cls(
            operators=data["operators"],
            id_range=(ids[0], ids[1]) if ids else None,
            jwt=Jwt.from_data(data["jwt"]) if data["jwt"] else None,
            audit=data["audit"],
            limits=data["limits"],
            disabled_users=tuple(data["disabled_users"]),
            digest=data["digest"],
        )
        config.egress = data["egress"]
        config.keychain = data["keychain"]
        config.queue = data["queue"]
        return config
