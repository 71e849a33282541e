from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from launcher.capability import Grant, Limits, Permissions, Place, Scope

if TYPE_CHECKING:
    from launcher.capability.decision import Shortfall

SCOPE = Scope("/home/user", "/w")


def rule(kind: str, operations: str, *patterns: Any, policy: str = "p", **constraints: Any) -> Grant:
    return Grant(kind, tuple(operations.split()), patterns, constraints, policy, Place("p.yaml", 3, 5))


def missing(need: Grant, grants: list[Grant], denies: list[Grant] | None = None, **more: Any) -> list[Shortfall]:
    return Permissions(grants, denies or [], Limits(), SCOPE).shortfalls([need], **more)


# need, grants, denies, example of what is missing (None: contained)
PATHS: list[tuple[str, list[str], list[str], str | None]] = [
    # design section 5
    ("data/2024-*.csv", ["data/*.csv"], [], None),
    ("data/**", ["data/*.csv"], [], "/w/data/a"),
    ("/a/[0-9].txt", ["/a/?.txt"], [], None),
    ("/a/?.txt", ["/a/[0-9].txt"], [], "/a/a.txt"),
    # union
    ("/a/*", ["/a/[!x]*", "/a/x*"], [], None),
    ("/a/*", ["/a/[!x]*", "/a/x?*"], [], "/a/x"),
    ("/a/**", ["/a/*", "/a/*/**"], [], None),
    ("/a/**/b", ["/a/b", "/a/**/*/b"], [], None),
    ("/a/b", ["**"], [], "/a/b"),
    ("/**", ["/**"], [], None),
    ("/**", ["/*", "/*/**"], [], None),
    # denies
    ("/a/**", ["/a/**"], ["/a/**/secret/*"], "/a/secret/a"),
    ("/a/b/*", ["/a/**"], ["/a/c/**"], None),
    ("/a/x", ["/a/*"], ["**/x"], "/a/x"),
    # what no canonical path can be is not asked for
    ("/a/[.][.]", ["/b"], [], None),
    ("/a/.*", ["/a/.?*"], [], None),
    # anywhere in the view
    ("**/*.csv", ["@base/**"], [], None),
    ("**/*.csv", ["**/*.csv"], [], None),
    ("**/*.csv", ["@base/*.csv"], [], "/w/a/.csv"),
    ("sub/x.csv", ["**/*.csv"], [], None),
    ("/tmp/x.csv", ["**/*.csv"], [], None),
    ("/etc/x.csv", ["**/*.csv"], [], "/etc/x.csv"),
    # bytes and code points
    ("/a/\u00e9", ["/a/?"], [], None),
    ("/a/\udcff", ["/a/[!a-z]"], [], None),
    ("/a/\udcff\udcfe", ["/a/?"], [], "/a/\udcff\udcfe"),
]


@pytest.mark.parametrize(("need", "grants", "denies", "example"), PATHS)
def test_paths(need: str, grants: list[str], denies: list[str], example: str | None) -> None:
    found = missing(
        rule("file", "read", need),
        [rule("file", "read", text) for text in grants],
        [rule("file", "read", text) for text in denies],
    )
    assert [shortfall.example for shortfall in found] == ([] if example is None else [example])


def test_the_reason_names_the_rule() -> None:
    (found,) = missing(rule("file", "read", "/a/*"), [rule("file", "read", "/a/*")], [rule("file", "read", "/a/x")])
    assert found.example == "/a/x"
    assert "denied by p p.yaml:3:5" in found.reason
    assert (found.operation, found.pattern) == ("read", "/a/*")


def test_a_granted_tree_is_in_the_view() -> None:
    grants = [rule("file", "read", "@base/**"), rule("file", "write", "/x/**")]
    (found,) = missing(rule("file", "read", "**/*.csv"), grants)
    assert found.example == "/x/.csv"


def test_every_operation_is_asked() -> None:
    found = missing(rule("file", "read write delete", "/a"), [rule("file", "read", "/a")])
    assert [shortfall.operation for shortfall in found] == ["write", "delete"]


