"""Attack 103: who may launch for whom."""

from __future__ import annotations

import pytest

from launcher.errors import IdentityError
from launcher.identity.acting import is_operator, resolve
from launcher.identity.user import User
from launcher.policy.config import Config

ROOT = User("root", uid=0, gid=0, method="os")
BOB = User("bob", uid=1001, method="os", groups=("bob",))
CAROL = User("carol", uid=1002, method="os", groups=("mlsandbox",))
CONFIG = Config()


def test_without_a_name_it_is_the_caller() -> None:
    for wanted in (None, "bob"):
        acting = resolve(BOB, wanted, CONFIG, process_uid=1001)
        assert (acting.user, acting.caller, acting.operator, acting.for_somebody_else) == (BOB, BOB, False, False)


@pytest.mark.parametrize("wanted", ["alice", "root", "Bob", "BOB", "bob ", "", "nobody"])
def test_bob_may_not_launch_for_another(wanted: str) -> None:
    with pytest.raises(IdentityError, match="'bob' may not launch for"):
        resolve(BOB, wanted, CONFIG, process_uid=1001)


def test_an_operator_may_and_both_are_named() -> None:
    acting = resolve(ROOT, "nobody", CONFIG, process_uid=0)
    assert (acting.user.name, acting.user.uid, acting.caller.name) == ("nobody", 65534, "root")
    assert acting.operator
    assert acting.for_somebody_else
    assert resolve(ROOT, "tenant-a", CONFIG, process_uid=0).user.uid is None
    assert resolve(CAROL, "tenant-a", CONFIG, process_uid=1002).operator


def test_an_operator_without_root_cannot_become_somebody() -> None:
    with pytest.raises(IdentityError, match="cannot act as 'nobody'") as caught:
        resolve(CAROL, "nobody", CONFIG, process_uid=1002)
    assert "service" in caught.value.hint


def test_the_groups_of_a_token_make_no_operator() -> None:
    claimed = User("mallory", method="jwt", groups=("mlsandbox", "root"), roles=("admin",))
    assert not is_operator(claimed, CONFIG)
    with pytest.raises(IdentityError):
        resolve(claimed, "alice", CONFIG, process_uid=0)
    assert not is_operator(User("x", uid=0, method="jwt"), CONFIG)


def test_a_token_of_another_account_does_not_change_who_runs() -> None:
    """bob holds alice's token: her grants would run with his files."""
    alice = User("alice", uid=1000, method="jwt")
    with pytest.raises(IdentityError, match="cannot act as 'alice'"):
        resolve(alice, None, CONFIG, process_uid=1001)
    assert resolve(alice, None, CONFIG, process_uid=1000).user is alice
    assert resolve(User("tenant-a", method="jwt"), None, CONFIG, process_uid=1001).user.name == "tenant-a"


def test_a_disabled_user_launches_neither_by_himself_nor_through_an_operator() -> None:
    config = Config(disabled_users=("bob", "carol", "tenant-a"))
    for caller, wanted in ((BOB, None), (ROOT, "tenant-a"), (CAROL, "tenant-b")):
        with pytest.raises(IdentityError, match="is disabled"):
            resolve(caller, wanted, config, process_uid=0)


def test_the_operators_group_is_configured() -> None:
    assert is_operator(CAROL, CONFIG)
    assert not is_operator(CAROL, Config(operators="ops"))
