from __future__ import annotations

import json
from typing import Any

import pytest

from launcher.audit.event import GENESIS, event, sealed
from launcher.audit.redact import REDACTED, is_secret_key, redacted, redacted_text

CANARY = "c4n4ry-9f8e7d6c"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl"

HOLDING: list[Any] = [
    f"--token={CANARY}",
    f"API_KEY={CANARY}",
    f"Authorization: Bearer {CANARY}",
    f"X-Api-Key: {CANARY}",
    f"https://alice:{CANARY}@host.example/path",
    f"postgres://alice:{CANARY}@db/x?sslmode=require",
    f"https://host.example/x?a=1&access_token={CANARY}&b=2",
    f"https://{CANARY}@host.example",
    f"ghp_{CANARY}",
    f"sent with Bearer {CANARY} twice",
    ["curl", "--password", CANARY, "https://host.example"],
    ["curl", "-H", f"Authorization: Basic {CANARY}"],
    {"env": {"HOME": CANARY, "ANYTHING": CANARY}},
    {"a": [{"b": {"client_secret": CANARY}}]},
    {"headers": {"x": CANARY}},
    {"session_id": CANARY},
]

KEPT: list[Any] = [
    "secret/passwords.txt",
    "data/sales.csv",
    "--output=report.txt",
    "token.example.com:443",
    "auth:8443",
    "https://host.example/token?page=2",
    "git status",
    {"token_expires": 1759487402, "password_file": "/etc/x"},
    ["pytest", "-k", "password"],
]


@pytest.mark.parametrize("value", HOLDING, ids=str)
def test_what_may_hold_a_secret_is_replaced(value: Any) -> None:
    result = json.dumps(redacted(value))
    assert CANARY not in result
    assert REDACTED in result


@pytest.mark.parametrize("value", KEPT, ids=str)
def test_what_holds_none_stays(value: Any) -> None:
    assert redacted(value) == value


def test_a_jwt_is_known_by_its_shape() -> None:
    assert redacted_text(JWT) == REDACTED
    assert JWT not in str(redacted(["login", JWT]))


def test_a_redacted_address_still_names_the_host() -> None:
    assert redacted_text("https://u:p@host.example:8443/x?q=1") == f"https://{REDACTED}@host.example:8443/x?q=1"


def test_the_name_of_a_file_is_not_a_secret() -> None:
    made = event("access", "runtime", "DENIED", capability="file", operation="read", resource="password=hunter2.txt")
    assert json.loads(sealed(made, 1, GENESIS))["resource"] == "password=hunter2.txt"


@pytest.mark.parametrize("capability", ["network", "database", "cmd", ""])
def test_the_resource_of_other_capabilities_is_searched(capability: str) -> None:
    made = event("access", "egress", "DENIED", capability=capability, resource=f"https://u:{CANARY}@host/x")
    assert CANARY not in sealed(made, 1, GENESIS).decode()


@pytest.mark.parametrize(("key", "secret"), [("GITHUB_TOKEN", True), ("api-key", True), ("sessionid", True),
                                             ("pwd", True), ("key_file", False), ("monkey", False)])  # fmt: skip
def test_keys(key: str, secret: bool) -> None:
    assert is_secret_key(key) is secret
