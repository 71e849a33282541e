"""Host patterns: our own table, and the host cases that came with the project (copied to `cases/hosts.json`)."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from launcher.capability import Grant, HostPattern, Limits, Permissions, Scope, canonical_host
from launcher.capability.check import check_grant
from launcher.errors import DocumentError

SCOPE = Scope("/home/user", "/project")
with open(os.path.join(os.path.dirname(__file__), "cases", "hosts.json"), encoding="utf-8") as _file:
    CASES: list[dict[str, Any]] = json.load(_file)


def grants_of(case: dict[str, Any]) -> list[Grant]:
    return [Grant("network", ("https",), (text,)) for text in case["policy"]["allow"]]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_case(case: dict[str, Any]) -> None:
    verdict = case["expected"]["verdict"]
    if verdict == "policy-error":
        with pytest.raises(DocumentError):
            for grant in grants_of(case):
                check_grant(grant)
        return
    for grant in grants_of(case):
        check_grant(grant)
        if "canonical" in case["expected"]:
            assert HostPattern(str(grant.patterns[0])).host == case["expected"]["canonical"]
    if verdict in {"allow", "deny"}:
        host, _, port = case["request"].split()[1].rpartition(":")
        held = Permissions(grants_of(case), [], Limits(), SCOPE)
        assert held.decide("network", "https", host, port=int(port), connect=True).allowed == (verdict == "allow")


MATCHES = [
    ("*.example.com", "example.com", True),
    ("*.example.com", "a.b.example.com", True),
    ("*.example.com", "notexample.com", False),
    ("*.example.com", "example.com.evil.org", False),
    ("api.*.example.com", "api.eu.example.com", True),
    ("api.*.example.com", "api.example.com", False),
    ("api.*.example.com", "api.a.b.example.com", False),
    ("api.*.example.com", "xapi.eu.example.com", False),
    ("a.b.*.a.b", "a.b.a.b", False),
    ("API.Example.COM.", "api.example.com", True),
    ("api.example.com", "API.EXAMPLE.COM.", True),
    ("b\u00fccher.example.org", "xn--bcher-kva.example.org", True),
    ("*", "anything.example", True),
    ("*", "10.0.0.1", False),
    ("*", "::1", False),
    ("*.1.com", "10.0.0.1", False),
    ("10.0.0.0/8", "10.255.0.1", True),
    ("10.0.0.0/8", "11.0.0.1", False),
    ("10.0.0.0/8", "::ffff:10.0.0.1", True),
    ("10.0.0.1", "10.0.0.1", True),
    ("[2001:db8::1]", "2001:DB8:0::1", True),
    ("2001:db8::/32", "2001:db8:ffff::1", True),
    ("2001:db8::/32", "2001:db9::1", False),
    ("10.0.0.1", "012.0.0.1", False),
    ("10.0.0.1", "0x0a000001", False),
    ("example.com", "evil.org\0.example.com", False),
]


@pytest.mark.parametrize(("pattern", "host", "expected"), MATCHES)
def test_matching(pattern: str, host: str, expected: bool) -> None:
    assert HostPattern(pattern).matches(host) is expected


PARTS = [
    ("api.example.com", "api.example.com", None, ""),
    ("api.example.com:8443/v1/*", "api.example.com", 8443, "/v1/*"),
    ("[::1]:8080", "::1", 8080, ""),
    ("10.0.0.1:80", "10.0.0.1", 80, ""),
    ("**.example.com", "*.example.com", None, ""),
]


@pytest.mark.parametrize(("text", "host", "port", "path"), PARTS)
def test_parts(text: str, host: str, port: int | None, path: str) -> None:
    pattern = HostPattern(text)
    assert (pattern.host, pattern.port, pattern.path) == (host, port, path)


ERRORS = [
    "",
    "*.",
    "a..b",
    ".example.com",
    "ex*mple.com",
    "*.*.example.com",
    "api.*",
    "https://api.example.com",
    "user@example.com",
    "example.com:0",
    "example.com:65536",
    "example.com:x",
    "0x7f000001",
    "127.1",
    "2130706433",
    "0177.0.0.1",
    "10.0.0.1/8",
    "fe80::1%eth0",
    "exa mple.com",
    "example.com\n",
    "-a.example.com",
    "a" * 64 + ".example.com",
    "fa\u00df.example.org",
    "\u2100.example.org",
    "a\uff0eb.example.org",
    "api.example.com/v1/%2e%2e/x",
    "api.example.com/v1/../x",
    "api.example.com/a%2Fb",
    "api.example.com//x",
    "api.example.com/x#y",
    "*.0.0.1",
]


@pytest.mark.parametrize("text", ERRORS)
def test_errors(text: str) -> None:
    with pytest.raises(DocumentError):
        HostPattern(text)


@pytest.mark.parametrize("host", ["Api.Example.com.", "10.0.0.1", "2001:DB8::1", "b\u00fccher.example", "[::1]"])
def test_the_canonical_host_is_its_own(host: str) -> None:
    once = canonical_host(host)
    assert canonical_host(once) == once


def test_a_path_pattern_wants_the_normalised_path() -> None:
    pattern = HostPattern("api.example.com/v1/*")
    assert pattern.matches_path("/v1/users")
    assert not pattern.matches_path("/v1/users/7")
    assert not pattern.matches_path("/v2/users")
    assert not pattern.matches_path(None)
    assert HostPattern("api.example.com/v1/**").matches_path("/v1/users/7")
    assert HostPattern("api.example.com").matches_path(None)
