"""launcher.egress.secrets: where a credential may come from, and that no error shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
