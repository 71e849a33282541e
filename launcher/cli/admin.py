"""`mlsandbox admin`: policies and who holds them. Every change is an audit event."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from launcher.audit.event import ALLOWED, event
from launcher.audit.log import AuditLog
from launcher.audit.printable import printable
from launcher.cli import audit
from launcher.cli.options import COMMON, Command, Option, Positional
from launcher.cli.output import show, show_json
from launcher.errors import UsageError
from launcher.identity import os_user
from launcher.policy import admin, cache
from launcher.policy.loading import read_configuration
from launcher.policy.paths import Locations
from launcher.policy.show import policy_lines, user_lines
from launcher.policy.trust import Reader

if TYPE_CHECKING:
    from launcher.cli.options import Arguments
    from launcher.policy.store import Row

HELP = "Manage policies and grants."
EXAMPLE = """
mlsandbox admin policy create data_scientist.yaml
mlsandbox admin grant data_scientist --user alice
mlsandbox admin show --user alice
"""
_SUBJECTS = (
    Option("--user", "-u", metavar="NAME", help="a user"),
    Option("--group", "-g", metavar="NAME", help="a group"),
    Option("--role", metavar="NAME", help="a role"),
)
_KINDS = ("user", "group", "role")


def _subject(arguments: Arguments) -> tuple[str, str]:
    given = [(kind, getattr(arguments, kind)) for kind in _KINDS if getattr(arguments, kind)]
    if len(given) != 1:
        raise UsageError("name one user, group or role", hint="--user NAME, --group NAME or --role NAME")
    return given[0]


class _Change:
    """One change of who may do what. The log is opened first: what could not be recorded is not done.

    Raises AuditError. Only the configuration is read for it: a policy that refuses every launch can still be replaced.
    """

    def __init__(self, arguments: Arguments) -> None:
        self.locations = Locations.find(arguments.root)
        self.by = os_user.authenticate()
        self._log = AuditLog(self.locations, read_configuration(self.locations, Reader(strict=self.locations.system)))
        self._log.append([])

    def record(self, name: str, resource: str, detail: dict[str, object]) -> None:
        self._log.append([event(name, "service", ALLOWED, user=self.by.name, resource=resource, detail=detail)])
        self._log.close()


def _done(arguments: Arguments, text: str, data: dict[str, object]) -> int:
    show_json(data) if arguments.json else show(text)
    return 0


def run_create(arguments: Arguments) -> int:
    """Validates and installs a policy."""
    change = _Change(arguments)
    policy = admin.create(change.locations, arguments.file, handle=arguments.name or "", replace=arguments.replace)
    change.record("policy.created", policy.handle, {"digest": policy.digest})
    return _done(arguments, f"policy {policy.handle} is installed", {"policy": policy.handle, "digest": policy.digest})


def run_list(arguments: Arguments) -> int:
    """All policies and whom they are for."""
    policies, rows = admin.listing(Locations.find(arguments.root))
    if arguments.json:
        show_json(
            [
                {**policy.to_data(), "assignments": [row.fields() for row in rows if row.policy == policy.handle]}
                for policy in policies
            ]
        )
        return 0
    for line in policy_lines(policies, _granted(rows)):
        show(line)
    if not policies:
        show("there are no policies; `mlsandbox admin policy create FILE` installs one", sys.stderr)
    return 0


def _granted(rows: list[Row]) -> dict[str, list[str]]:
    granted: dict[str, list[str]] = {}
    for row in rows:
        sign = "" if row.effect == "grant" else "not "
        granted.setdefault(row.policy, []).append(f"{sign}{row.kind} {row.name}")
    return granted


def run_show_policy(arguments: Arguments) -> int:
    """One policy as its document says it."""
    policy, content, rows = admin.show(Locations.find(arguments.root), arguments.policy)
    if arguments.json:
        show_json({**policy.to_data(), "assignments": [row.fields() for row in rows]})
        return 0
    show(f"# {policy.place.file} {policy.digest}")
    for line in content.decode("utf-8", "replace").splitlines():
        show(printable(line))
    return 0


def run_delete(arguments: Arguments) -> int:
    """Removes a policy; one that somebody holds only with --force."""
    change = _Change(arguments)
    admin.delete(change.locations, arguments.policy, force=arguments.force)
    change.record("policy.deleted", arguments.policy, {})
    return _done(arguments, f"policy {arguments.policy} is deleted", {"policy": arguments.policy})


def run_grant(arguments: Arguments) -> int:
    """Gives a policy to a user, group or role."""
    kind, name = _subject(arguments)
    change = _Change(arguments)
    admin.grant(change.locations, arguments.policy, kind, name, by=change.by)
    change.record("policy.granted", arguments.policy, {"kind": kind, "name": name})
    held_back = admin.exclusions(change.locations, arguments.policy, os_user.named(name)) if kind == "user" else []
    if held_back:
        said = ", ".join(held_back)
        show(f"{name} still does not hold it: it is revoked from {said}", sys.stderr)
    return _done(arguments, f"{arguments.policy} is granted to {kind} {name}", {"policy": arguments.policy, kind: name})


def run_revoke(arguments: Arguments) -> int:
    """Takes a policy away; this beats every other way of holding it."""
    kind, name = _subject(arguments)
    change = _Change(arguments)
    admin.revoke(change.locations, arguments.policy, kind, name, by=change.by)
    change.record("policy.revoked", arguments.policy, {"kind": kind, "name": name})
    return _done(
        arguments, f"{arguments.policy} is revoked from {kind} {name}", {"policy": arguments.policy, kind: name}
    )


def run_show(arguments: Arguments) -> int:
    """What a user holds, in the seeds' layout."""
    locations = Locations.find(arguments.root)
    if not arguments.user:
        raise UsageError("--user is missing", hint="mlsandbox admin show --user NAME")
    user = os_user.named(arguments.user)
    policies = cache.load(locations).policies_for(user)
    if arguments.json:
        show_json({"user": user.to_data(), "policies": [policy.to_data() for policy in policies]})
        return 0
    for line in user_lines(user, policies):
        show(line)
    return 0


