"""Providers by name."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from launcher.errors import IdentityError
from launcher.identity.jwt_settings import Jwt
from launcher.identity.registry import Providers, default_providers
from launcher.identity.user import User
from launcher.policy.config import Config

if TYPE_CHECKING:
    from pathlib import Path


class Badge:
    """A provider as an extension would bring one."""

    made = 0

    def __init__(self) -> None:
        Badge.made += 1

    def authenticate(self, **credentials: str) -> User:
        """The user of a badge."""
        return User(credentials["badge"], method="badge")


def test_a_registered_provider_is_made_once_when_asked() -> None:
    providers = Providers()
    providers.register("badge", Badge)
    before = Badge.made
    assert providers.authenticate("badge", badge="alice").name == "alice"
    assert providers.authenticate("badge", badge="bob").name == "bob"
    assert Badge.made == before + 1
    with pytest.raises(ValueError, match="registered already"):
        providers.register("badge", Badge)


def test_an_unknown_method_names_those_that_there_are() -> None:
    with pytest.raises(IdentityError) as caught:
        default_providers(Config()).authenticate("ldap", username="x")
    assert caught.value.hint == "this host has: os"


def test_the_os_provider_takes_no_credentials() -> None:
    providers = default_providers(Config())
    assert providers.authenticate("os").uid == os.getuid()
    with pytest.raises(IdentityError, match="not by username"):
        providers.authenticate("os", username="root")


def test_tokens_only_where_they_are_configured(tmp_path: Path) -> None:
    key = tmp_path / "k"
    key.write_text("k" * 40)
    key.chmod(0o600)
    providers = default_providers(Config(jwt=Jwt("HS256", key_file=str(key))))
    assert providers.names() == ["jwt", "os"]
    with pytest.raises(IdentityError):
        providers.authenticate("jwt", token="a.b.c")


def test_a_configured_token_is_not_paid_for_before_there_is_one() -> None:
    program = (
        f"import sys; sys.path.insert(0, {os.getcwd()!r})\n"
        "from launcher.identity.registry import default_providers\nfrom launcher.identity.jwt_settings import Jwt\nfrom launcher.policy.config import Config\n"
        "default_providers(Config(jwt=Jwt('HS256', key_file='/k'))).authenticate('os')\n"
        "print('jwt' in sys.modules, 'cryptography' in sys.modules, 're' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"] * 3
