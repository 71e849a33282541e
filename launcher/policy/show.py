"""What `admin show` prints: a user's policies and capabilities, in the seeds' layout. Pure: returns lines."""

from __future__ import annotations

from launcher.capability.grant import pattern_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from launcher.capability.grant import Grant
    from launcher.identity.user import User
    from launcher.policy.model import Policy

INDENT = "  "


def user_lines(user: User, policies: Sequence[Policy], *, indent: str = INDENT) -> list[str]:
    """The lines of `admin show --user`: user, policies, one item for each grant, then denies where there are any.

    `indent` stands before every line: the seeds print the block two columns in.
    """
    handles = ", ".join([policy.handle for policy in policies]) or "none"
    grants = [grant for policy in policies for grant in policy.grants]
    denies = [deny for policy in policies for deny in policy.denies]
    lines = [f"User: {user.name}", f"Policies: {handles}"]
    lines += _section("Capabilities", grants) or ["Capabilities: none"]
    lines += _section("Denied", denies)
    return [indent + line for line in lines]


def _section(title: str, rules: Sequence[Grant]) -> list[str]:
    if not rules:
        return []
    return [f"{title}:", *dict.fromkeys([f"  - {rule_text(rule)}" for rule in rules])]


def rule_text(rule: Grant) -> str:
    """`file: data/*.csv, output/*.txt (read, write)`."""
    patterns = ", ".join([pattern_text(pattern) for pattern in rule.patterns]) or "all"
    return f"{rule.type}: {patterns} ({', '.join(rule.operations)})"


def policy_lines(policies: Sequence[Policy], granted: dict[str, list[str]]) -> list[str]:
    """The lines of `admin policy list`: handle, how many rules, whom it is for. `granted` has what the store adds."""
    width = max([len(policy.handle) for policy in policies], default=0)
    return [f"{policy.handle.ljust(width)}  {_rules(policy)}  {_people(policy, granted)}" for policy in policies]


def _rules(policy: Policy) -> str:
    return f"{_count(len(policy.grants), 'grant')}, {_count(len(policy.denies), 'deny')}"


def _count(number: int, word: str) -> str:
    plural = {"deny": "denies"}.get(word, word + "s")
    return f"{number} {word if number == 1 else plural}"


def _people(policy: Policy, granted: dict[str, list[str]]) -> str:
    who = policy.applies_to
    named = [*who.users, *[f"group {name}" for name in who.groups], *[f"role {name}" for name in who.roles]]
    return ", ".join([*named, *granted.get(policy.handle, [])]) or "nobody"
