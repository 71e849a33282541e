"""Files in a profile: what is read, staged, live and denied; a live tree holds no deny."""

from __future__ import annotations

from typing import Any

import pytest

from launcher.errors import DocumentError
from tests.compile.hosts import NEWEST, compiled, policy

OUT = "/work/alice/out"


def files(body: str, abi: int = 7, **options: Any) -> dict[str, Any]:
    found: dict[str, Any] = compiled(
        policy(body), features=NEWEST.replaced(landlock=abi), allow_degraded=True, **options
    ).data["files"]
    return found


def rules(body: str, abi: int = 7) -> list[tuple[str, str, tuple[str, ...]]]:
    return [
        (name, rule["pattern"], tuple(rule["operations"]))
        for name, listed in files(body, abi).items()
        for rule in listed
    ]


def live(operations: str, more: str = "", kind: str = "file", pattern: str = "out/**") -> str:
    return f"capabilities: {{{kind}: [{{patterns: ['{pattern}'], operations: [{operations}], live: true{more}}}]}}\n"


def test_reading_and_writing_are_told_apart() -> None:
    body = "capabilities: {file: [{patterns: ['out/*.txt'], operations: [read, write, append], max_file_size: 5}]}"
    assert rules(body) == [
        ("read", f"{OUT}/*.txt", ("file.read",)),
        ("staged", f"{OUT}/*.txt", ("file.write", "file.append")),
    ]
    assert files(body)["staged"][0]["max_file_size"] == 5
    assert files(body)["staged"][0]["place"].startswith("p0.yaml:3:")


def test_a_live_directory_carries_all_its_operations() -> None:
    assert rules(live("read, write, delete")) == [("live", f"{OUT}/**", ("file.read", "file.write", "file.delete"))]
    assert files(live("write"))["live"][0]["directory"] == OUT


@pytest.mark.parametrize(
    ("operations", "kind", "abi", "where"),
    [
        ("write", "file", 3, "live"),
        ("write", "file", 2, "staged"),  # without TRUNCATE a right to write is one to truncate (kernel-facts 6)
        ("write, append, delete", "file", 2, "live"),
        ("write, append, delete", "file", 0, "staged"),
        ("read, write", "path", 1, "live"),
        ("read, write", "path", 0, "staged"),
    ],
)
def test_below_an_abi_what_landlock_cannot_tell_apart_is_staged(
    operations: str, kind: str, abi: int, where: str
) -> None:
    found = files(live(operations, kind=kind), abi)
    assert [name for name in ("staged", "live") if found[name]] == [where]


@pytest.mark.parametrize(
    "deny",
    [
        "file.read:**/.env",
        "file.write:/work/alice/out/secret",
        "path.write:/work/**",
        "file.read:out/a/*",
        "file",
        "path.read",
    ],
)
def test_a_deny_that_may_fall_inside_a_live_tree_is_an_error(deny: str) -> None:
    with pytest.raises(DocumentError, match="may fall inside") as caught:
        files(live("write") + f"deny: ['{deny}']")
    assert caught.value.place.startswith("p0.yaml:3:")
    assert "staged" in caught.value.hint


@pytest.mark.parametrize("deny", ["file.read:/work/alice/other/**", "file.read:/work/alice/outer", "env.read:X", "sh"])
def test_a_deny_elsewhere_is_none_of_its_business(deny: str) -> None:
    assert len(files(live("write") + f"deny: ['{deny}']")["live"]) == 1


def test_a_deny_on_the_directory_itself_counts() -> None:
    with pytest.raises(DocumentError, match="may fall inside"):
        files(live("write") + f"deny: ['file.write:{OUT}']")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (live("append"), "append only"),
        (live("write", ", max_file_size: 1MiB"), "max_file_size"),
    ],
)
def test_a_live_grant_that_the_kernel_cannot_hold_as_written(body: str, says: str) -> None:
    with pytest.raises(DocumentError, match=says) as caught:
        files(body)
    assert caught.value.hint
    assert caught.value.place


def test_a_live_grant_that_only_reads_is_a_read() -> None:
    assert rules(live("read")) == [("read", f"{OUT}/**", ("file.read",))]


def test_a_bare_deny_is_every_path() -> None:
    assert rules("deny: [file]") == [("denied", "/**", ("file.read", "file.write", "file.append", "file.delete"))]


def test_anywhere_in_the_view_stays_anywhere_in_the_view() -> None:
    assert rules("capabilities: ['file.read:**/*.md']") == [("read", "**/*.md", ("file.read",))]
