"""The stored token: its owner's alone, from the first moment."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from launcher.errors import IdentityError
from launcher.identity import token_file

if TYPE_CHECKING:
    from pathlib import Path


def test_a_token_comes_back_and_is_its_owners_alone(tmp_path: Path) -> None:
    path = str(tmp_path / "state" / "mlsandbox" / "token")
    before = os.umask(0)
    try:
        token_file.store(path, "a.b.c\n")
        token_file.store(path, "d.e.f")
    finally:
        os.umask(before)
    assert token_file.load(path) == "d.e.f"
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(os.path.dirname(path)).st_mode) == 0o700
    assert os.listdir(os.path.dirname(path)) == ["token"]
    assert token_file.remove(path)
    assert not token_file.remove(path)
    assert token_file.load(path) == ""


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_token_that_others_could_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = str(tmp_path / "token")
    token_file.store(path, "a.b.c")
    os.chmod(path, mode)
    with pytest.raises(IdentityError) as caught:
        token_file.load(path)
    assert "chmod 0600" in caught.value.hint
    assert "a.b.c" not in str(caught.value)


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files to another user")
def test_a_strangers_token_is_refused(tmp_path: Path) -> None:
    path = str(tmp_path / "token")
    token_file.store(path, "a.b.c")
    os.chown(path, 54321, 54321)
    with pytest.raises(IdentityError, match="not your own"):
        token_file.load(path)


def test_a_link_or_fifo_is_no_token_and_does_not_block(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("a.b.c")
    (tmp_path / "link").symlink_to("real")
    os.mkfifo(tmp_path / "fifo", 0o600)
    for name in ("link", "fifo"):
        with pytest.raises(IdentityError):
            token_file.load(str(tmp_path / name))


@pytest.mark.parametrize("text", ["", "  \n", "a b\0", "é", "a\nb", "x" * 20_000])
def test_what_is_no_token_is_not_stored(tmp_path: Path, text: str) -> None:
    with pytest.raises(IdentityError, match="not a token"):
        token_file.store(str(tmp_path / "token"), text)
    assert os.listdir(tmp_path) == []


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(IdentityError, match="cannot store"):
        token_file.store(str(tmp_path / "file" / "token"), "a.b.c")


def test_the_file_named_on_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "t").write_text(" a.b.c \n")
    assert token_file.read_from(str(tmp_path / "t")) == "a.b.c"
    with pytest.raises(IdentityError, match="cannot read"):
        token_file.read_from(str(tmp_path / "none"))
