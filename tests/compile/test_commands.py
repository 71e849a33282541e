"""Commands in a profile: mode, what an exec is held against, and rules that mean what was granted."""

from __future__ import annotations

from typing import Any

import pytest

from launcher.capability.kinds import interpreter_type
from launcher.capability.names import NamePattern
from tests.compile.hosts import compiled, policy


def commands(body: str, **options: Any) -> dict[str, Any]:
    found: dict[str, Any] = compiled(policy(body), **options).data["commands"]
    return found


@pytest.mark.parametrize(
    ("body", "mode", "check"),
    [
        ("", "none", "refuse"),
        ("capabilities: {cmd: [git]}", "listed", "image"),
        ("capabilities: {cmd: ['git:*']}", "listed", "image"),
        ("capabilities: {cmd: [git status]}", "listed", "arguments"),
        ("capabilities: {cmd: ['git status:*']}", "listed", "arguments"),
        ("capabilities: {cmd: [[git]]}", "listed", "arguments"),  # exactly `git`, nothing after
        ("capabilities: {cmd: ['*']}", "all", "image"),
        ("capabilities: {cmd: true}", "all", "image"),
        ("capabilities: {cmd: true}\ndeny: {cmd: [git push]}", "all", "arguments"),
        ("capabilities: {cmd: true}\ndeny: [cmd]", "none", "refuse"),
        ("capabilities: {sh: true}", "listed", "image"),
        ("capabilities: {sh: true}\ndeny: [sh]", "none", "refuse"),
        ("capabilities: {py: [python3]}", "listed", "image"),
        ("capabilities: {cmd: [busybox]}", "listed", "arguments"),  # or it is a shell that `sh` did not grant
        ("capabilities: {cmd: true}\ndeny: {cmd: [busybox]}", "all", "image"),
        ("capabilities: {cmd: [/bin/busybox.static]}", "listed", "arguments"),
    ],
)
def test_mode_and_check(body: str, mode: str, check: str) -> None:
    found = commands(body)
    assert (found["mode"], found["check"]) == (mode, check)


def kinds(body: str) -> tuple[bool, bool, bool]:
    found = commands(body)
    return found["sh"], found["js"], found["py"]


def test_every_command_includes_interpreters_but_no_shell() -> None:
    assert kinds("capabilities: {cmd: ['*']}") == (False, True, True)
    assert kinds("capabilities: {cmd: ['*']}\ndeny: [py]") == (False, True, False)
    assert kinds("capabilities: {cmd: [git], sh: true}") == (True, False, False)
    assert kinds("capabilities: {py: [python3.11]}") == (False, False, False)


@pytest.mark.parametrize("name", ["busybox", "busybox.static", "toybox", "sh"])
def test_multi_call_files_are_covered_like_shells(name: str) -> None:
    assert any(NamePattern(glob).matches(name) for glob in commands("")["interpreters"]["sh"])


def test_denies_are_carried_with_their_place() -> None:
    found = commands("capabilities: {cmd: ['*']}\ndeny: [js, 'cmd:curl']")
    assert [(rule["type"], rule["pattern"]) for rule in found["denied"]] == [("js", "*"), ("cmd", "curl")]
    assert all(rule["place"].startswith("p0.yaml:4:") for rule in found["denied"])


def test_paths_are_written_out_and_names_stay() -> None:
    body = "capabilities: {cmd: ['.venv/bin/*', git status, './run.sh -x:*', [a b, c], '~/bin/t:*']}"
    assert [rule["pattern"] for rule in commands(body)["rules"]] == [
        "/work/alice/.venv/bin/*",
        "git status",
        "/work/alice/run.sh -x:*",
        ["a b", "c"],
        "/home/alice/bin/t:*",
    ]


def test_what_a_program_may_start_goes_with_it() -> None:
    (rule,) = commands("capabilities: {cmd: [{git: '*', uses: [ssh, /usr/lib/git-core/*]}]}")["rules"]
    assert rule["uses"] == ["ssh", "/usr/lib/git-core/*"]


@pytest.mark.parametrize(
    "name", ["sh", "bash", "dash", "python3", "python3.11", "python", "node", "node20", "pypy3", "git", "pythonx"]
)
def test_the_globs_agree_with_the_algebra(name: str) -> None:
    globs = commands("")["interpreters"]
    found = [kind for kind, patterns in globs.items() if any(NamePattern(glob).matches(name) for glob in patterns)]
    assert found == ([interpreter_type(name)] if interpreter_type(name) else [])
