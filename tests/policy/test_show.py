"""`admin show --user`: the seeds' layout, exactly."""

from __future__ import annotations

from pathlib import Path

from launcher.identity.user import User
from launcher.policy.policy_document import read_policy
from launcher.policy.show import policy_lines, user_lines

EXAMPLE = Path(__file__).parents[2] / "examples" / "policies" / "data_scientist.yaml"

# The first seed, "Administrator Grants Policy".
GOLDEN = """\
  User: alice
  Policies: data_scientist
  Capabilities:
    - file: data/*.csv, data/*.json, output/*.txt (read, write)
    - network: api.internal.company.com (https)
    - database: postgresql://analytics-db/ (select, insert)
"""


def test_the_seeds_layout() -> None:
    policy = read_policy(EXAMPLE.read_bytes(), "p.yaml", "data_scientist")
    assert "\n".join(user_lines(User("alice"), [policy])) + "\n" == GOLDEN


def test_nobody_holds_nothing() -> None:
    assert user_lines(User("carol"), [], indent="") == ["User: carol", "Policies: none", "Capabilities: none"]


def test_denies_and_whole_sets_are_shown() -> None:
    policy = read_policy(b"policy: {capabilities: {js: true, cmd: [[git, log]]}, deny: [sh, 'file.read:/x']}", "p", "p")
    assert user_lines(User("bob"), [policy, policy], indent="")[2:] == [
        "Capabilities:",
        "  - js: all (execute)",
        "  - cmd: [git, log] (execute)",
        "Denied:",
        "  - sh: all (execute)",
        "  - file: /x (read)",
    ]


def test_the_list_of_policies() -> None:
    one = read_policy(EXAMPLE.read_bytes(), "p.yaml", "data_scientist")
    two = read_policy(b"policy: {deny: [sh]}", "p.yaml", "no_sh")
    assert policy_lines([one, two], {"no_sh": ["role dev"]}) == [
        "data_scientist  3 grants, 0 denies  alice, bob, group data_team, group analytics",
        "no_sh           0 grants, 1 deny  role dev",
    ]
