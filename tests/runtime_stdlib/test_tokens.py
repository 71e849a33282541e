"""Tokens: unforgeable, checked and charged along the whole chain, delegated only downwards.

The numbers are those of `cases/security-kernel.json`, as far as a case is about tokens of one process.
"""

from __future__ import annotations

import copy
import datetime as dt
import pickle
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.capability.scope import Scope
from launcher.runtime.constraints import TABLE, TokenError, meet, parsed, rate
from launcher.runtime.delegation import delegate, revoke, revoke_all
from launcher.runtime.tokens import (
    CapabilityToken,
    check,
    create_capability_token,
    usage,
    use,
)  # fmt: skip

SCOPE = Scope("/home/user", "/work")


def token(
    kind: str = "file", patterns: Any = ("/tmp/**",), operations: Any = ("read",), **rest: Any
) -> CapabilityToken:
    return create_capability_token(kind, patterns, operations, scope=SCOPE, **rest)


def code_of(work: Callable[[], object]) -> str:
    try:
        work()
    except TokenError as error:
        return error.code
    return "ok"


CREATION: list[tuple[str, dict[str, Any], str]] = [
    ("K001", {}, "ok"),
    ("K029", {"custom_constraint": "v"}, "unknown_constraint"),
    ("K031", {"operations": "not_a_list"}, "invalid_operations_constraint"),
    ("K033", {"max_delegations": -1}, "invalid_max_delegations_constraint"),
    ("type", {"kind": "filesystem"}, "unknown_type"),
    ("operation", {"operations": ["execute"]}, "unknown_operation"),
    ("paths", {"patterns": "/tmp/*"}, "invalid_paths_constraint"),
    ("size", {"max_file_size": "big"}, "invalid_max_file_size_constraint"),
    ("uses", {"max_usage_count": -1}, "invalid_max_uses_constraint"),
    ("bool", {"max_usage_count": True}, "invalid_max_uses_constraint"),
    ("nan", {"not_before": float("nan")}, "invalid_not_before_constraint"),
    ("expiry", {"expires_in": float("nan")}, "invalid_expires_in_constraint"),
    ("rate", {"rate": "often"}, "invalid_rate_constraint"),
    ("delta", {"expires_in": dt.timedelta(hours=1)}, "ok"),
    ("unlimited", {"max_delegations": "unlimited"}, "ok"),
]


@pytest.mark.parametrize(("case", "arguments", "expected"), CREATION, ids=[row[0] for row in CREATION])
def test_creation(case: str, arguments: dict[str, Any], expected: str) -> None:
    assert code_of(lambda: token(**arguments)) == expected


USE: list[tuple[str, dict[str, Any], str, str, dict[str, Any], str]] = [
    ("covered", {}, "read", "/tmp/x", {}, "ok"),
    ("K013", {}, "write", "/tmp/test.txt", {}, "operation_not_permitted"),
    ("K017", {"expires_in": -1}, "read", "/tmp/x", {}, "capability_expired"),
    ("K021", {}, "read", "/tmp/../etc/passwd", {}, "resource_not_permitted"),
    ("K025", {"operations": []}, "read", "/tmp/x", {}, "operation_not_permitted"),
    ("no paths", {"patterns": []}, "read", "/tmp/x", {}, "resource_not_permitted"),
    ("paths unsaid", {"patterns": None}, "read", "/anywhere", {}, "ok"),
    ("operations unsaid", {"operations": None}, "delete", "/tmp/x", {}, "ok"),
    ("sibling prefix", {"patterns": ["/tmp/a/**"]}, "read", "/tmp/ab", {}, "resource_not_permitted"),
    ("relative", {"patterns": ["data/*"]}, "read", "/work/data/x", {}, "ok"),
    ("K071 ok", {"patterns": ["/home/*/documents/**"]}, "read", "/home/bob/documents/work/r.pdf", {}, "ok"),
    ("K071 no", {"patterns": ["/home/*/documents/**"]}, "read", "/home/documents/f", {}, "resource_not_permitted"),
    ("K073", {"allowed_extensions": [".md"]}, "read", "/tmp/deploy.sh", {}, "extension_not_allowed"),
    ("extension", {"allowed_extensions": [".md"]}, "read", "/tmp/a.md", {}, "ok"),
    ("hidden file", {"allowed_extensions": [".md"]}, "read", "/tmp/.md", {}, "extension_not_allowed"),
    ("K075", {"not_before": time.time() + 3600}, "read", "/tmp/x", {}, "outside_time_window"),
    ("size", {"max_file_size": 5}, "read", "/tmp/x", {"size": 6}, "size_exceeded"),
    ("size fits", {"max_file_size": 5}, "read", "/tmp/x", {"size": 5}, "ok"),
    ("denied", {"denied_patterns": ["/tmp/s/**"]}, "read", "/tmp/s/k", {}, "resource_not_permitted"),
    ("memory", {"max_memory": 1}, "read", "/tmp/x", {}, "memory_exceeded"),
    ("memory fits", {"max_memory": 1 << 50}, "read", "/tmp/x", {}, "ok"),
    ("cpu", {"max_cpu_time": 1000.0}, "read", "/tmp/x", {}, "ok"),
]


