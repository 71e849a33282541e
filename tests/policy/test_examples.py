"""The seeds' configurations as policies: what their own texts say is allowed is, and the rest is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher.capability.scope import Scope
from launcher.policy.merge import merge
from launcher.policy.policy_document import handle_of, read_policy

EXAMPLES = Path(__file__).parents[2] / "examples" / "policies"
SCOPE = Scope("/home/user", "/work")

# handle: (type, operation, resource, context) -> allowed
VERDICTS: dict[str, list[tuple[str, str, object, bool]]] = {
    "data_scientist": [
        ("file", "read", "/work/data/sales.csv", True),
        ("file", "write", "/work/output/report.txt", True),
        ("file", "write", "/work/secret/passwords.txt", False),
        ("file", "read", "/work/data/deep/sales.csv", False),
        ("file", "delete", "/work/data/sales.csv", False),
        ("network", "https", "api.internal.company.com", True),
        ("network", "http", "api.internal.company.com", False),
        ("database", "select", "postgresql://analytics-db/sales", True),
        ("database", "delete", "postgresql://analytics-db/sales", False),
    ],
    "data_processing": [
        ("file", "read", "/input/a.csv", True),
        ("file", "read", "/input/deep/a.csv", False),
        ("file", "write", "/output/a.csv", True),
        ("file", "read", "/output/a.csv", False),
        ("path", "read", "/input", True),
        ("path", "write", "/output/sub", True),
        ("network", "https", "example.com", False),
    ],
    "web_scraper": [
        ("network", "https", "api.github.com", True),
        ("network", "https", "github.com", False),
        ("network", "https", "api.github.com.evil.example", False),
        ("file", "append", "/logs/a.log", True),
        ("file", "write", "/logs/a.log", False),
    ],
    "log_analyzer": [
        ("file", "read", "/var/log/syslog.log", True),
        ("file", "read", "/var/log/nginx/access.log", True),
        ("file", "read", "/var/log/auth", False),
        ("path", "read", "/var/log/nginx", True),
        ("file", "write", "/reports/r.html", True),
    ],
    "api_integration": [
        ("network", "https", "example.com", True),
        ("network", "https", "a.b.example.com", True),
        ("network", "https", "notexample.com", False),
        ("network", "https", "api.stripe.com", True),
        ("file", "write", "/tmp/cache/x", True),
        ("file", "write", "/tmp/x", False),
    ],
    "backup": [
        ("file", "read", "/home/user/a/b/c", True),
        ("file", "write", "/backup/a/b/c", True),
        ("file", "delete", "/backup/old/a", True),
        ("file", "delete", "/backup/a", False),
    ],
    "agent_tools": [
        ("cmd", "execute", ["/usr/bin/git", "status"], True),
        ("cmd", "execute", ["/usr/bin/npm", "install", "x"], True),
        ("cmd", "execute", ["/usr/bin/npm", "run", "test"], True),
        ("cmd", "execute", ["/usr/bin/npm", "run", "test:unit"], False),
        ("cmd", "execute", ["/usr/bin/curl", "x"], False),
        ("sh", "execute", ["/bin/sh", "-c", "x"], False),
        ("py", "execute", ["/usr/bin/python3", "x.py"], False),
        ("js", "execute", ["/usr/bin/node", "x.js"], True),
        ("network", "https", "api.github.com", True),
        ("network", "https", "api.anthropic.com", True),
        ("file", "read", "/work/src/a", True),
        ("file", "write", "/work/tmp/a", True),
        ("file", "write", "/work/src/a", False),
    ],
}


def test_every_example_is_judged() -> None:
    assert sorted(VERDICTS) == sorted(handle_of(path.name) for path in EXAMPLES.iterdir())


@pytest.mark.parametrize("handle", VERDICTS)
def test_an_example_means_what_its_text_says(handle: str) -> None:
    policy = read_policy((EXAMPLES / f"{handle}.yaml").read_bytes(), f"{handle}.yaml", handle)
    may = merge([policy], SCOPE).permissions
    for kind, operation, resource, allowed in VERDICTS[handle]:
        decision = may.decide(kind, operation, resource)  # type: ignore[arg-type]
        assert decision.allowed is allowed, (kind, operation, resource, decision.reason)
