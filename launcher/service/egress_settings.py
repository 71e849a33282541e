"""What the configuration says about egress, for the proxy of one launch: which secrets, the way out, whom to trust.

What is secret is read in the proxy's process alone (`fill`), while that still has the launcher's ids: the sandbox's
first process is a fork of the supervisor, and so the supervisor must never hold it.
"""

from __future__ import annotations

import os

from launcher.errors import ConfigurationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LARGEST_TRUST = 1 << 20
_CREDENTIALS = "upstream proxy"


class Settings:
    """`data` is for `launcher.egress.handle.start`; `variables` are the job's, and hold placeholders."""

    __slots__ = ("_credentials", "_sources", "data", "variables")

    def __init__(self, config: dict[str, Any], network: dict[str, Any], job: str) -> None:
        """`config` is `Config.egress`, `network` the profile's section. Raises ConfigurationError."""
        known = config.get("secrets", {})
        bound = _bound(network)
        for name, place in bound.items():
            if name not in known:
                hint = f"in config.yaml: egress: {{secrets: {{{name}: {{file: /etc/mlsandbox/secrets/{name}}}}}}}"
                raise ConfigurationError(f"the secret {name!r} is not configured", hint=hint, place=place)
        self._sources: dict[str, dict[str, Any]] = {name: known[name] for name in bound}
        proxy = config.get("upstream_proxy")
        self._credentials: dict[str, Any] | None = known[proxy["secret"]] if proxy and proxy["secret"] else None
        self.variables: dict[str, str] = {}
        self.data: dict[str, Any] = {
            "limits": config.get("limits", {}),
            "secrets": {},
            "placeholders": self._placeholders(),
            "upstream_proxy": [proxy["host"], proxy["port"], ""] if proxy else None,
            "no_proxy": config.get("no_proxy", []),
            "anchors": _trusted(config["trust"]) if "trust" in config else "",
            "job": job,
        }

    def _placeholders(self) -> dict[str, str]:
        if not self._sources:
            return {}
        from launcher.egress.secrets import placeholder
        from launcher.policy.secret_names import variable

        found = {name: placeholder() for name in self._sources}
        self.variables = {variable(name): value for name, value in found.items()}
        return found

    def fill(self) -> None:
        """In the proxy's process: reads what is secret into its copy of `data`. Raises ConfigurationError."""
        if not self._sources and self._credentials is None:
            return
        from launcher.egress.secrets import fetch

        self.data["secrets"] = {name: fetch(name, source) for name, source in self._sources.items()}
        if self._credentials is not None:
            self.data["upstream_proxy"][2] = fetch(_CREDENTIALS, self._credentials)


def _bound(network: dict[str, Any]) -> dict[str, str]:
    """The secrets that the grants inject, each with the place of a grant that does."""
    return {
        entry["secret"]: grant["place"]
        for grant in network["egress"]
        for entry in grant["constraints"].get("inject") or ()
    }


def _trusted(path: str) -> str:
    """The certificates that `trust` names. Raises ConfigurationError."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            text = file.read(_LARGEST_TRUST)
    except OSError as error:
        raise ConfigurationError(f"egress.trust: {path}: {os.strerror(error.errno or 0)}") from error
    if "PRIVATE KEY" in text:
        raise ConfigurationError(f"egress.trust: {path} holds a private key", hint="give certificates alone")
    return text
