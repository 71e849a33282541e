"""Network, environment, secrets, devices and sockets in a profile."""

from __future__ import annotations

from typing import Any

import pytest

from launcher.errors import RefusedError
from tests.compile.hosts import compiled, policy


def data(body: str, **options: Any) -> dict[str, Any]:
    return compiled(policy(body), **options).data


@pytest.mark.parametrize(
    ("body", "handle", "up"),
    [
        ("", "default", True),
        ("deny: ['network.loopback']", "default", False),
        ("deny: [network]", "default", False),
        ("", "ci-untrusted", False),
        ("", "parser", False),
        ("capabilities: ['network.loopback']", "parser", True),
        ("capabilities: ['network.loopback']\ndeny: ['network.loopback']", "default", False),
    ],
)
def test_loopback(body: str, handle: str, up: bool) -> None:
    assert data(body, handle=handle, declared=())["network"]["loopback"] is up


def test_egress_carries_what_the_proxy_judges_with() -> None:
    body = """
capabilities:
  network: [{hosts: [a.example.com], operations: [https, loopback], methods: [GET], max_bytes: 1MiB}]
  database: [{connections: ["postgresql://db.example.com/x"], operations: [select], max_rows: 5}]
deny: ["network.https:b.example.com"]
"""
    network = data(body)["network"]
    assert [(rule["type"], rule["operations"], rule["patterns"]) for rule in network["egress"]] == [
        ("network", ["https"], ["a.example.com"]),
        ("database", ["select"], ["postgresql://db.example.com/x"]),
    ]
    assert network["egress"][0]["constraints"]["methods"] == ["GET"]
    assert network["denied"][0]["patterns"] == ["b.example.com"]


def test_the_environment_holds_names_and_no_values() -> None:
    environment = data("capabilities: {env: [API_TOKEN, 'CI_*']}\ndeny: ['env.read:CI_SECRET']")["environment"]
    assert environment["pass"][-2:] == ["API_TOKEN", "CI_*"]
    assert environment["denied"] == ["CI_SECRET"]
    assert set(environment["set"]) == {"HOME", "USER", "LOGNAME", "PATH", "TMPDIR"}


@pytest.mark.parametrize("name", ["LANG", "LC_ALL", "CI_X"])
def test_a_name_that_passes_may_be_set_on_the_command_line(name: str) -> None:
    assert data("capabilities: {env: ['CI_*']}", environment=(name,))


@pytest.mark.parametrize("name", ["LD_PRELOAD", "AWS_SECRET", "CI_SECRET", ""])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(RefusedError, match="not granted"):
        data("capabilities: {env: ['CI_*']}\ndeny: ['env.read:CI_SECRET']", environment=(name,))


def test_secrets_devices_and_sockets_are_listed_by_pattern() -> None:
    body = "capabilities: ['keychain.read:alice/*', 'device.use:/dev/dri/**', 'socket.connect:~/.agent']"
    found = data(body)
    assert [rule["pattern"] for rule in found["keychain"]] == ["alice/*"]
    assert [rule["pattern"] for rule in found["devices"]] == ["/dev/dri/**"]
    assert [rule["pattern"] for rule in found["sockets"]] == ["/home/alice/.agent"]


@pytest.mark.parametrize(("deny", "left"), [("socket", 0), ("socket.connect:/**", 0), ("socket.connect:/run/b", 1)])
def test_a_deny_of_the_whole_type_leaves_nothing(deny: str, left: int) -> None:
    found = data(f"capabilities: ['socket.connect:/run/*']\ndeny: ['{deny}']")
    assert len(found["sockets"]) == left
