"""launcher.egress.secrets: where a credential may come from, and that no error shows it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import keyring
import keyring.backend
import keyring.core
import keyring.errors
import pytest

from launcher.egress import secrets
from launcher.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_private_file(tmp_path: Path) -> None:
    file = tmp_path / "s"
    file.write_text("value-1\nrest\n")
    file.chmod(0o600)
    assert secrets.fetch("S", {"file": str(file)}) == "value-1"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "s"
    file.write_text("value-1\n")
    file.chmod(mode)
    with pytest.raises(ConfigurationError, match="read by others") as caught:
        secrets.fetch("S", {"file": str(file)})
    assert "value-1" not in str(caught.value)


def test_links_and_missing_files_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "s"
    file.write_text("value-1\n")
    file.chmod(0o600)
    (tmp_path / "link").symlink_to(file)
    for name in ("link", "missing", "."):
        with pytest.raises(ConfigurationError):
            secrets.fetch("S", {"file": str(tmp_path / name)})


def test_a_command() -> None:
    assert secrets.fetch("S", {"command": ["echo", "value-2"]}) == "value-2"
    for argv in (["sh", "-c", "echo value-3; exit 1"], ["/nonexistent"], [], "echo x"):
        with pytest.raises(ConfigurationError) as caught:
            secrets.fetch("S", {"command": argv})
        assert "value-3" not in str(caught.value)


@pytest.mark.parametrize("source", [{}, {"vault": "x"}, {"file": "a", "command": ["b"]}])
def test_other_sources_are_refused(source: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        secrets.fetch("S", source)


def test_a_value_that_would_break_a_header_is_refused() -> None:
    with pytest.raises(ConfigurationError) as caught:
        secrets.fetch("S", {"command": ["printf", "a\\tb"]})
    assert "a\tb" not in str(caught.value)


def test_placeholders_differ() -> None:
    assert secrets.placeholder() != secrets.placeholder()


class _Store(keyring.backend.KeyringBackend):
    """A backend of the library's own kind, in memory."""

    priority = 1

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # the library has no types here
        self.held: dict[tuple[str, str], str] = {}

    def set_password(self, service: str, username: str, password: str) -> None:
        self.held[service, username] = password

    def get_password(self, service: str, username: str) -> str | None:
        if service == "locked":
            raise keyring.errors.KeyringLocked(f"value-4 is locked for {username}")
        return self.held.get((service, username))


def test_the_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    store = _Store()
    monkeypatch.setattr(keyring.core, "_keyring_backend", store)
    keyring.set_password("mlsandbox", "github", "value-4")
    assert secrets.fetch("S", {"keyring": ["mlsandbox", "github"]}) == "value-4"
    with pytest.raises(ConfigurationError, match="empty"):
        secrets.fetch("S", {"keyring": ["mlsandbox", "nobody"]})
    with pytest.raises(ConfigurationError, match="KeyringLocked") as caught:
        secrets.fetch("S", {"keyring": ["locked", "github"]})
    assert "value-4" not in str(caught.value)


def test_a_fifo_does_not_hold_the_launch_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "s", 0o600)
    with pytest.raises(ConfigurationError, match="not a file"):
        secrets.fetch("S", {"file": str(tmp_path / "s")})
