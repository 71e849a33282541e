from __future__ import annotations

from typing import Any

import pytest

from launcher import canonical
from launcher.capability import Grant, Limits, Permissions, Place, Scope
from launcher.errors import DocumentError

SCOPE = Scope("/home/user", "/work")


def grant(kind: str, operations: str, *patterns: Any, policy: str = "p", **constraints: Any) -> Grant:
    return Grant(kind, tuple(operations.split()), patterns, constraints, policy, Place("p.yaml", 3, 5))


def held(*grants: Grant, denies: tuple[Grant, ...] = ()) -> Permissions:
    return Permissions(grants, denies, Limits(), SCOPE)


def test_deny_wins_at_any_specificity() -> None:
    rules = held(grant("file", "read", "/a/b/c.txt"), denies=(grant("file", "read", "/a/**", policy="q"),))
    decision = rules.decide("file", "read", "/a/b/c.txt")
    assert not decision.allowed
    assert [decider.policy for decider in decision.deciders] == ["q"]
    assert "p.yaml:3:5" in decision.reason


def test_nothing_matches_nothing_decides() -> None:
    decision = held().decide("file", "read", "/x")
    assert (decision.allowed, decision.deciders) == (False, ())


def test_write_does_not_imply_read() -> None:
    rules = held(grant("file", "write", "/a/*"))
    assert rules.decide("file", "write", "/a/x")
    assert not rules.decide("file", "read", "/a/x")
    assert not rules.decide("file", "append", "/a/x")


@pytest.mark.parametrize("path", ["a", "/a/../etc/passwd", "/a/./x", "/a//x", "/a/x/", "/a/x\0", "", "/a/.."])
def test_a_path_that_is_not_canonical_is_denied(path: str) -> None:
    assert not held(grant("file", "read", "/**", "/")).decide("file", "read", path)


def test_a_grant_without_patterns_is_nothing_and_a_deny_is_everything() -> None:
    assert not held(grant("file", "read")).decide("file", "read", "/x")
    for kind, operation, pattern, resource in (
        ("file", "read", "/**", "/x"),
        ("network", "https", "10.0.0.0/8", "10.0.0.1"),
        ("database", "select", "postgresql://db/", "postgresql://db/x"),
        ("env", "read", "**", "HOME"),
        ("cmd", "execute", "*", ["ls"]),
    ):
        assert held(grant(kind, operation, pattern)).decide(kind, operation, resource), kind
        rules = held(grant(kind, operation, pattern), denies=(grant(kind, operation),))
        assert not rules.decide(kind, operation, resource), kind


def test_listing() -> None:
    rules = held(grant("file", "read", "/d/*.csv"), grant("path", "read", "/e/*"))
    assert rules.decide("path", "read", "/d")
    assert rules.decide("path", "read", "/e")
    assert rules.decide("path", "read", "/e/x")
    assert not rules.decide("path", "read", "/f")
    assert not rules.decide("path", "read", "/d/x.csv")
    denied = held(grant("file", "read", "/d/*.csv"), denies=(grant("path", "read", "/d"),))
    assert not denied.decide("path", "read", "/d")


def test_parents_of_a_granted_write_may_be_made() -> None:
    rules = held(grant("file", "write", "/out/a/b/*.txt"), grant("file", "read", "/in/**"))
    assert rules.parent_of_granted_write("/out/a")
    assert rules.parent_of_granted_write("/out/a/b")
    assert not rules.parent_of_granted_write("/out/a/b/c")
    assert not rules.parent_of_granted_write("/in/x")
    assert not rules.parent_of_granted_write("/out/../out/a")
    denied = held(grant("file", "write", "/out/a/b/*.txt"), denies=(grant("path", "write", "/out/a"),))
    assert not denied.parent_of_granted_write("/out/a")


def test_a_grant_that_expires_wants_the_time() -> None:
    rules = held(grant("file", "read", "/x", expires_at=1000))
    assert rules.decide("file", "read", "/x", now=999)
    assert not rules.decide("file", "read", "/x", now=1000)
    assert "expired" in rules.decide("file", "read", "/x").reason


