"""The configuration: every key, and the place of every wrong one."""

from __future__ import annotations

import pytest

from launcher.errors import DocumentError
from launcher.policy.config import Config
from launcher.policy.config_document import KEYS, read_config

PEM = "-----BEGIN PUBLIC KEY-----\\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\\n-----END PUBLIC KEY-----"

WHOLE = f"""\
operators: launchers
id_range: {{first: 1900000000, count: 65536}}
jwt: {{algorithm: EdDSA, key: "{PEM}", issuer: "https://login.example.com", audience: mlsandbox}}
audit: {{path: /var/log/a.jsonl, on_failure: continue}}
keychain: {{deploy/github: {{file: /etc/k/github}}, db: {{command: [/usr/bin/pass, db]}}}}
limits: {{max_memory: 8GiB}}
disabled_users: [mallory]
egress:
  secrets:
    github: {{file: /etc/mlsandbox/secrets/github}}
    store: {{command: [/usr/bin/pass, show, store]}}
    ring: {{keyring: [mlsandbox, way-out]}}
  upstream_proxy: {{url: "http://proxy.example.com:8080/", secret: ring}}
  no_proxy: [.internal.example.com, "*.corp.example.com", 10.1.2.3]
  trust: /etc/mlsandbox/company.pem
  limits: {{connections: 100, idle_time: 10m, max_bytes: 1GiB, max_upload: 10MiB, max_response: 5MB, request_rate: 600/m}}
queue:
  max_jobs: 8
  keep: 7d
  job: {{max_memory: 1GiB}}
  tenant: {{weight: 2, cpus: 1.5}}
  tenants: {{alice: {{max_queued: 10}}}}
"""


def test_every_key_arrives() -> None:
    config = read_config(WHOLE.encode(), "c.yaml")
    assert config.operators == "launchers"
    assert config.id_range == (1_900_000_000, 65_536)
    assert config.jwt is not None
    assert (config.jwt.algorithm, config.jwt.issuer, config.jwt.audience) == (
        "EdDSA",
        "https://login.example.com",
        "mlsandbox",
    )
    assert config.audit == {"path": "/var/log/a.jsonl", "on_failure": "continue"}
    assert config.limits.to_data() == {"max_memory": 8 << 30}
    assert config.disabled_users == ("mallory",)
    assert config.egress == {
        "secrets": {
            "github": {"file": "/etc/mlsandbox/secrets/github"},
            "store": {"command": ["/usr/bin/pass", "show", "store"]},
            "ring": {"keyring": ["mlsandbox", "way-out"]},
        },
        "upstream_proxy": {"host": "proxy.example.com", "port": 8080, "secret": "ring"},
        "no_proxy": ["internal.example.com", "corp.example.com", "10.1.2.3"],
        "trust": "/etc/mlsandbox/company.pem",
        "limits": {
            "connections": 100, "idle_time": 600, "job_bytes": 1 << 30, "job_upload": 10 << 20,
            "response_bytes": 5_000_000, "request_rate": 10.0,
        },
    }  # fmt: skip
    assert config.queue == {
        "max_jobs": 8, "keep": 7 * 86_400, "job": {"max_memory": 1 << 30}, "tenant": {"weight": 2, "cpus": 1500},
        "tenants": {"alice": {"max_queued": 10}},
    }  # fmt: skip
    assert all(key in WHOLE for key in KEYS)
    assert Config.from_data(config.to_data()).to_data() == config.to_data()


def test_comments_alone_are_the_defaults() -> None:
    config = read_config(b"# nothing\n\n   # yet\n", "c.yaml")
    assert (config.operators, config.id_range, config.jwt) == ("mlsandbox", None, None)