def test_listing_covers_the_directory_on_both_sides() -> None:
    assert not missing(rule("path", "read", "/d"), [rule("path", "read", "/d/*")])
    (found,) = missing(rule("path", "read", "/d/*"), [rule("path", "read", "/d/?*")], [rule("path", "read", "/d")])
    assert found.example == "/d"


def test_the_base_view_is_granted_to_everybody() -> None:
    base = rule("file", "read", "/usr/**", policy="base:default")
    assert not missing(rule("file", "read", "/usr/share/x"), [base])
    assert not missing(rule("file", "read", "/usr/**"), [base], [rule("file", "read", "/usr/x")])
    assert not missing(rule("file", "read", "/anything", policy="base:default"), [])
    assert missing(rule("file", "read"), [base])


def test_the_danger_list_is_not_subtracted() -> None:
    danger = rule("file", "read", "**/.env", policy="danger:secrets")
    assert not missing(rule("file", "read", "/a/**"), [rule("file", "read", "/a/**")], [danger])
    assert not missing(
        rule("cmd", "execute", "git"),
        [rule("cmd", "execute", "git")],
        [rule("cmd", "execute", "git push", policy="danger:x")],
    )


def test_constraints() -> None:
    granted = [rule("file", "write", "/a/*", max_file_size="10MiB")]
    assert not missing(rule("file", "write", "/a/*"), granted)
    assert not missing(rule("file", "write", "/a/*", max_file_size=1000), granted)
    (found,) = missing(rule("file", "write", "/a/*", max_file_size="11MiB"), granted)
    assert "max_file_size" in found.reason
    assert missing(rule("file", "write", "/a/*", live=True), granted)
    assert missing(rule("file", "write", "/a/*", rate="5/s"), granted)


HOSTS: list[tuple[Grant, list[Grant], list[Grant], str | None]] = [
    (rule("network", "https", "a.example.com"), [rule("network", "https", "*.example.com")], [], None),
    (rule("network", "https", "example.com"), [rule("network", "https", "*.example.com")], [], None),
    (rule("network", "https", "*.example.com"), [rule("network", "https", "api.example.com", "example.com")], [], "a.example.com"),
    (rule("network", "https", "*.b.example.com"), [rule("network", "https", "*.example.com")], [], None),
    (rule("network", "https", "api.*.example.com"), [rule("network", "https", "*.example.com")], [], None),
    (rule("network", "https", "*.example.com"), [rule("network", "https", "api.*.example.com")], [], "example.com"),
    (rule("network", "https", "notexample.com"), [rule("network", "https", "*.example.com")], [], "notexample.com"),
    (rule("network", "https", "x.com"), [rule("network", "https", "*")], [], None),
    (rule("network", "https", "10.0.0.1"), [rule("network", "https", "*")], [], "10.0.0.1"),
    # ports
    (rule("network", "https", "x.com:443"), [rule("network", "https", "x.com")], [], None),
    (rule("network", "https", "x.com"), [rule("network", "https", "x.com", ports=[443, 8443])], [], None),
    (rule("network", "https", "x.com"), [rule("network", "https", "x.com:8443")], [], "x.com"),
    (rule("network", "https", "x.com:8443"), [rule("network", "https", "x.com")], [], "x.com:8443"),
    (
        rule("network", "https", "x.com", ports=["8000-8010"]),
        [rule("network", "https", "x.com", ports=["8000-8004"]), rule("network", "https", "*.com", ports=["8005-8009"])],
        [],
        "x.com:8010",
    ),
    (rule("network", "tcp", "db.com"), [rule("network", "tcp", "db.com:5432")], [], None),
    # paths and methods
    (rule("network", "https", "x.com/v1/users"), [rule("network", "https", "x.com/v1/*")], [], None),
    (rule("network", "https", "x.com"), [rule("network", "https", "x.com/v1/*")], [], "x.com"),
    (rule("network", "https", "x.com", methods=["GET"]), [rule("network", "https", "x.com", methods=["GET", "HEAD"])], [], None),
    (rule("network", "https", "x.com", methods=["PUT"]), [rule("network", "https", "x.com", methods=["GET"])], [], "x.com"),
    (rule("network", "https", "x.com"), [rule("network", "https", "x.com", methods=["GET"])], [], None),
    # denies
    (rule("network", "https", "*.x.com"), [rule("network", "https", "*.x.com")], [rule("network", "https", "b.x.com")], "b.x.com"),
    (rule("network", "https", "x.com"), [rule("network", "https", "x.com")], [rule("network", "https", "x.com", methods=["PUT"])], None),
    (rule("network", "https", "x.com", methods=["PUT"]), [rule("network", "https", "x.com")], [rule("network", "https", "x.com", methods=["PUT"])], "x.com"),
    (rule("network", "https", "x.com"), [rule("network", "https", "x.com")], [rule("network", "https")], "x.com"),
    # addresses
    (rule("network", "https", "10.1.0.0/16"), [rule("network", "https", "10.0.0.0/9", "10.128.0.0/9")], [], None),
    (rule("network", "https", "10.0.0.0/8"), [rule("network", "https", "10.0.0.0/9", "10.128.0.0/9")], [], None),
    (rule("network", "https", "10.0.0.0/8"), [rule("network", "https", "10.0.0.0/9")], [], "10.128.0.0"),
    (rule("network", "https", "10.1.0.0/16"), [rule("network", "https", "10.0.0.0/8")], [rule("network", "https", "10.1.2.0/24")], "10.1.2.0"),
    (rule("network", "https", "2001:db8::/32"), [rule("network", "https", "2001:db8::/33")], [], "[2001:db8:8000::]"),
]  # fmt: skip