def test_ports_and_methods_and_paths() -> None:
    rules = held(
        grant("network", "https", "api.example.com/v1/*", methods=["GET"]),
        grant("network", "tcp", "db.example.com", ports=["5432-5433"]),
    )
    assert rules.decide("network", "https", "API.example.com.", method="get", path="/v1/x")
    assert not rules.decide("network", "https", "api.example.com", method="POST", path="/v1/x")
    assert not rules.decide("network", "https", "api.example.com", method="GET", path="/v2/x")
    assert not rules.decide("network", "https", "api.example.com")
    assert rules.decide("network", "https", "api.example.com", connect=True)
    assert not rules.decide("network", "https", "api.example.com", port=8443, connect=True)
    assert not rules.decide("network", "http", "api.example.com", connect=True)
    assert rules.decide("network", "tcp", "db.example.com", port=5433)
    assert not rules.decide("network", "tcp", "db.example.com", port=5434)
    assert not rules.decide("network", "tcp", "db.example.com")
    assert not rules.decide("network", "https", "api.example.com\0.evil.org", connect=True)


def test_a_deny_of_a_host_is_broad() -> None:
    everything = grant("network", "https", "*", "*:8443")
    whole = held(everything, denies=(grant("network", "https", "evil.example"),))
    assert not whole.decide("network", "https", "evil.example", port=8443, connect=True)
    part = held(everything, denies=(grant("network", "https", "example.com/admin/**"),))
    assert part.decide("network", "https", "example.com", connect=True)
    assert part.decide("network", "https", "example.com", method="GET", path="/x")
    assert not part.decide("network", "https", "example.com", method="GET", path="/admin/x")
    assert not part.decide("network", "https", "example.com", method="GET")
    post = held(everything, denies=(grant("network", "https", "example.com", methods=["POST"]),))
    assert post.decide("network", "https", "example.com", method="GET", path="/")
    assert not post.decide("network", "https", "example.com", method="POST", path="/")


def test_loopback() -> None:
    assert held(grant("network", "loopback")).decide("network", "loopback", "")
    assert held(grant("network", "loopback")).holds("network", "loopback")
    assert not held().decide("network", "loopback", "")
    assert not held(grant("network", "loopback"), denies=(grant("network", "loopback"),)).decide(
        "network", "loopback", ""
    )


def test_shells_are_their_own_capability() -> None:
    assert not held(grant("cmd", "execute", "*")).decide("cmd", "execute", ["bash", "-c", "x"])
    assert not held(grant("cmd", "execute", "bash")).decide("cmd", "execute", ["bash"])
    assert held(grant("sh", "execute")).decide("cmd", "execute", ["bash", "-c", "x"])
    assert not held(grant("sh", "execute")).decide("cmd", "execute", ["git"])
    assert not held(grant("sh", "execute")).decide("sh", "execute", ["git"])
    only = held(grant("sh", "execute", "dash"))
    assert only.decide("sh", "execute", "dash")
    assert not only.decide("sh", "execute", "bash")
    assert held(grant("sh", "execute")).decide("sh", "execute", "")
    assert not held(grant("js", "execute")).decide("sh", "execute", "")
    assert held(grant("sh", "execute", "/opt/own")).decide("sh", "execute", ["/opt/own"])


def test_a_multi_call_file_is_what_it_is_called() -> None:
    rules = held(grant("cmd", "execute", "*"))
    assert rules.decide("cmd", "execute", ["busybox", "ls"])
    assert not rules.decide("cmd", "execute", ["busybox", "sh"])
    assert not rules.decide("cmd", "execute", ["sh", "-c", "x"], file="/bin/busybox")
    assert rules.decide("cmd", "execute", ["ls"], file="/bin/busybox")
    assert held(grant("sh", "execute")).decide("cmd", "execute", ["sh", "-c", "x"], file="/bin/busybox")


def test_a_command_of_a_hundred_thousand_wrappers_is_denied_quickly() -> None:
    assert not held(grant("cmd", "execute", "*")).decide("cmd", "execute", ["env", "-S"] * 50000)


