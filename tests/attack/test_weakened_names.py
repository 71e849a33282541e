"""What `weakened.py` takes out is there under that name: a function that was renamed would leave its mechanism on, unseen."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

TREE = ast.parse((Path(__file__).with_name("weakened.py")).read_text(encoding="utf-8"))


def taken_out() -> list[tuple[str, str]]:
    """(module, attribute) of each `_module("MODULE").ATTRIBUTE` that stands there."""
    return sorted(
        (node.value.args[0].value, node.attr)
        for node in ast.walk(TREE)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Call)
        and isinstance(node.value.func, ast.Name)
        and node.value.func.id == "_module"
        and isinstance(node.value.args[0], ast.Constant)
        and isinstance(node.value.args[0].value, str)
    )


@pytest.mark.parametrize(("module", "name"), taken_out())
def test_what_is_taken_out_is_there(module: str, name: str) -> None:
    assert hasattr(importlib.import_module(f"launcher.{module}"), name)


def test_landlock_is_among_them() -> None:
    assert ("enforce.namespace.backend", "landlock_abi") in taken_out()
