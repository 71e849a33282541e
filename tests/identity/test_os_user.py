"""The OS user, as the kernel and the host's tables have it."""

from __future__ import annotations

import os
import pwd
import subprocess
from typing import TYPE_CHECKING

import pytest

from launcher.errors import IdentityError
from launcher.identity import os_user

if TYPE_CHECKING:
    from pathlib import Path


def test_the_caller_is_the_real_uid() -> None:
    user = os_user.authenticate()
    assert (user.uid, user.method) == (os.getuid(), "os")


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_a_uid_without_an_entry_has_a_name_that_no_token_can_claim() -> None:
    program = (
        f"import sys; sys.path.insert(0, {os.getcwd()!r})\n"
        "from launcher.identity import os_user\nfrom launcher.identity.user import valid_name\n"
        "u = os_user.authenticate(); print(u.name, u.uid, u.gid, u.home, valid_name(u.name))"
    )
    done = subprocess.run(
        ["/usr/bin/python3", "-I", "-S", "-B", "-c", program],
        capture_output=True,
        text=True,
        check=True,
        user=54321,
        group=54322,
    )
    assert done.stdout.split() == ["#54321", "54321", "54322", "/nonexistent", "False"]


def test_names_are_exact() -> None:
    assert os_user.by_name("root") is not None
    for name in ("Root", "ROOT", "root ", "", "a\0b", "\udcff", "no-such-user"):
        assert os_user.by_name(name) is None


def test_a_directory_that_folds_case_does_not_make_one_user_of_two() -> None:
    """Active Directory finds `alice` for `Alice`; a policy for one is not a policy for the other."""
    assert os_user.by_name("ROOT", lambda name: pwd.getpwnam(name.lower())) is None
    assert os_user.by_name("root", lambda name: pwd.getpwnam(name.lower())) is not None


def test_root_is_in_its_group() -> None:
    root = os_user.by_name("root")
    assert root is not None
    assert "root" in root.groups


def test_somebody_whom_only_policies_know() -> None:
    user = os_user.named("tenant-a")
    assert (user.uid, user.method, user.groups) == (None, "named", ())
    for name in ("", "--", "-e", "$(x)", "a\nb", "a/b", "a:b", "#0", "\uff41lice"):
        with pytest.raises(IdentityError, match="not a user name"):
            os_user.named(name)


SHADOW = (
    "root:*:19000:0:99999:7:::\n"
    "gone:$y$hash:19000:0:99999:7::1:\n"
    "soon:!:19000:0:99999:7::30000:\n"
    "short:*:1\n"
    "notgone:*:19000:0:99999:7::x:\n"
    "last:*:19000:0:99999:7::2:"
)


@pytest.mark.parametrize(
    ("name", "expired"),
    [
        ("root", False),
        ("gone", True),
        ("one", False),
        ("soon", False),
        ("short", False),
        ("notgone", False),
        ("last", True),
        ("", False),
    ],
)
def test_an_expired_account_is_found(tmp_path: Path, name: str, expired: bool) -> None:
    (tmp_path / "shadow").write_text(SHADOW)
    assert os_user.expired(name, 86_400 * 20_000, str(tmp_path / "shadow")) is expired


def test_without_the_right_to_read_it_nobody_is_expired(tmp_path: Path) -> None:
    assert not os_user.expired("root", 1e12, str(tmp_path / "none"))
    (tmp_path / "empty").write_text("")
    assert not os_user.expired("root", 1e12, str(tmp_path / "empty"))
