"""`CapabilityValidator.validate(declared, granted)`: the first seed's question, answered by the algebra."""

from __future__ import annotations

from typing import Any

import pytest

from launcher.capability.grant import Grant
from launcher.capability.limits import Limits
from launcher.capability.permissions import Permissions
from launcher.capability.scope import Scope
from launcher.errors import DocumentError
from launcher.runtime.tokens import create_capability_token
from launcher.runtime.validator import CapabilityValidator

SCOPE = Scope("/home/alice", "/work")


def need(kind: str, operations: str, *patterns: str) -> Grant:
    return Grant(kind, tuple(operations.split()), patterns)


ALICE = [
    need("file", "read write", "data/*.csv", "output/*.txt"),
    Grant("network", ("https",), ("api.internal.company.com",), {"ports": [443]}),
]

CASES: list[tuple[Any, bool]] = [
    ([], True),
    ([need("file", "read", "data/*.csv")], True),
    ([need("file", "read", "data/2024-*.csv"), need("network", "https", "api.internal.company.com")], True),
    ([need("file", "read", "data/**")], False),
    ([need("file", "delete", "data/*.csv")], False),
    ([need("network", "https", "*.company.com")], False),
    ([{"type": "file", "operations": ["write"], "patterns": ["output/a.txt"]}], True),
    ([{"type": "cmd", "patterns": ["git"]}], False),
]


@pytest.mark.parametrize(("declared", "within"), CASES)
def test_declared_within_granted(declared: Any, within: bool) -> None:
    result = CapabilityValidator(SCOPE).validate(declared, ALICE)
    assert bool(result) is within
    assert bool(result.shortfalls) is not within


def test_the_shortfall_has_an_example() -> None:
    result = CapabilityValidator(SCOPE).validate([need("file", "read", "data/*")], ALICE)
    assert result.shortfalls[0].example.startswith("/work/data/")
    assert not result.shortfalls[0].example.endswith(".csv")


def test_permissions_with_denies() -> None:
    granted = Permissions(ALICE, [need("file", "read", "data/secret.csv")], Limits(), SCOPE)
    assert not CapabilityValidator(SCOPE).validate([need("file", "read", "data/*.csv")], granted)


def test_tokens_on_both_sides() -> None:
    wide = create_capability_token("file", ["data/**"], ["read", "write"], scope=SCOPE)
    narrow = create_capability_token("file", ["data/a/*"], ["read"], scope=SCOPE)
    assert CapabilityValidator(SCOPE).validate([narrow], [wide])
    assert not CapabilityValidator(SCOPE).validate([wide], [narrow])


def test_an_unknown_type_is_an_error() -> None:
    with pytest.raises(DocumentError):
        CapabilityValidator(SCOPE).validate([{"type": "fil", "patterns": ["x"]}], ALICE)