REFUSED = [
    ("queue: {max_job: 8}", 1, 9, "'max_job'", "'max_jobs'"),
    ("queue: {max_jobs: 0}", 1, 19, "out of range", ""),
    ("queue: {keep: [1]}", 1, 15, "number", ""),
    ("queue: {tenants: {alice: {weigth: 2}}}", 1, 27, "'weigth'", "'weight'"),
    ("queue: {job: {max_memory: 1M}}", 1, 27, "'1M'", ""),
    ("operator: x", 1, 1, "'operator'", "'operators'"),
    ("id_range: {first: 1000}", 1, 11, "no count", ""),
    ("id_range: {first: 0, count: 5}", 1, 19, "between", ""),
    ("id_range: {first: 60000, count: 65536}", 1, 19, "nobody", ""),
    ("id_range: {first: 2147483000, count: 65536}", 1, 38, "above", ""),
    ("jwt: {key_file: /k}", 1, 6, "no algorithm", ""),
    ("jwt: {algorithm: none, key_file: /k}", 1, 18, "'none'", ""),
    ("jwt: {algorithm: RS265, key_file: /k}", 1, 18, "'RS265'", "'RS256'"),
    ("jwt: {algorithm: HS256}", 1, 6, "either", ""),
    (f'jwt: {{algorithm: EdDSA, key: "{PEM}", key_file: /k}}', 1, 6, "either", ""),
    ("jwt: {algorithm: HS256, key: secret}", 1, 30, "secret", "key_file"),
    ("jwt: {algorithm: RS256, key: hello}", 1, 30, "PEM", ""),
    ('jwt: {algorithm: RS256, key: "-----BEGIN PRIVATE KEY-----\\nAAAA"}', 1, 30, "private", "public"),
    ("jwt: {algorithm: RS256, key_file: k.pem}", 1, 35, "absolute", ""),
    ("audit: {path: log}", 1, 15, "absolute", ""),
    ("audit: {on_failure: ignore}", 1, 21, "'ignore'", ""),
    ("limits: {max_memory: lots}", 1, 22, "lots", ""),
    ("- a", 1, 1, "must be a mapping", ""),
    ("egress: {secret: {}}", 1, 10, "'secret'", "'secrets'"),
    ("egress: {secrets: {a: hunter2}}", 1, 23, "must say where it is", "file"),
    ("egress: {secrets: {a: {file: s}}}", 1, 30, "absolute", ""),
    ("egress: {secrets: {a: {file: /s, command: [/x]}}}", 1, 23, "needs one source", "file command keyring"),
    ("egress: {secrets: {a: {command: [pass]}}}", 1, 33, "absolute", "/usr/bin/pass"),
    ("egress: {secrets: {a: {keyring: [x]}}}", 1, 33, "service and a user", ""),
    ("egress: {secrets: {a-b: {file: /s}, a_b: {file: /s}}}", 1, 37, "the same variable in a job: A_B", ""),
    ("egress: {secrets: {1: {file: /s}}}", 1, 20, "no name for a secret", ""),
    ("egress: {upstream_proxy: proxy:3128}", 1, 26, "over http", "http://"),
    ('egress: {upstream_proxy: "https://proxy"}', 1, 26, "over http", "http://"),
    ('egress: {upstream_proxy: "http://u:p@proxy"}', 1, 26, "password", "secret"),
    ('egress: {upstream_proxy: "http://proxy/x"}', 1, 26, "not HOST:PORT", ""),
    ('egress: {upstream_proxy: {url: "http://proxy", secret: s}}', 1, 26, "no secret 's'", ""),
    ('egress: {no_proxy: ["a..b"]}', 1, 21, "empty label", ""),
    ("egress: {trust: ca.pem}", 1, 17, "absolute", ""),
    ("egress: {limits: {idle_tim: 5s}}", 1, 19, "'idle_tim'", "'idle_time'"),
    ("egress: {limits: {idle_time: soon}}", 1, 30, "soon", ""),
    ("egress: {limits: {request_rate: 10}}", 1, 33, "", ""),
]


@pytest.mark.parametrize(("text", "line", "column", "message", "hint"), REFUSED)
def test_a_wrong_key_or_value_is_an_error_at_its_place(
    text: str, line: int, column: int, message: str, hint: str
) -> None:
    with pytest.raises(DocumentError) as caught:
        read_config(text.encode(), "c.yaml")
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert caught.value.place == f"c.yaml:{line}:{column}"


@pytest.mark.parametrize(
    ("entry", "word"),
    [
        ("deploy/*: {file: /k}", "pattern"),
        ("a//b: {file: /k}", "parts"),
        ("a: plain-secret", "where it is"),
        ("a: {file: k}", "absolute"),
        ("a: {file: /k, command: [/x]}", "one source"),
    ],
)
def test_an_entry_of_the_keychain_is_one_name_with_one_source(entry: str, word: str) -> None:
    with pytest.raises(DocumentError, match=word) as caught:
        read_config(f"keychain:\n  {entry}\n".encode(), "config.yaml")
    assert "plain-secret" not in str(caught.value)