@pytest.mark.parametrize(("need", "grants", "denies", "example"), HOSTS)
def test_hosts(need: Grant, grants: list[Grant], denies: list[Grant], example: str | None) -> None:
    assert [found.example for found in missing(need, grants, denies)] == ([] if example is None else [example])


COMMANDS: list[tuple[Any, list[Any], list[Any], str | None]] = [
    ("git status", ["git"], [], None),
    ("git status", ["git status"], [], None),
    ("git status:*", ["git"], [], None),
    ("git status:*", ["git status"], [], "git status any-argument"),
    ("git", ["git status:*"], [], "git"),
    ("git", ["git"], ["git push"], "git push"),
    ("git status", ["git"], ["git push"], None),
    ("git status:*", ["git"], ["git push"], None),
    ("ls", ["git", "*"], [], None),
    ("*", ["git"], [], "any-program"),
    ("*", ["*"], [], None),
    ("*", ["*"], ["rm"], "rm"),
    ("env:*", ["*"], ["git push"], "env git push"),
    (("git", "a b"), ["git"], [], None),
    (("git", "a b"), [("git", "a b")], [], None),
    (("git", "a b"), ["git a"], [], "git a b"),
    (".venv/bin/*", [".venv/bin/p*"], [], "/w/.venv/bin/a"),
    (".venv/bin/p*", [".venv/bin/*"], [], None),
    (".venv/bin/*", ["*"], ["pip"], "/w/.venv/bin/pip"),
    (".venv/bin/x", [".venv/bin/*"], [], None),
    ("/usr/bin/git", ["git"], [], None),
    ("/opt/git", ["git"], [], "/opt/git"),
    ("git", ["/usr/bin/*"], [], "git"),
]


@pytest.mark.parametrize(("need", "grants", "denies", "example"), COMMANDS)
def test_commands(need: Any, grants: list[Any], denies: list[Any], example: str | None) -> None:
    found = missing(
        rule("cmd", "execute", need),
        [rule("cmd", "execute", text) for text in grants],
        [rule("cmd", "execute", text) for text in denies],
    )
    assert [shortfall.example for shortfall in found] == ([] if example is None else [example])


def test_constraints_of_commands_count() -> None:
    granted = [rule("cmd", "execute", "git", max_uses=2)]
    assert not missing(rule("cmd", "execute", "git status", max_uses=1), granted)
    assert missing(rule("cmd", "execute", "git status", max_uses=3), granted)


