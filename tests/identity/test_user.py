"""Names and users as values."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from launcher.identity.user import MAX_NAME, User, valid_name


@given(st.text(max_size=MAX_NAME + 5))
def test_a_valid_name_is_safe_everywhere(name: str) -> None:
    if valid_name(name):
        assert name.isascii()
        assert name.isprintable()
        assert not set(name) & set(" /\\:,;%$`'\"!*?[]{}()<>|&#~=\n")
        assert name[0] not in "-."
        assert len(name) <= MAX_NAME


def test_ordinary_names_are_valid() -> None:
    for name in ("alice", "_svc", "a.b-c", "alice@example.com", "x+y", "user1"):
        assert valid_name(name)


def test_a_user_is_the_same_after_a_round_trip() -> None:
    user = User("alice", uid=5, gid=6, groups=("a",), roles=("b",), email="e@x", method="jwt", home="/h")
    assert User.from_data(user.to_data()) == user