def test_interpreters_by_their_type_or_as_commands() -> None:
    assert held(grant("py", "execute")).decide("cmd", "execute", ["python3.11", "x.py"])
    assert held(grant("cmd", "execute", "python3")).decide("cmd", "execute", ["python3", "x.py"])
    denied = held(grant("cmd", "execute", "*"), denies=(grant("py", "execute"),))
    assert not denied.decide("cmd", "execute", ["env", "python3", "x.py"])
    assert denied.decide("cmd", "execute", ["node", "x.js"])


def test_the_file_is_what_is_judged() -> None:
    rules = held(grant("cmd", "execute", "git"))
    assert rules.decide("cmd", "execute", ["git"], file="/usr/bin/git")
    assert not rules.decide("cmd", "execute", ["git"], file="/work/evil/git")
    assert not rules.decide("cmd", "execute", ["git"], file="/usr/bin/bash")


@pytest.mark.parametrize("argv", [[], [""], ["a\0b"], ""])
def test_an_empty_command_is_denied(argv: Any) -> None:
    assert not held(grant("cmd", "execute", "*")).decide("cmd", "execute", argv)


def test_databases() -> None:
    rules = held(grant("database", "select", "postgresql://db.example.com/", "mysql://m/app"))
    assert rules.decide("database", "select", "postgres://user@DB.example.com:5432/app")
    assert rules.decide("database", "select", "mysql://m:3306/app")
    for url in (
        "postgresql://db.example.com",
        "postgresql://db.example.com.evil/app",
        "postgresql://db.example.com/app?host=evil",
        "postgresql://db.example.com@evil/app",
        "postgresql://db.example.com:5433/app",
        "postgresql://db.example.com/../x",
        "mysql://m/app2",
        "nonsense",
    ):
        assert not rules.decide("database", "select", url), url


def test_names() -> None:
    rules = held(grant("keychain", "read", "app/*"), grant("env", "read", "LC_*"), grant("import", "use", "math"))
    assert rules.decide("keychain", "read", "app/key")
    assert not rules.decide("keychain", "read", "app/key/more")
    assert rules.decide("env", "read", "LC_ALL")
    assert not rules.decide("env", "read", "XLC_ALL")
    assert not rules.decide("env", "read", "")
    assert rules.decide("import", "use", "math")


def test_an_unknown_operation_is_denied() -> None:
    assert not held().decide("teleport", "go", "mars")
    assert not held().decide("file", "https", "/x")


def test_holds() -> None:
    rules = held(grant("file", "read", "/x"), grant("cmd", "execute"), grant("sh", "execute"))
    assert rules.holds("file", "read")
    assert not rules.holds("file", "write")
    assert not rules.holds("cmd", "execute")
    assert rules.holds("sh", "execute")


def test_a_bad_pattern_names_its_place() -> None:
    with pytest.raises(DocumentError) as caught:
        held(grant("file", "read", "/a/[")).decide("file", "read", "/a")
    assert caught.value.place == "p.yaml:3:5"


@pytest.mark.parametrize(("kind", "operation", "hint"), [("fil", "read", "file"), ("file", "raed", "read")])
def test_unknown_words_are_errors(kind: str, operation: str, hint: str) -> None:
    with pytest.raises(DocumentError) as caught:
        grant(kind, operation, "/x")
    assert hint in caught.value.hint
    assert caught.value.place == "p.yaml:3:5"


def test_round_trip_and_digest() -> None:
    rules = Permissions(
        [grant("file", "read", "/a/*", max_file_size=5), grant("cmd", "execute", ("git", "a b"))],
        [grant("env", "read", "\udcff*")],
        Limits(max_memory=1 << 30),
        SCOPE,
    )
    again = Permissions.from_data(rules.to_data())
    assert again == rules
    assert again.digest == rules.digest
    assert canonical.canonical_json(again.to_data()) == canonical.canonical_json(rules.to_data())
    assert again.decide("cmd", "execute", ["git", "a b"])
