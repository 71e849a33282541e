"""`mlsandbox fmt` on real files."""

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from launcher.cli import fmt
from launcher.errors import DocumentError, NotFoundError, UsageError

UGLY, NEAT = "x=1;   // one\nif(x){y=2;}\n", "x = 1;  // one\nif (x) {\n  y = 2;\n}\n"


def run(*files: Path, **options: Any) -> int:
    known = {"check": False, "show": False, "json": False, **options}
    return fmt.run(SimpleNamespace(files=[str(path) for path in files], **known))  # type: ignore[arg-type]


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "job.ml"
    path.write_text(UGLY)
    path.chmod(0o640)
    return path


def test_a_file_is_replaced_and_keeps_its_mode(program: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(program) == 0
    assert program.read_text() == NEAT
    assert program.stat().st_mode & 0o777 == 0o640
    assert capsys.readouterr().out == f"formatted: {program}\n"
    assert os.listdir(program.parent) == ["job.ml"]


def test_a_neat_file_is_left_alone(program: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program.write_text(NEAT)
    before = program.stat().st_ino
    assert run(program) == 0
    assert program.stat().st_ino == before
    assert capsys.readouterr().out == ""


def test_check_changes_nothing_and_fails(program: Path) -> None:
    assert run(program, check=True) == 1
    assert program.read_text() == UGLY
    run(program)
    assert run(program, check=True) == 0


def test_show_prints_and_changes_nothing(program: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(program, show=True) == 0
    assert capsys.readouterr().out == NEAT
    assert program.read_text() == UGLY


def test_json_names_what_changed(program: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(program, json=True)
    assert json.loads(capsys.readouterr().out) == {"changed": [str(program)]}


def test_a_link_stays_a_link(program: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.ml"
    link.symlink_to(program)
    run(link)
    assert link.is_symlink()
    assert program.read_text() == NEAT


def test_a_program_with_mistakes_is_left_alone(program: Path) -> None:
    program.write_text("x = ;")
    with pytest.raises(DocumentError, match=r"job\.ml:1:5: expected a value"):
        run(program)
    assert program.read_text() == "x = ;"


def test_a_missing_file() -> None:
    with pytest.raises(NotFoundError, match="No such file"):
        run(Path("/nonexistent/job.ml"))


def test_no_file() -> None:
    with pytest.raises(UsageError, match="nothing to format"):
        run()
