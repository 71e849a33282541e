"""Three notations, one model; and every way of getting a rule wrong has its place."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.capability.limits import Limits
from launcher.capability.permissions import Permissions
from launcher.capability.scope import Scope
from launcher.errors import DocumentError
from launcher.policy.document import load
from launcher.policy.notation import Rules

if TYPE_CHECKING:
    from launcher.capability.grant import Grant


def rules(text: str) -> Rules:
    """What the members of a policy given in `text` say."""
    found = Rules("p")
    members = load(text.encode(), "p.yaml").members
    if "capabilities" in members:
        found.capabilities(members["capabilities"])
    if "allow" in members:
        found.map(members["allow"], deny=False)
    if "deny" in members:
        found.map(members["deny"], deny=True)
    return found


def shown(grants: list[Grant]) -> list[str]:
    """Each rule as `type.operations patterns constraints`."""
    return [f"{grant} {grant.constraints}".replace(" {}", "") for grant in grants]


SAME = [
    # the same in three notations, and what it is
    (
        "capabilities: {file: [{patterns: [/data/*], operations: [read]}]}",
        'capabilities: ["file.read:/data/*"]',
        "allow: {filesystem: {read: [/data/*]}}",
        ["file.read /data/*"],
    ),
    (
        "capabilities: {network: [{hosts: ['*.x.org'], operations: [http, https]}]}",
        "capabilities: {network: [{hosts: ['*.x.org'], operations: [http, https]}]}",
        "allow: {network: {domains: ['*.x.org']}}",
        ["network.http,https *.x.org"],
    ),
    (
        'capabilities: {cmd: ["git:*"]}',
        'capabilities: ["cmd:git:*"]',
        'allow: {cmd: ["git:*"]}',
        ["cmd.execute git:*"],
    ),
    ("capabilities: {js: true}", "capabilities: [js]", "allow: [js]", ["js.execute"]),
    (
        "capabilities: {file: true}",
        "capabilities: [file]",
        "allow: {filesystem: true}",
        ["file.read,write,append,delete **"],
    ),
    (
        "capabilities: {env: [LANG]}",
        'capabilities: ["env:LANG"]',
        "allow: {env: [LANG]}",
        ["env.read LANG"],
    ),
]


@pytest.mark.parametrize(("document", "strings", "mapped", "expected"), SAME)
def test_the_notations_mean_the_same(document: str, strings: str, mapped: str, expected: list[str]) -> None:
    for text in (document, strings, mapped):
        assert shown(rules(text).grants) == expected, text


READ = [
    ("capabilities: ['file.read']", ["file.read **"], []),
    ("capabilities: ['network.https']", ["network.https *"], []),
    ("capabilities: ['network.loopback']", ["network.loopback"], []),
    ("allow: [network]", ["network.http,https,tcp,loopback * {'ports': ['1-65535']}"], []),
    ("capabilities: ['network.https:api.x.org:8443/v1/*']", ["network.https api.x.org:8443/v1/*"], []),
    ("capabilities: ['file.read:/d/**', '!file.read:/d/s/*']", ["file.read /d/**"], ["file.read /d/s/*"]),
    ("capabilities: ['!sh']", [], ["sh.execute"]),
    ("deny: [sh, py]", [], ["sh.execute", "py.execute"]),
    ("deny: {cmd: ['git push']}", [], ["cmd.execute git push"]),
    ("deny: ['file.write:@base/x']", [], ["file.write @base/x"]),
    ("deny: {file: [{patterns: [/s/**], operations: [read]}]}", [], ["file.read /s/**"]),
    ("deny: [network]", [], ["network.http,https,tcp,loopback"]),
    ("deny: {network: {domains: [evil.org]}}", [], ["network.http,https,tcp,loopback evil.org"]),
    ("deny: {network: true}", [], ["network.http,https,tcp,loopback"]),
    ("deny: {filesystem: {write: true}}", [], ["file.write"]),
    ("capabilities: {deny: [sh], allow: [js]}", ["js.execute"], ["sh.execute"]),
    ("capabilities: {cmd: [[git, log, 'a:*']]}", ["cmd.execute [git, log, a:*]"], []),
    ("capabilities: {cmd: [{git: '*', uses: [ssh]}]}", ["cmd.execute git {'uses': ['ssh']}"], []),
    ("capabilities: {cmd: [{git: [status, log]}]}", ["cmd.execute git status:* git log:*"], []),
    ("capabilities: {cmd: ['npm run test:unit']}", ["cmd.execute npm run test:unit"], []),
    ("capabilities: {cmd: [{patterns: [make], max_uses: 2}]}", ["cmd.execute make {'max_uses': 2}"], []),
    ("capabilities: {sh: [/bin/dash]}", ["sh.execute /bin/dash"], []),
    # empty means nothing, and an empty deny denies nothing
    ("capabilities: {file: [], cmd: [], js: []}", [], []),
    ("capabilities: []\nallow: {}\ndeny: []", [], []),
    ("deny: {cmd: [], filesystem: {read: []}, network: []}", [], []),
    ("deny: {file: [{patterns: [], operations: [read]}]}", [], []),
    ("capabilities: {sh: [{dash: []}], cmd: [{git: []}], js: [{patterns: []}]}", [], []),
    ("deny: {sh: [{dash: []}], cmd: [{git: []}], py: [{patterns: []}]}", [], []),
    ("allow: {cmd: {git: []}}\ndeny: {cmd: {git: []}}", [], []),
    ("capabilities: {file: [{patterns: [/a], operations: []}], js: false}", [], []),
    (
        (
            "capabilities: {network: [{hosts: [db.x.org], operations: [tcp], ports: [5432, '8000-8010'], max_bytes: 1MiB,"
            " rate: 10/m, expires_at: 2030-01-01T00:00:00Z, allow_private: true}]}"
        ),
        [
            (
                "network.tcp db.x.org {'ports': [5432, '8000-8010'], 'max_bytes': 1048576, 'allow_private': True, "
                "'expires_at': 1893456000, 'rate': {'count': 10, 'seconds': 60}}"
            )
        ],
        [],
    ),
    (
        (
            "capabilities: {network: [{hosts: [a.org], operations: [https], methods: [GET], tls: intercept,"
            " inject: {header: Authorization, secret: api}}]}"
        ),
        [
            (
                "network.https a.org {'methods': ['GET'], 'tls': 'intercept', "
                "'inject': [{'header': 'Authorization', 'secret': 'api'}]}"
            )
        ],
        [],
    ),
    (
        "capabilities: {file: [{patterns: ['@base/out/**'], operations: [write], live: true, commit: success}]}",
        ["file.write @base/out/** {'live': True, 'commit': 'success'}"],
        [],
    ),
]


@pytest.mark.parametrize(("text", "grants", "denies"), READ)
def test_what_is_read(text: str, grants: list[str], denies: list[str]) -> None:
    found = rules(text)
    assert shown(found.grants) == grants
    assert shown(found.denies) == denies


def needs(text: str) -> list[Grant]:
    """What a manifest with these needs declares."""
    found = Rules("manifest")
    found.needs(load(text.encode(), "m.yaml"))
    return found.grants


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "{network: true, keychain: true, filesystem: true}",
            ["network.http,https,tcp,loopback", "keychain.read", "file.read,write,append,delete"],
        ),
        ("[sh, cmd, database]", ["sh.execute", "cmd.execute", "database.select,insert,update,delete,ddl"]),
        ("{cmd: [git]}", ["cmd.execute git"]),
        ("{cmd: [{git: [status, log]}]}", ["cmd.execute git status:* git log:*"]),
        ("{file: [{patterns: [data/*], operations: [read]}]}", ["file.read data/*"]),
        ("['file.read:data/*']", ["file.read data/*"]),
        ("['file.read']", ["file.read **"]),
        ("{cmd: {git: [status, log], make: '*', npm: []}}", ["cmd.execute git status:* git log:*", "cmd.execute make"]),
        ("{cmd: []}", []),
        ("{sh: false}", []),
    ],
)
def test_a_declaration_takes_the_same_notations_and_booleans_are_some_of_it(text: str, expected: list[str]) -> None:
    assert shown(needs(text)) == expected


@pytest.mark.parametrize("text", ["['!sh']", "{teleport: true}", "true", "{network: maybe}"])
def test_a_wrong_declaration_is_refused(text: str) -> None:
    with pytest.raises(DocumentError):
        needs(text)


@pytest.mark.parametrize(
    ("need", "grant", "enough"),
    [
        ("{network: true}", "network.https:api.example.com", True),
        ("{filesystem: true}", "file.read:data/*", True),
        ("{cmd: [git]}", "cmd:git", True),
        ("{cmd: [git]}", "cmd:git status", False),
        ("{network: true}", "file.read:data/*", False),
        ("{sh: true}", "cmd:*", False),
        ("{sh: true}", "sh", True),
        ("{cmd: true}", "cmd:git", True),
        ("{keychain: true}", "keychain:service/*", True),
        ("{database: true}", "database.select:postgresql://db/", True),
    ],
)
def test_a_boolean_need_is_within_any_grant_of_its_type(need: str, grant: str, enough: bool) -> None:
    policy = rules(f"capabilities: ['{grant}']")
    permissions = Permissions(policy.grants, policy.denies, Limits(), Scope("/home/u", "/work"))
    assert (not permissions.shortfalls(needs(need))) is enough


def test_a_preset_brings_the_programs_that_it_starts() -> None:
    (grant,) = rules("capabilities: {cmd: ['@git']}").grants
    assert grant.patterns == ("git",)
    assert "ssh" in grant.constraints["uses"]


def test_true_in_a_deny_is_everything() -> None:
    denied = {deny.type for deny in rules("deny: true").denies}
    assert {"file", "path", "network", "cmd", "sh", "keychain", "socket"} <= denied


REFUSED = [
    ("capabilities: {fil: []}", 1, 16, "'fil'", "'file'"),
    ("capabilities: ['fiel.read:/x']", 1, 16, "'fiel'", "'file'"),
    ("capabilities: ['file.raed:/x']", 1, 16, "'raed'", "'read'"),
    ("capabilities: ['file:/x']", 1, 16, "which operation", "file.read:/x"),
    ("capabilities: ['file.read:']", 1, 16, "no pattern", "bare"),
    ("capabilities: [git]", 1, 16, "'git'", ""),
    ("allow: [git]", 1, 9, "'git'", ""),
    ("allow: true", 1, 8, "must be a mapping", ""),
    ("allow: {filesytem: {}}", 1, 9, "'filesytem'", "'filesystem'"),
    ("allow: {filesystem: [/x]}", 1, 22, "must be a mapping", "operations"),
    ("allow: {filesystem: {raed: [/x]}}", 1, 22, "'raed'", "'read'"),
    ("allow: {network: {domain: [x.org]}}", 1, 19, "'domain'", "'domains'"),
    ("deny: ['!sh']", 1, 8, "denied already", "leave out"),
    ("deny: {sh: false}", 1, 12, "both ways", ""),
    ("deny: {network: {https: false}}", 1, 25, "both ways", ""),
    ("deny: {file: [{patterns: [/x], operations: [read], max_file_size: 1}]}", 1, 67, "no max_file_size", ""),
    ("capabilities: {file: [{pattern: [/x], operations: [read]}]}", 1, 24, "'pattern'", "'patterns'"),
    ("capabilities: {file: [{patterns: [/x], operations: [reed]}]}", 1, 53, "'reed'", "'read'"),
    ("capabilities: {file: [{patterns: [/x]}]}", 1, 23, "no operations", "add"),
    ("capabilities: {file: [{operations: [read]}]}", 1, 23, "no patterns", "add"),
    ("capabilities: {file: [{patterns: [/a/x**], operations: [read]}]}", 1, 35, "**", ""),
    ("capabilities: {file: [{patterns: [], operations: [read], max_file_size: 10 Megs}]}", 1, 73, "10 Megs", "10MiB"),
    ("capabilities: {file: [{patterns: [], operations: [read], max_file_size: -1}]}", 1, 73, "size", ""),
    ("capabilities: {file: [{patterns: [/x], operations: [write], live: true}]}", 1, 35, "whole directory", ""),
    ("capabilities: {file: [{patterns: ['/x/*/**'], operations: [write], live: true}]}", 1, 35, "whole directory", ""),
    ("capabilities: {file: [{patterns: [/x/**], operations: [write], live: 1}]}", 1, 70, "true or false", ""),
    ("capabilities: {file: [{patterns: [42], operations: [read]}]}", 1, 35, "must be text", "quotes"),
    ("capabilities: {file: [/x]}", 1, 23, "must be a mapping", "patterns"),
    ("capabilities: {network: [{patterns: [x.org], operations: [https]}]}", 1, 27, "'patterns'", ""),
    ("capabilities: {network: [{hosts: ['https://x.org'], operations: [https]}]}", 1, 35, "scheme", ""),
    ("capabilities: {network: [{hosts: [x.org], operations: [tcp]}]}", 1, 35, "no port", "5432"),
    ("capabilities: ['network.tcp']", 1, 16, "no port", ""),
    ("capabilities: {network: [{hosts: [x.org], operations: [https], ports: [0]}]}", 1, 72, "between 1 and 65535", ""),
    ("capabilities: {network: [{hosts: [x.org], operations: [https], ports: [9-1]}]}", 1, 72, "backwards", ""),
    ("capabilities: {network: [{hosts: [x.org], operations: [https], methods: [get]}]}", 1, 74, "'get'", "'GET'"),
    ("capabilities: {network: [{hosts: [x.org/v1/*], operations: [https], tls: tunnel}]}", 1, 35, "tunnel", "intercept"),
    ("capabilities: {network: [{hosts: [x.org], operations: [https], tls: tunel}]}", 1, 69, "'tunel'", "'tunnel'"),
    ("capabilities: {network: [{hosts: [x.org], operations: [https], rate: 10 per s}]}", 1, 70, "rate", "10/s"),
    (
        "capabilities: {network: [{hosts: [x.org], operations: [https], inject: {header: Host, secret: a}}]}",
        1, 81, "cannot be injected", "",
    ),
    (
        "capabilities: {network: [{hosts: [x.org], operations: [http, https], inject: {header: A, secret: a}}]}",
        1, 35, "https alone", "http",
    ),
    (
        "capabilities: {network: [{hosts: [x.org], operations: [https], inject: [{header: A, secret: a, format: x}]}]}",
        1, 104, "{} once", "Bearer",
    ),
    (
        "capabilities: {network: [{hosts: [x.org], operations: [https], allow_private: [10.0.0.0/33]}]}",
        1, 80, "not a network", "CIDR",
    ),
    ("capabilities: {cmd: [{patterns: [a], expires_at: soon}]}", 1, 50, "moment", "2026"),
    ("capabilities: {cmd: [{patterns: [a], expires_at: '2030-01-01T00:00:00'}]}", 1, 50, "time zone", "Z"),
    ("capabilities: {cmd: [{git: '*', npm: '*'}]}", 1, 22, "one program", ""),
    ("capabilities: {cmd: ['@gti']}", 1, 22, "'@gti'", "'@git'"),
    ("capabilities: {cmd: [':*']}", 1, 22, "no program", ""),
    ("capabilities: {database: true}", 1, 26, "which", "connections"),
    ("capabilities: {database: [{connections: ['postgresql://u:p@db/x'], operations: [select]}]}", 1, 42, "password", ""),
    ("capabilities: {env: [{patterns: [LANG], max_use: 1}]}", 1, 41, "'max_use'", "'max_uses'"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line", "column", "message", "hint"), REFUSED)
def test_a_wrong_rule_is_an_error_at_its_place(text: str, line: int, column: int, message: str, hint: str) -> None:
    with pytest.raises(DocumentError) as caught:
        rules(text)
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert caught.value.place == f"p.yaml:{line}:{column}"


NAMES = st.text("abcdefghijkl0123456789_-.", min_size=1, max_size=6).filter(lambda name: name not in {".", ".."})
GLOBS = st.one_of(st.just("**"), NAMES, NAMES.map(lambda name: f"{name}*"), st.just("*.csv"), st.just("[a-c]?"))
PATTERNS = st.builds(
    lambda root, parts: root + "/".join(parts),
    st.sampled_from(["/", "~/", "@base/", ""]),
    st.lists(GLOBS, min_size=1, max_size=4),
)
OPERATIONS = st.sampled_from(["read", "write", "append", "delete"])


@given(st.lists(st.tuples(OPERATIONS, PATTERNS), min_size=1, max_size=4), st.booleans())
@settings(max_examples=150, deadline=None)
def test_a_rule_is_the_same_in_any_notation(wanted: list[tuple[str, str]], deny: bool) -> None:
    """Law: notation is spelling. Each rule apart, so that the three have the same grouping."""
    for operation, pattern in wanted:
        forms = (
            {"deny" if deny else "capabilities": {"file": [{"patterns": [pattern], "operations": [operation]}]}},
            {"capabilities": [f"{'!' if deny else ''}file.{operation}:{pattern}"]},
            {"deny" if deny else "allow": {"filesystem": {operation: [pattern]}}},
        )
        found = []
        for form in forms:
            read = rules(json.dumps(form))
            found.append(([str(grant) for grant in read.grants], [str(grant) for grant in read.denies]))
        expected = [f"file.{operation} {pattern}"]
        assert found == [([], expected) if deny else (expected, [])] * 3