_AUDIT_SHOW = next(command for command in audit.COMMANDS if command.name == "show")
_POLICY = Positional("policy", help="the policy's handle")
COMMANDS = (
    Command(
        "policy",
        help="Create, list, show and delete policies.",
        example="mlsandbox admin policy create data_scientist.yaml",
        commands=(
            Command(
                "create",
                help="Validate a policy document and install it.",
                example="mlsandbox admin policy create data_scientist.yaml",
                options=(
                    Positional("file", help="the policy document, YAML or JSON"),
                    Option("--name", metavar="HANDLE", help="another handle than the file's stem"),
                    Option("--replace", flag=True, help="install over a policy of the same handle"),
                ),
                run=run_create,
            ),
            Command("list", help="List policies.", example="mlsandbox admin policy list", run=run_list),
            Command(
                "show",
                help="Show a policy.",
                example="mlsandbox admin policy show data_scientist",
                options=(_POLICY,),
                run=run_show_policy,
            ),
            Command(
                "delete",
                help="Delete a policy.",
                example="mlsandbox admin policy delete data_scientist",
                options=(_POLICY, Option("--force", flag=True, help="also where somebody holds it")),
                run=run_delete,
            ),
        ),
    ),
    Command(
        "grant",
        help="Grant a policy to a user, group or role.",
        example="mlsandbox admin grant data_scientist --user alice",
        options=(_POLICY, *_SUBJECTS),
        run=run_grant,
    ),
    Command(
        "revoke",
        help="Revoke a policy from a user, group or role; a revocation beats every grant.",
        example="mlsandbox admin revoke data_scientist --user alice",
        options=(_POLICY, *_SUBJECTS),
        run=run_revoke,
    ),
    Command(
        "show",
        help="Show what a user is granted.",
        example="mlsandbox admin show --user alice",
        options=(_SUBJECTS[0],),
        run=run_show,
    ),
    Command(
        "audit",
        help="Show the audit log.",
        example='mlsandbox admin audit --user alice --since "2025-10-01"',
        options=[row for row in _AUDIT_SHOW.options if row not in COMMON],
        run=_AUDIT_SHOW.run,
    ),
)
