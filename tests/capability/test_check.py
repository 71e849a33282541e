from __future__ import annotations

from typing import Any

import pytest

from launcher.capability import Grant, Place
from launcher.capability.check import check_grant
from launcher.errors import DocumentError


def rule(kind: str, operation: str, *patterns: str, **constraints: Any) -> Grant:
    return Grant(kind, (operation,), patterns, constraints, "p", Place("p.yaml", 9, 2))


BAD = [
    rule("network", "https", "*.co.uk"),
    rule("network", "https", "*.com"),
    rule("network", "https", "api.*.com"),
    rule("network", "https", "*.github.io"),
    rule("network", "https", "169.254.169.254"),
    rule("network", "https", "169.254.0.0/16"),
    rule("network", "https", "fd00:ec2::254"),
    rule("network", "tcp", "db.example.com"),
    rule("network", "https", "a.example.com/v1/*", tls="tunnel"),
    rule("network", "https", "a.example.com", tls="tunel"),
    rule("network", "https", "a.example.com", ports=[0]),
    rule("network", "https", "a.example.com", ports=["9-8"]),
    rule("network", "https", "a.example.com", ports=[]),
    rule("network", "https", "a.example.com", methods=["GTE"]),
    rule("network", "https", "a.example.com", max_bytes="10X"),
    rule("network", "loopback", "a.example.com"),
    rule("file", "read", "/a/[b"),
    rule("file", "read", "/a", ports=[1]),
    rule("file", "write", "/a", live="yes"),
    rule("cmd", "execute", "git *"),
    rule("database", "select", "postgresql://u:p@db/x"),
    rule("keychain", "read", "a//b"),
]


@pytest.mark.parametrize("grant", BAD, ids=str)
def test_refused_with_place(grant: Grant) -> None:
    with pytest.raises(DocumentError) as caught:
        check_grant(grant)
    assert caught.value.place == "p.yaml:9:2"


GOOD = [
    rule("network", "https", "*.example.com", ports=[443, "8000-8010"], methods=["GET"], tls="intercept"),
    rule("network", "https", "169.254.169.254", allow_private=True),
    rule("network", "tcp", "db.example.com:5432"),
    rule("network", "loopback"),
    rule("file", "write", "out/**", max_file_size="10MiB", live=True, commit="success", expires_at=5),
    rule("sh", "execute"),
]


@pytest.mark.parametrize("grant", GOOD, ids=str)
def test_accepted(grant: Grant) -> None:
    check_grant(grant)


def test_a_deny_may_be_as_broad_as_it_likes() -> None:
    check_grant(rule("network", "https", "*.co.uk", "169.254.169.254"), deny=True)
    check_grant(rule("network", "tcp", "db.example.com"), deny=True)


def test_a_misspelt_constraint_names_the_nearest() -> None:
    with pytest.raises(DocumentError) as caught:
        check_grant(rule("file", "write", "/a", max_file_sise=1))
    assert "max_file_size" in caught.value.hint
