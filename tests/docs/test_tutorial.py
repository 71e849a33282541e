"""docs/tutorial/first-job.md shows what script/demo prints: the demo is run, and compared line by line."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "tutorial" / "first-job.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(?:console|yaml)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def normal(text: str) -> list[str]:
    """Without what differs from run to run: the trial's name, times, the tenant's id."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    text = re.sub(r"/\S*?/mlsandbox-demo(?:\.\w+)?/", "/TRIAL/", text)
    text = re.sub(r"^\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\]", "[TIME]", text, flags=re.MULTILINE)
    return [line.rstrip() for line in re.sub(r"as uid \d+", "as uid N", text).splitlines()]


def place(block: list[str], printed: list[str]) -> int:
    """Where `block` begins among the lines `printed`; -1 where it does not stand there."""
    places = range(len(printed) - len(block) + 1)
    return next((at for at in places if printed[at : at + len(block)] == block), -1)


@pytest.mark.kernel
@pytest.mark.skipif(os.geteuid() != 0, reason="the tutorial shows the demo as root")
def test_the_tutorial_is_the_demo() -> None:
    done = subprocess.run(
        ["script/demo"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    printed = normal(done.stdout)
    places = [place(normal(block), printed) for block in BLOCKS]
    shown = [block.splitlines()[0] for block, at in zip(BLOCKS, places, strict=True) if at < 0]
    assert shown == []
    assert places == sorted(places)


def test_the_tutorial_has_every_chapter_of_the_demo() -> None:
    demo = (ROOT / "script" / "demo").read_text(encoding="utf-8")
    chapters = re.findall(r'^say "(\d)\.', demo, re.MULTILINE)
    assert chapters == re.findall(r"^## (\d)\.", PAGE, re.MULTILINE)


def test_lines_that_are_not_printed_are_found_out() -> None:
    assert place(["b", "c"], ["a", "b", "c"]) == 1
    assert place(["b", "d"], ["a", "b", "c"]) == -1
