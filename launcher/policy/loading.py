"""Everything that is configured, read from documents and the grant store: what the cache holds."""

from __future__ import annotations

from launcher.capability.grant import did_you_mean
from launcher.errors import ConfigurationError, DocumentError
from launcher.policy import cache
from launcher.policy.base import load_base
from launcher.policy.config import Config
from launcher.policy.config_document import read_config
from launcher.policy.danger import HANDLE as DANGER
from launcher.policy.danger import check_names, read_danger
from launcher.policy.extends import expand
from launcher.policy.policy_document import SUFFIXES, handle_of, read_policy
from launcher.policy.store import GrantStore
from launcher.policy.trust import Reader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from launcher.policy.model import Policy
    from launcher.policy.paths import Locations


def load_and_cache(locations: Locations, *, strict: bool) -> dict[str, Any]:
    """Reads all documents and the grants, and caches them unless something changed meanwhile.

    Raises ConfigurationError and DocumentError: a document that cannot be read refuses every launch, for nobody
    knows whom it would have denied what.
    """
    reader = Reader(strict=strict)
    files = document_files(locations, reader)
    paths = cache.sources(locations, files, strict=strict)
    before = cache.stamps(paths)
    data = _read(locations, reader)
    after = cache.stamps(cache.sources(locations, document_files(locations, reader), strict=strict))
    data["stamps"] = before
    if before == after:
        cache.write_cache(locations, data, strict=strict)
    return data


def _read(locations: Locations, reader: Reader) -> dict[str, Any]:
    policies = expand(read_policies(locations, reader))
    bases = read_bases(locations, reader)
    for policy in policies.values():
        if policy.base and policy.base not in bases:
            raise DocumentError(
                f"policy {policy.handle!r} names the base profile {policy.base!r}, which does not exist",
                hint=did_you_mean(policy.base, bases),
                place=str(policy.place),
            )
    check_names(policies.values(), next(iter(bases.values()), {"danger": []})["danger"])
    reader.check(locations.grants)
    return {
        "config": read_configuration(locations, reader).to_data(),
        "policies": {handle: policy.to_data() for handle, policy in policies.items()},
        "bases": bases,
        "grants": [row.fields() for row in GrantStore(locations).rows()],
    }


def document_files(locations: Locations, reader: Reader) -> list[str]:
    """The paths of all policy and base profile documents."""
    directories = (locations.policies, *locations.profile_directories())
    return [f"{directory}/{name}" for directory in directories for name in _documents(directory, reader).values()]


def _documents(directory: str, reader: Reader) -> dict[str, str]:
    """Handle to file name. Hidden files and other suffixes are somebody else's; anything else must be usable."""
    found: dict[str, str] = {}
    for name in reader.names(directory):
        if name.startswith(".") or not name.endswith(SUFFIXES):
            continue
        handle = handle_of(name)
        if not handle:
            raise ConfigurationError(
                f"{directory}/{name!r} has a name that no policy can have",
                hint="rename it (letters, digits, _ - . and at most 64), or move it elsewhere",
            )
        if handle in found:
            raise ConfigurationError(
                f"{directory} has {found[handle]} and {name}: two documents for {handle!r}", hint="remove one"
            )
        found[handle] = name
    return found


def read_policies(locations: Locations, reader: Reader) -> dict[str, Policy]:
    """All policies by handle, as written (`extends` not followed)."""
    found: dict[str, Policy] = {}
    for handle, name in _documents(locations.policies, reader).items():
        path = f"{locations.policies}/{name}"
        content = reader.read(path)
        if content is not None:
            found[handle] = read_policy(content[0], path, handle)
    return found


def read_bases(locations: Locations, reader: Reader) -> dict[str, dict[str, Any]]:
    """All base profiles by handle, complete, each with the danger list, which binds them all.

    The administrator's own documents come before the shipped ones of the same name.
    """
    found: dict[str, str] = {}
    for directory in reversed(locations.profile_directories()):
        found.update({handle: f"{directory}/{name}" for handle, name in _documents(directory, reader).items()})

    def read(handle: str) -> tuple[bytes, str]:
        content = reader.read(found[handle]) if handle in found else None
        if content is None:
            raise ConfigurationError(f"there is no base profile {handle!r}", hint=did_you_mean(handle, found))
        return content[0], found[handle]

    danger = read_danger(*read(DANGER)) if DANGER in found else []
    return {handle: {**load_base(handle, read), "danger": danger} for handle in found if handle != DANGER}


def read_configuration(locations: Locations, reader: Reader) -> Config:
    """The configuration, or the defaults where there is no file."""
    content = reader.read(locations.config)
    return Config() if content is None else read_config(content[0], locations.config)
