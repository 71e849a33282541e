"""The JSON Schema of the Profile: valid, strict, and every field explained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jsonschema

from launcher.compile.profile import SCHEMA
from launcher.compile.schema import problems, schema

if TYPE_CHECKING:
    from collections.abc import Iterator


def nodes(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from nodes(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from nodes(inner)


def test_it_is_a_schema_of_the_version_that_profiles_carry() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    assert schema()["$id"] == SCHEMA == schema()["properties"]["schema"]["const"]


def test_objects_are_closed_and_their_members_required() -> None:
    # A field that the backend does not know would be a promise that nobody keeps.
    shaped = [node for node in nodes(schema()) if isinstance(node.get("properties"), dict) and "type" in node]
    assert len(shaped) > 12
    for node in shaped:
        assert node["additionalProperties"] is False, node
        assert sorted(node["required"]) == sorted(node["properties"]), node


def test_every_field_is_described() -> None:
    definitions = schema()["$defs"]
    for node in nodes(schema()):
        for name, field in node.get("properties", {}).items() if isinstance(node.get("properties"), dict) else ():
            named = definitions[field["$ref"].rsplit("/", 1)[1]] if "$ref" in field else {}
            assert field.get("description") or named.get("description"), name


def test_problems_name_the_place() -> None:
    assert any("required" in problem for problem in problems({"schema": SCHEMA}))
    found = problems({"schema": "x", "surplus": 1})
    assert any(problem.startswith("$.schema:") for problem in found)
    assert any("surplus" in problem for problem in found)
