"""docs/reference/exit-status.md: every field, class, status and word of the code, and no message that is not in it."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from launcher import errors
from launcher.enforce.result import Result, Usage
from launcher.enforce.staging.report import Report

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reference" / "exit-status.md").read_text(encoding="utf-8")


def section(heading: str) -> list[list[str]]:
    """The cells of the rows below the words `heading`, up to the next text."""
    after = PAGE.split(heading, 1)[1]
    table = re.search(r"(?:^\|.*\n)+", after, re.MULTILINE)
    assert table is not None
    rows = [line.removeprefix("|").removesuffix("|").split("|") for line in table.group().splitlines()]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def first(rows: list[list[str]]) -> list[str]:
    return [row[0].strip("`") for row in rows]


@cache
def texts() -> list[str]:
    """Every string of the source; f-strings with `\0` where a value is put in."""
    found = []
    for path in (ROOT / "launcher").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [part.value if isinstance(part, ast.Constant) else "\0" for part in node.values]
                found.append("".join(str(part) for part in parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return found


def test_every_field_of_the_result() -> None:
    assert sorted(first(section("status says why"))) == sorted(Result.__slots__)


def test_every_field_of_the_usage() -> None:
    assert sorted(first(section("\n`usage`; processor times"))) == sorted(Usage.__slots__)
    assert all(row[1] in {"microseconds", "bytes"} for row in section("\n`usage`; processor times"))


def test_every_field_of_a_change() -> None:
    source = (ROOT / "launcher/enforce/staging/report.py").read_text(encoding="utf-8")
    keys = re.findall(r'^ {16}"(\w+)":', source, re.MULTILINE)
    assert Report().entries == []
    assert sorted(first(section("An entry of `committed` and `refused`"))) == sorted(keys)


def classes() -> dict[str, type[errors.SandboxError]]:
    """The classes of expected failures, without their base."""
    kinds = {name: kind for name, kind in vars(errors).items() if isinstance(kind, type)}
    return {
        name: kind
        for name, kind in kinds.items()
        if issubclass(kind, errors.SandboxError) and kind.__mro__[1] is not Exception
    }


def test_every_class_with_its_status() -> None:
    written = {row[0].strip("`"): int(row[1]) for row in section("Each has one of these classes")}
    assert written == {name: kind.status for name, kind in classes().items()}


def test_every_special_status_and_word() -> None:
    rows = section("## Exit status of `launch` and `shell`")
    numbers = {int(row[0]) for row in rows if row[0].isdigit()}
    assert {value for name, value in vars(errors).items() if name.startswith("EXIT_")} <= numbers
    words = {row[1].strip("`") for row in rows} - {"none"}
    assert words == {"job", "wall", "memory", "policy", "launcher"}
    assert words >= {kind.ended_by for kind in classes().values()}


MESSAGES = [
    (row[0].strip("`"), row[1].strip("`"))
    for heading in ("### Refused before the start (126)", "### Not found (127)", "### The launcher failed (125)")
    for row in section(heading)
]


@pytest.mark.parametrize("message", [message for message, _ in MESSAGES])
def test_a_message_is_in_the_source(message: str) -> None:
    pattern = re.compile(".*".join(re.escape(part) for part in message.split("...")), re.DOTALL)
    assert [text for text in texts() if pattern.search(text)]


@pytest.mark.parametrize(("status", "heading"), [
    (126, "### Refused before the start (126)"), (127, "### Not found (127)"), (125, "### The launcher failed (125)"),
])  # fmt: skip
def test_messages_stand_under_their_status(status: int, heading: str) -> None:
    kinds = {row[1].strip("`") for row in section(heading)} - {""}
    assert {getattr(errors, kind).status for kind in kinds} == {status}