def test_names_and_paths_of_programs_meet_when_the_files_are_known() -> None:
    grants = [rule("cmd", "execute", "/usr/bin/*")]
    assert not missing(rule("cmd", "execute", "git"), grants, programs={"git": "/usr/bin/git"})
    assert missing(rule("cmd", "execute", "git"), grants, programs={"git": "/opt/git"})


def test_a_deny_of_shells_reaches_wrappers() -> None:
    (found,) = missing(rule("cmd", "execute", "env:*"), [rule("cmd", "execute", "*")], [rule("sh", "execute")])
    assert found.example == "env sh"


OTHERS: list[tuple[Grant, list[Grant], list[Grant], str | None]] = [
    (rule("env", "read", "A*"), [rule("env", "read", "A?*")], [], "A"),
    (rule("env", "read", "A?"), [rule("env", "read", "A*")], [], None),
    (rule("keychain", "read", "app/*"), [rule("keychain", "read", "**")], [rule("keychain", "read", "app/x")], "app/x"),
    (rule("import", "use", "**"), [rule("import", "use", "*", "**/*")], [], None),
    (rule("device", "use", "/dev/nvidia0"), [rule("device", "use", "/dev/nvidia*")], [], None),
    (rule("database", "select", "postgresql://db/a"), [rule("database", "select", "postgresql://db/")], [], None),
    (rule("database", "select", "postgresql://db/"), [rule("database", "select", "postgresql://db/a")], [], "postgresql://db/a"),
    (
        rule("database", "select", "postgresql://db/"),
        [rule("database", "select", "postgresql://db/")],
        [rule("database", "select", "postgresql://db/s")],
        "postgresql://db/s",
    ),
    (rule("database", "ddl", "postgresql://db/a"), [rule("database", "select", "postgresql://db/")], [], "postgresql://db/a"),
]  # fmt: skip


@pytest.mark.parametrize(("need", "grants", "denies", "example"), OTHERS)
def test_others(need: Grant, grants: list[Grant], denies: list[Grant], example: str | None) -> None:
    assert [found.example for found in missing(need, grants, denies)] == ([] if example is None else [example])


BOOLEANS: list[tuple[Grant, list[Grant], list[Grant], bool]] = [
    (rule("network", "http https tcp"), [rule("network", "https", "x.com")], [], True),
    (rule("network", "http https tcp"), [rule("network", "https")], [], False),
    (rule("network", "http https tcp"), [rule("network", "https", "x.com")], [rule("network", "https")], False),
    (rule("network", "http https tcp"), [rule("network", "https", "x.com")], [rule("network", "https", "*.com")], False),
    (rule("network", "http https tcp"), [rule("network", "https", "*.com")], [rule("network", "https", "x.com")], True),
    (rule("network", "loopback"), [rule("network", "loopback", policy="base:default")], [], True),
    (rule("file", "read"), [rule("file", "read", "/a/*")], [rule("file", "read", "/a/*")], False),
    (rule("file", "read"), [rule("file", "read", "/a/*")], [rule("file", "read", "/a/x")], True),
    (rule("sh", "execute"), [rule("sh", "execute")], [], True),
    (rule("sh", "execute"), [rule("sh", "execute")], [rule("sh", "execute")], False),
    (rule("sh", "execute"), [rule("cmd", "execute", "*")], [], False),
    (rule("keychain", "read"), [rule("keychain", "read", "a")], [], True),
    (rule("database", "select"), [rule("database", "select", "mysql://m/")], [rule("database", "select", "mysql://m/")], False),
]  # fmt: skip


@pytest.mark.parametrize(("need", "grants", "denies", "contained"), BOOLEANS)
def test_a_need_without_patterns(need: Grant, grants: list[Grant], denies: list[Grant], contained: bool) -> None:
    assert (not missing(need, grants, denies)) is contained


def test_what_is_too_complex_is_not_contained() -> None:
    need = rule("file", "read", "/a/*a" + "?" * 24 + "*")
    grants = [rule("file", "read", f"/a/*{letter}" + "?" * 23 + "*") for letter in "abcdef"]
    (found,) = missing(need, grants, [rule("file", "read", "/a/*a" + "?" * 30 + "b*")])
    assert found.example == ""
    assert "too complex" in found.reason
