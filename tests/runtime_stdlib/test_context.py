"""Scopes: they only narrow, each use is reported, and denials name the missing grant."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

import pytest

from launcher.capability.grant import Grant
from launcher.capability.limits import Limits
from launcher.capability.permissions import Permissions
from launcher.capability.scope import Scope
from launcher.runtime import context as module
from launcher.runtime.context import Context, create_capability_token, current, requires_capability
from launcher.runtime.errors import CapabilityError
from tests.runtime_stdlib.conftest import Workbench


def test_a_denial_names_the_grant_that_is_missing(bench: Workbench) -> None:
    bench.hold("file.read data/*")
    with pytest.raises(CapabilityError) as caught:
        bench.call("file.read", "secret/passwords.txt")
    error = caught.value
    assert (error.type, error.operation, error.resource) == ("file", "read", "secret/passwords.txt")
    assert "file.read:secret/passwords.txt" in error.hint
    assert "no grant of file.read covers" in str(error)


def test_uses_and_denials_are_reported_as_the_job_wrote_them(bench: Workbench) -> None:
    bench.hold("file.read data/*")
    bench.put("data/a.csv", "1")
    bench.call("file.read", "data/a.csv")
    with pytest.raises(CapabilityError):
        bench.call("file.write", "secret/passwords.txt", "x")
    told = [(c["outcome"], c["capability"], c["operation"], c["resource"]) for c in bench.claims()]
    assert told == [
        ("ALLOWED", "file", "read", "data/a.csv"),
        ("DENIED", "file", "write", "secret/passwords.txt"),
    ]


def test_deny_wins_and_says_where_it_stands(bench: Workbench) -> None:
    bench.hold("file.read data/**", denies=("file.read data/secret/*",))
    bench.put("data/secret/k")
    with pytest.raises(CapabilityError, match="denied"):
        bench.call("file.read", "data/secret/k")


def test_a_child_inherits_and_cannot_widen(bench: Workbench) -> None:
    root = bench.hold("file.read data/**", "env.read HOME")
    child = root.create_child_context("child")
    assert child.can_access_resource("file", "data/a", "read")
    token = create_capability_token("file", ["/**"], ["read", "write"])
    wide = root.create_child_context("wide", [token])
    assert wide.can_access_resource("file", "data/a", "read")
    assert not wide.can_access_resource("file", "other/a", "read"), "the token is wider than the job's grant"
    assert not wide.can_access_resource("file", "data/a", "write")
    assert not wide.allows("env", "read", "HOME"), "the scope holds no env token"


def test_narrowing_accumulates_along_the_chain(bench: Workbench) -> None:
    root = bench.hold("file.read,write data/**")
    outer = root.create_child_context("outer", [create_capability_token("file", ["data/a/**"])])
    inner = outer.create_child_context("inner", [create_capability_token("file", ["data/**"], ["read"])])
    assert inner.can_access_resource("file", "data/a/x", "read")
    assert not inner.can_access_resource("file", "data/b/x", "read"), "the outer scope binds"
    assert not inner.can_access_resource("file", "data/a/x", "write"), "the inner scope binds"


def test_with_makes_a_scope_current_and_ends_it(bench: Workbench) -> None:
    root = bench.hold("file.read data/**")
    child = root.create_child_context("none", [])
    with child:
        assert current() is child
        assert not current().has_capability("file")
        with pytest.raises(CapabilityError):
            bench.call("file.read", "data/x")
    assert current() is root
    assert current().has_capability("file")


def test_an_error_ends_a_scope_too(bench: Workbench) -> None:
    root = bench.hold("file.read data/**")
    with pytest.raises(ZeroDivisionError), root.create_child_context("child"):
        _ = 1 / 0
    assert current() is root


def test_threads_have_their_own_scope(bench: Workbench) -> None:
    root = bench.hold("file.read data/**")
    narrow = root.create_child_context("narrow", [])
    seen: list[bool] = []

    def elsewhere() -> None:
        seen.append(narrow.run(lambda: current() is narrow))
        seen.append(current() is narrow)

    with narrow:
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        assert current() is narrow
    assert seen == [True, False]


def test_before_install_nothing_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_installed", [])
    monkeypatch.setattr(module._threads, "stack", [], raising=False)
    assert not current().has_capability("file.read")
    with pytest.raises(CapabilityError):
        current().require("file", "read", "/etc/hostname")


# --- declared ---------------------------------------------------------------------------------------------------


def test_a_declaration_is_a_ceiling(bench: Workbench) -> None:
    root = bench.hold("file.read,write data/**")
    declared = root.declared([Grant("file", ("read",), ("data/in/*",))])
    assert declared.can_access_resource("file", "data/in/a", "read")
    assert not declared.can_access_resource("file", "data/out/a", "read")
    assert not declared.can_access_resource("file", "data/in/a", "write")
    with declared, pytest.raises(CapabilityError, match="granted but not declared"):
        bench.call("file.read", "data/out/a")


def test_a_declaration_grants_nothing(bench: Workbench) -> None:
    root = bench.hold("file.read data/**")
    declared = root.declared([Grant("file", ("read",), ("/**",))])
    assert not declared.can_access_resource("file", "/etc/passwd", "read")


def test_the_base_profile_needs_no_declaration(bench: Workbench) -> None:
    base = Grant("file", ("read",), ("/usr/**",), {}, "base:default")
    root = bench.hold(base, "file.read data/**")
    assert root.declared([]).allows("file", "read", "/usr/share/x")
    assert not root.declared([]).can_access_resource("file", "data/a", "read")


# --- quotas -----------------------------------------------------------------------------------------------------

QUOTAS: list[tuple[dict[str, Any], int]] = [
    ({"max_uses": 2}, 2),
    ({"rate": {"count": 3, "seconds": 3600}}, 3),
    ({"rate": "1/h"}, 1),
    ({"max_requests": 1}, 5),  # counts requests, and a file is none
]


@pytest.mark.parametrize(("constraints", "allowed"), QUOTAS)
def test_counted_constraints(bench: Workbench, constraints: dict[str, Any], allowed: int) -> None:
    bench.put("data/a")
    bench.hold(bench.grant("file.read data/*", **constraints))
    outcomes = []
    for _ in range(5):
        try:
            bench.call("file.read", "data/a")
            outcomes.append(True)
        except CapabilityError as error:
            assert "is used up" in str(error)
            outcomes.append(False)
    assert outcomes == [True] * allowed + [False] * (5 - allowed)


def test_a_second_grant_helps_when_the_first_is_used_up(bench: Workbench) -> None:
    bench.put("data/a")
    bench.hold(bench.grant("file.read data/*", max_uses=1), bench.grant("file.read data/a", max_uses=1))
    bench.call("file.read", "data/a")
    bench.call("file.read", "data/a")
    with pytest.raises(CapabilityError):
        bench.call("file.read", "data/a")


def test_max_file_size(bench: Workbench) -> None:
    bench.hold(bench.grant("file.write,append data/*", max_file_size=5))
    bench.call("file.write", "data/a", "12345")
    with pytest.raises(CapabilityError, match="max_file_size"):
        bench.call("file.write", "data/b", "123456")
    with pytest.raises(CapabilityError, match="max_file_size"):
        bench.call("file.append", "data/a", "6")
    assert not os.path.exists(bench.path("data/b"))


def test_an_expired_grant_is_none(bench: Workbench) -> None:
    late = bench.grant("file.read data/*", expires_at=time.time() - 1)
    early = bench.grant("env.read HOME", expires_at=time.time() + 60)
    root = bench.hold(late, early)
    assert not root.can_access_resource("file", "data/a", "read")
    assert not root.has_capability("file.read")
    assert root.allows("env", "read", "HOME")
    assert root.has_capability("env.read")


# --- elevation --------------------------------------------------------------------------------------------------


def test_elevation_is_an_answer_from_outside(bench: Workbench) -> None:
    asked: list[tuple[str, ...]] = []

    def answer(*question: str) -> dict[str, Any] | None:
        asked.append(question)
        return {"max_usage_count": 1} if question[2] == "data/yes" else None

    bench.put("data/yes", "y")
    bench.put("data/no", "n")
    root = bench.hold(elevate=answer)
    assert not root.elevate("file", "read", "data/no", "why")
    assert root.elevate("file", "read", "data/yes")
    assert asked == [("file", "read", "data/no", "why"), ("file", "read", "data/yes", "")]
    assert bench.call("file.read", "data/yes") == "y"
    with pytest.raises(CapabilityError):
        bench.call("file.read", "data/yes")
    with pytest.raises(CapabilityError):
        bench.call("file.read", "data/no")


def test_nobody_outside_means_no(bench: Workbench) -> None:
    assert not bench.hold().elevate("file", "read", "data/a")


def test_a_deny_cannot_be_lifted(bench: Workbench) -> None:
    root = bench.hold("file.read data/**", denies=("file.read data/secret",), elevate=lambda *_: {})
    assert not root.elevate("file", "read", "data/secret")


def test_elevation_does_not_widen_a_narrow_scope(bench: Workbench) -> None:
    root = bench.hold(elevate=lambda *_: {})
    narrow = root.create_child_context("narrow", [])
    assert not narrow.elevate("file", "read", "data/a")
    assert root.can_access_resource("file", "data/a", "read")


# --- what a program may ask --------------------------------------------------------------------------------------


def test_introspection(bench: Workbench) -> None:
    bench.put("data/a")
    root = bench.hold(bench.grant("file.read data/*", max_uses=9), "cmd.execute git")
    assert root.has_capability("file")
    assert root.has_capability("file.read")
    assert root.has_capability("math.compute")
    assert not root.has_capability("file.write")
    assert not root.has_capability("FileAccess")
    assert {"file.read", "cmd.execute", "console.write"} <= set(root.names())
    assert "file.write" not in root.names()
    bench.call("file.read", "data/a")
    assert root.info("file.read") == {
        "type": "file.read",
        "available": True,
        "usage_count": 1,
        "patterns": ["data/*"],
        "operations": ["read"],
        "max_usage": 9,
        "expires_at": None,
    }
    assert root.info("network.https") is None


def test_the_decorator(bench: Workbench) -> None:
    @requires_capability("file", "read", auto_use=True)
    def work(path: str) -> str:
        return path

    bench.hold("file.read data/*")
    assert work("data/a") == "data/a"
    with pytest.raises(CapabilityError):
        work("other")
    with current().create_child_context("none", []), pytest.raises(CapabilityError, match=r"file\.read is not granted"):
        work("data/a")


def test_use_capability_canonicalises(bench: Workbench) -> None:
    root = bench.hold("file.read data/*")
    root.use_capability("file", "data/../data/./a", "read")
    with pytest.raises(CapabilityError):
        root.use_capability("file", "data/../../etc/passwd", "read")
    assert module.has_capability("file")
    assert module.can_access_resource("file", "data/a", "read")
    assert not module.create_child_context("x", []).has_capability("file")


# --- scratch names ------------------------------------------------------------------------------------------------

SCRATCH = [
    ("out/report.txt.tmp", True),
    ("out/.report.txt.x8Kd2a", True),
    ("out/report.txt~", True),
    ("out/#report.txt#", True),
    ("out/.report.txt.swp", True),
    ("out/report.txt.part", True),
    ("out/report.exe", False),
    ("out/report.txt.exe", False),
    ("out/report.md.tmp", False),
    ("elsewhere/report.txt.tmp", False),
    ("out/report.txt.tmp/x", False),
]


@pytest.mark.parametrize(("name", "passes"), SCRATCH)
def test_scratch_names_beside_granted_files(bench: Workbench, name: str, passes: bool) -> None:
    root = bench.hold("file.write out/*.txt elsewhere/*.txt", staged=[bench.path("out")])
    assert root.can_access_resource("file", name, "write") is passes
    assert root.staged_scratch(bench.path(name)) is passes


@pytest.mark.parametrize("staged", ["out", "out/*.txt", "out/report.txt", "**/report.txt", "*/report.txt", "out/**"])
def test_staged_directories_may_be_told_by_patterns(bench: Workbench, staged: str) -> None:
    root = bench.hold("file.write out/report.txt", staged=[bench.path(staged)])
    assert root.can_access_resource("file", "out/report.txt.tmp", "write")
    assert not root.can_access_resource("file", "out/other.txt.tmp", "write")


def test_a_safe_save_works(bench: Workbench) -> None:
    bench.hold("file.write out/*.txt", staged=[bench.path("out")])
    bench.call("file.write", "out/a.txt.tmp", "new")
    bench.call("file.move", "out/a.txt.tmp", "out/a.txt")
    assert not os.path.exists(bench.path("out/a.txt.tmp"))
    with open(bench.path("out/a.txt")) as stream:
        assert stream.read() == "new"


def test_a_denied_name_is_no_scratch(bench: Workbench) -> None:
    root = bench.hold("file.write out/*.txt", denies=("file.write out/*.tmp",), staged=[bench.path("out")])
    assert not root.can_access_resource("file", "out/a.txt.tmp", "write")


def test_contexts_are_cheap_enough(bench: Workbench) -> None:
    root = bench.hold(*[f"file.read data/{n}/*.csv" for n in range(100)])
    began = time.perf_counter()
    for _ in range(1000):
        root.require("file", "read", bench.path("data/50/a.csv"))
    assert (time.perf_counter() - began) / 1000 < 500e-6


def test_repr_tells_nothing() -> None:
    assert repr(Context.root(Permissions((), (), Limits(), Scope("/", "/")))) == "<Context job>"
