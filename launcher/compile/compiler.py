"""Grants, base profile and host features become one Profile. Pure: the same inputs give the same bytes.

The permissions in the profile are what the in-process check and the commit judge with; every list beside them is
derived from those same permissions, so the two checks cannot be of different policies.
"""

from __future__ import annotations

from launcher.capability.limits import TABLE
from launcher.capability.permissions import Permissions
from launcher.compile import requirements
from launcher.compile.commands import command_rules
from launcher.compile.effective import directories, granted, held, run_with
from launcher.compile.files import file_rules
from launcher.compile.mechanisms import mechanisms
from launcher.compile.profile import SCHEMA, Profile
from launcher.compile.reach import environment, names, network
from launcher.compile.view import view

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from launcher.compile.base import BaseProfile
    from launcher.compile.options import Options
    from launcher.identity.user import User
    from launcher.kernel.features import Features
    from launcher.policy.merge import Merged


def compile_profile(merged: Merged, user: User, base: BaseProfile, features: Features, options: Options) -> Profile:
    """The sandbox for one launch of `user`.

    Raises RefusedError when the declaration asks for what is not granted, when --env names what is not granted, or
    when this host cannot enforce what is granted and the operator did not accept that; DocumentError for a live
    grant that cannot hold as written.
    """
    everything = granted(merged, base, options)
    mode = run_with(merged, base)
    holding = held(everything, mode, options.declared)
    data = _sections(holding, user, base, features, options)
    data.update(
        {
            "schema": SCHEMA,
            "base": base.handle,
            "user": {"name": user.name, "home": user.home},
            "workspace": holding.scope.base,
            "policies": sorted(
                [{"handle": policy.handle, "digest": policy.digest} for policy in merged.policies],
                key=lambda policy: policy["handle"],
            ),
            "run_with": mode,
            "commit": "success" if "success" in (merged.commit, base.data["commit"]) else "always",
        }
    )
    data["unenforced"] = requirements.check(data, features, options)
    data["landlock"] = {"minimum_abi": min(data["landlock"]["minimum_abi"], features.landlock)}
    data["mechanisms"] = mechanisms(data, features, options)
    return Profile(data)


def _sections(
    holding: Permissions, user: User, base: BaseProfile, features: Features, options: Options
) -> dict[str, Any]:
    limits = {name: getattr(holding.limits, name) for name in TABLE}
    return {
        "permissions": _with_view(holding, base, features).to_data(),
        "view": view(base, features.root_links, limits),
        "files": file_rules(holding, features),
        "commands": command_rules(holding, base, features.root_links),
        "network": network(holding, base),
        "environment": environment(holding, base, user, options.environment),
        "keychain": names(holding, "keychain"),
        "devices": names(holding, "device"),
        "sockets": names(holding, "socket"),
        "syscalls": dict(base.data["syscalls"]),
        "landlock": dict(base.data["landlock"]),
        "limits": limits,
    }


def _with_view(holding: Permissions, base: BaseProfile, features: Features) -> Permissions:
    scope = holding.scope
    shown = base.view_grants(features.root_links, scope, directories(holding.grants, scope))
    return Permissions((*holding.grants, *shown), holding.denies, holding.limits, scope)
