"""Who launches for whom. Pure but for looking up a name that an operator gives. On the launch path."""

from __future__ import annotations

import os

from launcher.errors import IdentityError
from launcher.identity import os_user

TYPE_CHECKING = False
if TYPE_CHECKING:
    from launcher.identity.user import User
    from launcher.policy.config import Config


class Acting:
    """`user` is whose policies and ids hold, `caller` who asked; the audit names both.

    `operator` says that the caller is one.
    """

    __slots__ = ("caller", "operator", "user")

    def __init__(self, user: User, caller: User, *, operator: bool) -> None:
        self.user = user
        self.caller = caller
        self.operator = operator

    @property
    def for_somebody_else(self) -> bool:
        """Whether policies, base profiles and configuration must be ones that the user cannot have written."""
        return self.user.name != self.caller.name


def is_operator(caller: User, config: Config) -> bool:
    """Whether `caller` may launch for others: uid 0 or the operators' group, as the kernel knows them.

    The groups of a token do not count: they are another name space, which only happens to have the same word.
    """
    return caller.method == os_user.METHOD and (caller.uid == 0 or config.operators in caller.groups)


def resolve(caller: User, wanted: str | None, config: Config, *, process_uid: int | None = None) -> Acting:
    """Who this launch is for: the caller, or `wanted` when the caller is an operator.

    `process_uid` is the uid that this process acts with (its own by default). Raises IdentityError: bob may not
    launch for alice; a disabled user may not launch at all; a process that is not root cannot become another user.
    """
    operator = is_operator(caller, config)
    _refuse_disabled(caller, config)
    if wanted is None or wanted == caller.name:
        user = caller
    elif operator:
        user = os_user.named(wanted)
        _refuse_disabled(user, config)
    else:
        raise IdentityError(
            f"{caller.name!r} may not launch for {wanted!r}",
            hint=f"leave out --user, or ask an operator (root, or the group {config.operators!r})",
        )
    _refuse_impossible(user, os.geteuid() if process_uid is None else process_uid)
    return Acting(user, caller, operator=operator)


def _refuse_disabled(user: User, config: Config) -> None:
    if user.name in config.disabled_users:
        raise IdentityError(f"the user {user.name!r} is disabled", hint="`disabled_users` in the configuration says so")


def _refuse_impossible(user: User, process_uid: int) -> None:
    # A token that bob holds for alice's account must not run alice's grants with bob's files, nor the reverse.
    if process_uid not in {0, user.uid} and user.uid is not None:
        raise IdentityError(
            f"this process (uid {process_uid}) cannot act as {user.name!r} (uid {user.uid})",
            hint="submit the job to the service, which can",
        )
