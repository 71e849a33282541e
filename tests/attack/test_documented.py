"""docs/explanation/attacks.md names every attack and every test, and no test that does not exist."""

from __future__ import annotations

import ast
import os
import re

from tests.attack.report import HERE
from tests.sandboxed import REPOSITORY

PAGE = f"{REPOSITORY}/docs/explanation/attacks.md"
ATTACKS = [str(number) for number in range(1, 109)] + ["40b"]
UNTESTED = {"100", "108"}  # what is not promised, or another backend's


def rows() -> dict[str, list[str]]:
    """Number of the attack to the cells of its row."""
    with open(PAGE, encoding="utf-8") as file:
        lines = [line.strip().strip("|") for line in file if line.startswith("| ") and line[2].isdigit()]
    cells = [[cell.strip() for cell in line.split("|")] for line in lines]
    return {row[0]: row[1:] for row in cells}


def functions(path: str) -> set[str]:
    with open(path, encoding="utf-8") as file:
        return {node.name for node in ast.walk(ast.parse(file.read())) if isinstance(node, ast.FunctionDef)}


def suite() -> set[str]:
    names = [name for name in os.listdir(HERE) if name.startswith("test_") and name.endswith(".py")]
    return {
        test for name in names for test in functions(f"{HERE}/{name}") if re.fullmatch(r"test_[a-i]\d+b?_\w+", test)
    }


def named(row: list[str]) -> list[str]:
    return re.findall(r"`([\w/.]+)`", row[2])


def test_every_attack_has_a_row_of_four_cells() -> None:
    assert sorted(rows()) == sorted(ATTACKS)
    assert {number: row for number, row in rows().items() if len(row) != 3} == {}


def test_every_test_of_the_suite_is_named_in_the_row_of_its_number() -> None:
    found = rows()
    missing = [test for test in sorted(suite()) if test not in named(found[re.split(r"_", test)[1][1:].lstrip("0")])]
    assert missing == []


def test_what_is_named_exists() -> None:
    tests = suite()
    unknown = [
        name
        for row in rows().values()
        for name in named(row)
        if name not in tests and not os.path.exists(f"{REPOSITORY}/{name}")
    ]
    assert unknown == []


def test_rows_without_a_test_are_known() -> None:
    assert {number for number, row in rows().items() if not named(row)} == UNTESTED
