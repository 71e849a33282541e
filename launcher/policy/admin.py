"""What an administrator does with policies: create, list, show, delete, grant, revoke. The CLI prints the results.

Who may call them is the file system's to decide: policies and the store belong to root in the host's layout.
"""

from __future__ import annotations

import os

from launcher.capability.grant import did_you_mean
from launcher.errors import ConfigurationError, DocumentError, UsageError
from launcher.policy.extends import expand
from launcher.policy.loading import read_bases, read_policies
from launcher.policy.policy_document import SUFFIXES, handle_of, read_policy, valid_handle
from launcher.policy.store import EXCLUDE, GRANT, GrantStore
from launcher.policy.trust import MAX_BYTES, Reader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from launcher.identity.user import User
    from launcher.policy.model import Policy
    from launcher.policy.paths import Locations
    from launcher.policy.store import Row


def create(locations: Locations, source: str, *, handle: str = "", replace: bool = False) -> Policy:
    """Installs the policy in the file `source` under its stem or `handle`, after it was read without an error.

    `replace` installs over one of the same handle. Raises UsageError, DocumentError (with `source` as the file) and
    ConfigurationError; nothing is changed then.
    """
    data = _source_bytes(source)
    name = handle or handle_of(os.path.basename(source))
    if not valid_handle(name):
        raise UsageError(
            f"{os.path.basename(source)!r} names no policy",
            hint=f"end it in {', '.join(SUFFIXES)}, or say --name HANDLE",
        )
    policy = read_policy(data, source, name)
    existing = read_policies(locations, _reader(locations))
    if name in existing and not replace:
        raise UsageError(f"there is a policy {name!r} already", hint="say --replace to install over it")
    _check_references(locations, policy, existing)
    suffix = ".json" if source.endswith(".json") else ".yaml"
    _install(locations, f"{name}{suffix}", data, _file_of(existing[name]) if name in existing else "")
    return policy


def _source_bytes(source: str) -> bytes:
    try:
        with open(source, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"cannot read {source}: {os.strerror(error.errno or 0)}") from None
    if len(data) > MAX_BYTES:
        raise DocumentError(f"larger than {MAX_BYTES} bytes", place=source)
    return data


def _check_references(locations: Locations, policy: Policy, existing: dict[str, Policy]) -> None:
    expand({**existing, policy.handle: policy})
    if policy.base:
        known = read_bases(locations, _reader(locations))
        if policy.base not in known:
            raise DocumentError(
                f"there is no base profile {policy.base!r}",
                hint=did_you_mean(policy.base, known),
                place=str(policy.place),
            )


def _install(locations: Locations, name: str, data: bytes, before: str) -> None:
    """Puts the document there at once: a launch reads the old or the new one, never half of one."""
    target = f"{locations.policies}/{name}"
    temporary = f"{locations.policies}/.{name}.{os.getpid()}"
    try:
        os.makedirs(locations.policies, 0o755, exist_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o644)
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        os.replace(temporary, target)
        if before and before != target:
            os.unlink(before)
    except OSError as error:
        _discard(temporary)
        raise ConfigurationError(f"cannot install {target}: {os.strerror(error.errno or 0)}") from None


def _discard(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        return


def listing(locations: Locations) -> tuple[list[Policy], list[Row]]:
    """All policies by handle, as written, and all assignments."""
    policies = read_policies(locations, _reader(locations))
    return [policies[handle] for handle in sorted(policies)], GrantStore(locations).rows()


def show(locations: Locations, handle: str) -> tuple[Policy, bytes, list[Row]]:
    """A policy with `extends` followed, its document's bytes and its assignments. Raises UsageError."""
    policies = read_policies(locations, _reader(locations))
    _known(handle, policies)
    content = _reader(locations).read(_file_of(policies[handle]))
    return expand(policies)[handle], content[0] if content else b"", GrantStore(locations).rows_of(handle)


def delete(locations: Locations, handle: str, *, force: bool = False) -> None:
    """Removes a policy and its assignments. Raises UsageError while somebody holds it, unless forced, and always while
    another policy extends it: that one could not be read any more, and every launch would be refused.
    """
    policies = read_policies(locations, _reader(locations))
    _known(handle, policies)
    children = [policy.handle for policy in policies.values() if handle in policy.extends]
    if children:
        raise UsageError(f"{handle!r} is extended by {', '.join(children)}", hint="change or delete those first")
    store = GrantStore(locations)
    holders = [f"{row.kind} {row.name}" for row in store.rows_of(handle) if row.effect == GRANT]
    if holders and not force:
        raise UsageError(f"{handle!r} is granted to {', '.join(holders)}", hint="revoke it from them, or say --force")
    try:
        os.unlink(_file_of(policies[handle]))
    except OSError as error:
        raise ConfigurationError(f"cannot remove the policy {handle!r}: {os.strerror(error.errno or 0)}") from None
    # The file first: between the two steps the policy is gone for everybody, never back for somebody revoked.
    store.forget(handle)


def grant(locations: Locations, handle: str, kind: str, name: str, *, by: User) -> None:
    """Grants a policy that exists to a user, group or role. Raises UsageError."""
    _known(handle, read_policies(locations, _reader(locations)))
    GrantStore(locations).grant(handle, kind, name, by.name)


def revoke(locations: Locations, handle: str, kind: str, name: str, *, by: User) -> None:
    """Excludes a user, group or role from a policy that exists. Raises UsageError."""
    _known(handle, read_policies(locations, _reader(locations)))
    GrantStore(locations).revoke(handle, kind, name, by.name)


def exclusions(locations: Locations, handle: str, user: User) -> list[str]:
    """Why `user` still does not hold a policy that was granted: `user alice`, `group interns`. Empty: nothing."""
    names = {("user", user.name), *[("group", name) for name in user.groups], *[("role", name) for name in user.roles]}
    rows = GrantStore(locations).rows_of(handle)
    return [f"{row.kind} {row.name}" for row in rows if row.effect == EXCLUDE and (row.kind, row.name) in names]


def _known(handle: str, policies: dict[str, Policy]) -> None:
    if handle not in policies:
        raise UsageError(f"there is no policy {handle!r}", hint=did_you_mean(handle, policies) if policies else "")


def _file_of(policy: Policy) -> str:
    return policy.place.file


def _reader(locations: Locations) -> Reader:
    return Reader(strict=locations.system)