@pytest.mark.parametrize(("case", "made", "operation", "resource", "context", "expected"), USE, ids=[r[0] for r in USE])
def test_use(
    case: str, made: dict[str, Any], operation: str, resource: str, context: dict[str, Any], expected: str
) -> None:
    held = token(**made)
    assert code_of(lambda: use(held, operation, resource, **context)) == expected


def test_hosts_ports_and_methods() -> None:
    held = token("network", ["*.example.com"], ["https"], ports=[443], methods=["GET"])
    assert code_of(lambda: use(held, "https", "api.example.com", port=443, method="GET", path="/")) == "ok"
    assert code_of(lambda: use(held, "https", "api.example.com", port=8443, method="GET")) == "resource_not_permitted"
    assert code_of(lambda: use(held, "https", "api.example.com", port=443, method="POST")) == "resource_not_permitted"
    assert code_of(lambda: use(held, "https", "example.org", port=443, method="GET")) == "resource_not_permitted"


def test_hosts_by_their_own_name() -> None:
    held = token("network", None, ["https"], hosts=["*.example.com"])
    assert code_of(lambda: use(held, "https", "api.example.com", port=443, method="GET", path="/")) == "ok"
    assert code_of(lambda: use(held, "https", "example.org", port=443)) == "resource_not_permitted"


def test_the_seeds_call() -> None:
    held = create_capability_token(
        capability_type="file",
        resource_patterns=["data/*.csv"],
        allowed_operations={"read", "write"},
        expires_in=dt.timedelta(hours=1),
        max_usage_count=100,
    )
    assert held.operations == ("read", "write")
    assert held.constraints["max_uses"] == 100


def test_ids_are_distinct() -> None:  # K005
    assert len({token().id for _ in range(50)}) == 50


def test_a_token_made_elsewhere_is_nothing() -> None:  # K015
    real = token()
    fields = {
        name: getattr(real, name) for name in CapabilityToken.__slots__ if name not in {"__weakref__", "checksum"}
    }
    forged = CapabilityToken(**{**fields, "operations": ("read", "write")})
    for thing in (forged, "cap_1", None, object()):
        assert code_of(lambda thing=thing: use(thing, "read", "/tmp/x")) == "capability_not_found"  # type: ignore[misc]


def test_a_token_cannot_be_changed_or_copied() -> None:
    held = token()
    with pytest.raises(AttributeError):
        held.operations = ("read", "write")
    with pytest.raises(AttributeError):
        del held.constraints
    for way in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError):
            way(held)


def test_a_change_behind_its_back_is_seen() -> None:
    held = token()
    object.__setattr__(held, "operations", ("read", "write"))
    assert code_of(lambda: use(held, "read", "/tmp/x")) == "capability_signature_mismatch"


def test_a_changed_constraint_is_seen() -> None:
    held = token(max_usage_count=1)
    held.constraints["max_uses"] = 99
    assert code_of(lambda: use(held, "read", "/tmp/x")) == "capability_signature_mismatch"


def test_uses_are_counted() -> None:  # K027
    held = token(max_usage_count=2)
    codes = [code_of(lambda: use(held, "read", "/tmp/x")) for _ in range(3)]
    assert codes == ["ok", "ok", "max_uses_exceeded"]
    told = usage(held)
    assert (told["uses"], told["denied"], told["revoked"]) == (2, 1, "")
    assert time.time() - told["last_used"] < 60


def test_a_rate_is_a_window() -> None:
    held = token(rate=[2, 0.2])
    codes = [code_of(lambda: use(held, "read", "/tmp/x")) for _ in range(3)]
    time.sleep(0.25)
    assert [*codes, code_of(lambda: use(held, "read", "/tmp/x"))] == ["ok", "ok", "rate_limit_exceeded", "ok"]


def test_check_charges_nothing() -> None:
    held = token(max_usage_count=1)
    for _ in range(3):
        check(held, "read", "/tmp/x")
    assert usage(held)["uses"] == 0


def test_threads_together_get_no_more_than_the_uses() -> None:
    held = token(max_usage_count=100)
    done: list[str] = []

    def work() -> None:
        done.extend([code_of(lambda: use(held, "read", "/tmp/x")) for _ in range(50)])

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done.count("ok") == 100
    assert done.count("max_uses_exceeded") == 300


