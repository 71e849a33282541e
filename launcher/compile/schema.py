"""Holding a value against `profile.schema.json`. Not on the launch path: it is for tests and other tools.

`compile` makes profiles that satisfy the schema by construction, and the tests prove it; a launch does not pay
for checking it again.
"""

from __future__ import annotations

import json
import os
from typing import Any

SCHEMA_FILE = os.path.join(os.path.dirname(__file__), "profile.schema.json")


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a Profile."""
    with open(SCHEMA_FILE, encoding="ascii") as file:
        value: dict[str, Any] = json.load(file)
    return value


def problems(data: object) -> list[str]:
    """What keeps `data` from being a Profile, one `path: message` each; empty for a valid one.

    Needs the `jsonschema` package (a development dependency) and raises ImportError without it.
    """
    import jsonschema

    validator = jsonschema.Draft202012Validator(schema())
    errors = sorted(validator.iter_errors(data), key=lambda error: error.json_path)
    return [f"{error.json_path}: {error.message}" for error in errors]
