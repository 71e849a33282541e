from __future__ import annotations

import pytest

from launcher.capability import Scope, canonical_path
from launcher.errors import UsageError

SCOPE = Scope("/home/user/", "/work", "/work/sub")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("~", "/home/user"),
        ("~/x", "/home/user/x"),
        ("~x", "/work/sub/~x"),
        ("@base", "/work"),
        ("@base/x", "/work/x"),
        ("@basement", "/work/sub/@basement"),
        ("x", "/work/sub/x"),
        ("../x", "/work/x"),
        ("/a//b/./c/../d/", "/a/b/d"),
        ("/..", "/"),
        ("/../../x", "/x"),
        ("//", "/"),
        ("/a/...", "/a/..."),
        ("/\udcc3\udca9", "/\u00e9"),
        ("/a\n", "/a\n"),
    ],
)
def test_canonical(path: str, expected: str) -> None:
    assert canonical_path(path, SCOPE) == expected


@pytest.mark.parametrize("path", ["", "/a\0", "/\ud800"])
def test_what_no_system_call_can_express(path: str) -> None:
    with pytest.raises(UsageError):
        canonical_path(path, SCOPE)


def test_a_scope_is_absolute() -> None:
    with pytest.raises(UsageError):
        Scope("home", "/work")


def test_round_trip() -> None:
    assert Scope.from_data(SCOPE.to_data()) == SCOPE