# --- revocation ---------------------------------------------------------------------------------------------------


def test_revocation_reaches_a_kept_copy() -> None:  # K019
    held = token()
    kept = held
    assert revoke(held) == 1
    assert code_of(lambda: use(kept, "read", "/tmp/x")) == "capability_revoked"
    assert usage(held)["revoked"] == "revoked by hand"


def test_revocation_reaches_descendants() -> None:
    parent = token()
    child = delegate(parent, "b")
    grandchild = delegate(child, "c")
    assert revoke(parent, "why") == 3
    assert code_of(lambda: use(grandchild, "read", "/tmp/x")) == "capability_revoked"
    assert usage(grandchild)["revoked"] == "why"


def test_all_tokens_of_a_holder() -> None:  # K063
    held = [token(holder="agent-63") for _ in range(2)]
    child = delegate(held[0], "other-63")
    assert revoke_all("agent-63") == 3
    assert code_of(lambda: use(child, "read", "/tmp/x")) == "capability_revoked"


def test_an_unknown_token_cannot_be_revoked() -> None:  # K061
    assert code_of(lambda: revoke("cap")) == "capability_not_found"  # type: ignore[arg-type]


def test_the_holder_is_compared() -> None:  # K059
    held = token(holder="a")
    assert code_of(lambda: use(held, "read", "/tmp/x", holder="b")) == "principal_mismatch"
    assert code_of(lambda: delegate(held, "c", holder="b")) == "principal_mismatch"
    assert code_of(lambda: use(held, "read", "/tmp/x", holder="a")) == "ok"


# --- delegation ---------------------------------------------------------------------------------------------------


def test_only_what_lies_within_the_parent_is_kept() -> None:  # K041
    parent = token(patterns=["/tmp/**", "/var/tmp/**", "/opt/**"])
    child = delegate(parent, "b", resource_patterns=["/tmp/**", "/home/**"])
    assert child.patterns == ("/tmp/**",)
    assert (child.parent_id, child.depth, child.holder) == (parent.id, 1, "b")


CONFLICTS: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("K043", {"patterns": ["/tmp/a/**"]}, {"resource_patterns": ["/**"]}, "constraint_conflict"),
    ("K045", {"operations": ["read"]}, {"allowed_operations": ["write"]}, "constraint_conflict"),
    ("K051", {"tables": ["a"]}, {"tables": ["b"]}, "constraint_conflict"),
    ("K053", {"max_delegations": 0}, {}, "delegation_not_allowed"),
    ("K055", {"max_delegations": "unlimited"}, {}, "ok"),
    ("sibling", {"patterns": ["/tmp/a/**"]}, {"resource_patterns": ["/tmp/ab/**"]}, "constraint_conflict"),
    ("wider glob", {"patterns": ["/tmp/*.txt"]}, {"resource_patterns": ["/tmp/*"]}, "constraint_conflict"),
    ("unknown", {}, {"surprise": 1}, "unknown_constraint"),
]


@pytest.mark.parametrize(("case", "made", "asked", "expected"), CONFLICTS, ids=[row[0] for row in CONFLICTS])
def test_delegation(case: str, made: dict[str, Any], asked: dict[str, Any], expected: str) -> None:
    parent = token(**made)
    assert code_of(lambda: delegate(parent, "b", **asked)) == expected


def test_no_second_step_regains_what_the_first_lost() -> None:  # K045
    child = delegate(token(operations=["read", "write"]), "b", allowed_operations=["read"])
    assert code_of(lambda: delegate(child, "c", allowed_operations=["write"])) == "constraint_conflict"


def test_a_revoked_token_is_not_handed_on() -> None:  # K057
    parent = token()
    revoke(parent)
    assert code_of(lambda: delegate(parent, "b")) == "delegation_not_allowed"


def test_expiry_is_the_earlier() -> None:  # K047
    parent = token(expires_in=1800)
    child = delegate(parent, "b", expires_in=3600)
    assert child.constraints["expires_at"] == parent.constraints["expires_at"]


def test_denied_patterns_add_up() -> None:  # K049
    parent = token(denied_patterns=["/tmp/s"])
    child = delegate(parent, "b", denied_patterns=["/tmp/t"])
    assert child.constraints["denied_patterns"] == ("/tmp/s", "/tmp/t")
    for path in ("/tmp/s", "/tmp/t"):
        assert code_of(lambda path=path: use(child, "read", path)) == "resource_not_permitted"  # type: ignore[misc]


