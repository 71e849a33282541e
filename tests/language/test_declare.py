"""Capability blocks as needs."""

from typing import Any

import pytest

from launcher.capability.grant import Grant
from launcher.capability.kinds import KINDS
from launcher.language import declare
from launcher.language.diagnostics import Findings
from launcher.language.parser import parse
from launcher.language.program import declarations
from launcher.language.source import Source


def needs(text: str) -> tuple[list[dict[str, Any]], list[str]]:
    source = Source(text, "job.ml")
    findings = Findings(source)
    found = declare.needs(parse(source), source, findings)
    return found, [item.message + " " + item.hint for item in findings.items]


def brief(text: str) -> list[tuple[str, list[str], list[str]]]:
    found, mistakes = needs(text)
    assert mistakes == []
    return [(need["type"], need["operations"], need["patterns"]) for need in found]


def test_the_first_seed() -> None:
    text = 'capability FileAccess {\n    resource "data/*.csv";\n    allow read;\n}\n'
    text += 'capability NetworkAccess {\n    resource "api.internal.company.com";\n    allow https;\n}\n'
    assert brief(text) == [
        ("file", ["read"], ["data/*.csv"]),
        ("network", ["https"], ["api.internal.company.com"]),
    ]
    assert needs(text)[0][0]["place"] == ["job.ml", 3, 5]


def test_a_target_is_for_its_own_operation() -> None:
    text = 'capability F { resource "a"; allow read; allow write "out/b"; resource "c"; }'
    assert brief(text) == [("file", ["read"], ["a", "c"]), ("file", ["write"], ["out/b"])]


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_every_operation_word_is_a_need_of_its_type(kind: Any) -> None:
    """With the type's word in the name of the block, where other types have the operation too."""
    for operation in kind.operations:
        text = f'capability {kind.name}_access {{ resource "r"; allow {operation}; }}'
        assert brief(text) == [(kind.name, [operation], ["r"])]


NAMES = [
    ("FileAccess", "delete", ["x"], "file"),
    ("Anything", "delete", ["x"], "file"),
    ("DatabaseAccess", "delete", ["x"], "database"),
    ("Anything", "delete", ["postgresql://db/x"], "database"),
    ("Anything", "delete", ["sqlite:///x.db"], "database"),
    ("Anything", "delete", ["postgresql://db/x", "a.txt"], "file"),
    ("EnvironmentRead", "read", ["HOME"], "env"),
    ("MySecrets", "read", ["token"], "keychain"),
    ("HTTPClient", "https", ["h"], "network"),
    ("RunShell", "execute", ["x"], "sh"),
    ("Tools", "execute", ["git"], "cmd"),
    ("PythonScripts", "execute", ["x.py"], "py"),
    ("ProfileReader", "read", ["x"], "file"),
]


@pytest.mark.parametrize(("name", "operation", "patterns", "expected"), NAMES)
def test_the_type_of_a_word_of_several_types(name: str, operation: str, patterns: list[str], expected: str) -> None:
    assert declare.kind_of(name, operation, patterns)[0] == expected


def test_the_permission_words_of_the_first_implementation() -> None:
    assert brief('capability N { resource "h"; allow network; }') == [("network", ["http", "https"], ["h"])]


def test_without_a_pattern_nothing_is_declared() -> None:
    assert brief("capability F { allow read; }") == []
    assert brief("capability Shell { allow execute; }") == [("sh", ["execute"], [])]


MISTAKES = [
    ('capability F { resource "a"; allow reed; }', "did you mean read?"),
    ('capability F { resource "a"; allow fly; }', "operations are append,"),
    ('capability F { resource "a"; allow system; }', "operation of no capability"),
    ('capability F { resource ""; allow read; }', "a pattern is empty"),
    ('capability F { allow read ""; }', "a pattern is empty"),
    ('capability F { resource "a\\u{0}"; allow read; }', "contains NUL"),
]


@pytest.mark.parametrize(("text", "message"), MISTAKES)
def test_mistakes(text: str, message: str) -> None:
    assert any(message in found for found in needs(text)[1])


def test_the_number_of_patterns_is_bounded() -> None:
    block = "capability X { " + 'resource "a";' * 600 + " allow read; }\n"
    _found, mistakes = needs(block * 3)
    assert any("patterns are declared" in message for message in mistakes)


def test_needs_are_grants() -> None:
    answer = declarations(b'capability F { resource "a/*"; allow read; allow delete; }', "job.ml")
    grants = [Grant.from_data(need) for need in answer["needs"]]
    assert [str(grant) for grant in grants] == ["file.read a/*", "file.delete a/*"]
    assert str(grants[0].place) == "job.ml:1:32"


def test_uses_are_seen_with_their_literal_resources() -> None:
    source = b"""
import file; import http as web; import env;
file.read("data/a.csv");
name = "b"; file.write(name, "x");
file.copy("a", "b");
web.get("https://api.example.com/v1");
web.post("http://h:8080/", {});
env.get("HOME");
r = file.read;
"""
    found = [(use["type"], use["operation"], use["resource"], use["line"]) for use in declarations(source, "j")["uses"]]
    assert found == [
        ("file", "read", "data/a.csv", 3),
        ("file", "write", None, 4),
        ("file", "read", "a", 5),
        ("file", "write", "b", 5),
        ("network", "https", "api.example.com", 6),
        ("network", "http", "h:8080", 7),
        ("env", "read", "HOME", 8),
    ]