def test_narrower_values_are_taken() -> None:  # K083
    parent = token(patterns=["/project/**"], allowed_extensions=[".ex", ".md"], max_file_size=100)
    child = delegate(parent, "b", resource_patterns=["/project/src/**"], allowed_extensions=[".ex"], max_file_size=10)
    assert child.patterns == ("/project/src/**",)
    assert child.constraints["allowed_extensions"] == (".ex",)
    assert child.constraints["max_file_size"] == 10


def test_levels_run_out() -> None:
    held = token(max_delegations=2)
    one = delegate(held, "b")
    two = delegate(one, "c", max_delegations=9)
    assert code_of(lambda: delegate(two, "d")) == "delegation_not_allowed"


def test_the_default_is_three_levels() -> None:
    held = token()
    for _ in range(3):
        held = delegate(held, "b")
    assert code_of(lambda: delegate(held, "c")) == "delegation_not_allowed"


def test_a_child_spends_its_parents_uses() -> None:
    parent = token(max_usage_count=3)
    children = [delegate(parent, "b"), delegate(parent, "c")]
    codes = [code_of(lambda: use(child, "read", "/tmp/x")) for child in children * 2]  # noqa: B023  called at once
    assert codes == ["ok", "ok", "ok", "max_uses_exceeded"]
    assert code_of(lambda: use(parent, "read", "/tmp/x")) == "max_uses_exceeded"


def test_a_dropped_parent_still_binds() -> None:
    child = delegate(token(max_usage_count=1, operations=["read"]), "b", max_usage_count=5)
    assert code_of(lambda: use(child, "read", "/tmp/x")) == "ok"
    assert code_of(lambda: use(child, "read", "/tmp/x")) == "max_uses_exceeded"


# --- laws ---------------------------------------------------------------------------------------------------------

PATTERNS = ["/a", "/a/*", "/a/**", "/a/b/*", "/*/b", "/**"]
PATHS = ["/a", "/a/b", "/a/c", "/a/b/c", "/x/b", "/x"]
SOME = st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=3)
WORDS = st.lists(st.sampled_from(["read", "write", "delete"]), min_size=1, max_size=3)


@settings(deadline=None)  # the machine may be busy
@given(SOME, WORDS, st.none() | SOME, st.none() | WORDS, st.sampled_from(PATHS), st.sampled_from(["read", "write"]))
def test_a_child_never_allows_what_its_parent_does_not(
    patterns: list[str], operations: list[str], asked: Any, words: Any, path: str, operation: str
) -> None:
    parent = token(patterns=patterns, operations=operations)
    try:
        child = delegate(parent, "b", resource_patterns=asked, allowed_operations=words)
    except TokenError:
        return
    if code_of(lambda: check(child, operation, path)) == "ok":
        bare = token(patterns=patterns, operations=operations)
        assert code_of(lambda: check(bare, operation, path)) == "ok"


NUMBERS = st.integers(0, 10)
VALUES: dict[str, Any] = {
    "expires_at": NUMBERS, "not_before": NUMBERS, "max_uses": NUMBERS, "max_file_size": NUMBERS,
    "max_delegations": NUMBERS | st.just("unlimited"), "denied_patterns": st.lists(st.sampled_from("ab")),
    "ports": st.lists(NUMBERS, min_size=1), "tables": st.lists(st.sampled_from("abc"), min_size=1),
}  # fmt: skip
CONSTRAINTS = st.fixed_dictionaries({}, optional=VALUES)


@settings(deadline=None)  # the machine may be busy
@given(CONSTRAINTS, CONSTRAINTS, CONSTRAINTS)
def test_meet_is_a_meet(a: dict[str, Any], b: dict[str, Any], c: dict[str, Any]) -> None:
    left, right, third = parsed(a), parsed(b), parsed(c)
    assert meet(left, left) == left
    try:
        assert meet(left, right) == meet(right, left)
        assert meet(meet(left, right), third) == meet(left, meet(right, third))
    except TokenError as error:
        assert error.code == "constraint_conflict"


RATES = [("100/m", (100, 60.0)), ("5/10s", (5, 10.0)), (3, (3, 1.0)), ([2, 5], (2, 5.0)),
         ({"count": 4, "seconds": 60}, (4, 60.0)), ("7/hour", (7, 3600.0)), ("1/d", (1, 86400.0))]  # fmt: skip


@pytest.mark.parametrize(("written", "meant"), RATES)
def test_rates(written: Any, meant: tuple[int, float]) -> None:
    assert rate(written) == meant


def test_each_constraint_is_documented() -> None:
    text = create_capability_token.__doc__ or ""
    named = {"expires_at": "expires_in", "max_uses": "max_usage_count"}
    assert [name for name in TABLE if named.get(name, name) not in text] == []
