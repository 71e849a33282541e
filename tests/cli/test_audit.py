"""The audit verbs, through `main`, below a root of their own."""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from launcher.audit.event import event
from launcher.audit.files import AuditFiles
from launcher.audit.log import AuditLog
from launcher.cli.main import main

Capture = pytest.CaptureFixture[str]
ROWS: list[dict[str, Any]] = [
    {"time": "2025-10-03T10:30:00.000000Z", "outcome": "ALLOWED", "operation": "read", "resource": "data/sales.csv"},
    {"time": "2025-10-03T10:30:01.000000Z", "outcome": "ALLOWED", "capability": "network", "operation": "network.get",
     "resource": "api.internal.company.com"},
    {"time": "2025-10-03T10:30:02.000000Z", "outcome": "DENIED", "operation": "write", "resource": "secret/passwords.txt"},
]  # fmt: skip


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MLSANDBOX_ROOT", str(tmp_path))
    monkeypatch.setenv("TZ", "UTC")
    log = AuditLog.at(AuditFiles(f"{tmp_path}/log/audit.jsonl", f"{tmp_path}/state/audit.head"))
    for row in ROWS:
        log.append([{**event("access", "runtime", user="alice", job="j1", capability="file"), **row}])
    log.append([event("launch", "policy", "ALLOWED", user="bob\x1b[2J", resource="a\nb")])
    log.close()
    return tmp_path


@pytest.fixture
def key(tmp_path: Path) -> str:
    path = tmp_path / "key.pem"
    path.write_bytes(
        Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    path.chmod(0o600)
    return str(path)


def test_show_prints_the_lines_of_the_seed(root: Path, capsys: Capture) -> None:
    assert main(["audit", "show", "--user", "alice", "--since", "2025-10-01"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "[2025-10-03 10:30:00] alice ALLOWED file.read data/sales.csv",
        "[2025-10-03 10:30:01] alice ALLOWED network.get api.internal.company.com",
        "[2025-10-03 10:30:02] alice DENIED file.write secret/passwords.txt",
    ]


@pytest.mark.parametrize(
    ("words", "count"),
    [([], 4), (["--outcome", "denied"], 1), (["-c", "network"], 1), (["-n", "2"], 2), (["--until", "2025-10-01"], 0),
     (["--since", "1h"], 1), (["-j", "j1", "--outcome=ALLOWED"], 2), (["--user", "carol"], 0)],
)  # fmt: skip
def test_filters(root: Path, capsys: Capture, words: list[str], count: int) -> None:
    assert main(["audit", "show", *words]) == 0
    assert len(capsys.readouterr().out.splitlines()) == count


def test_what_comes_from_outside_is_escaped(root: Path, capsys: Capture) -> None:
    main(["audit", "show", "-n", "1"])
    assert capsys.readouterr().out.endswith("bob\\x1b[2J ALLOWED launch a\\nb\n")


def test_json_is_the_event(root: Path, capsys: Capture) -> None:
    main(["audit", "show", "--json"])
    with open(f"{root}/log/audit.jsonl", "rb") as stream:
        assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [
            json.loads(row) for row in stream
        ]


def test_damaged_lines_are_warned_about(root: Path, capsys: Capture) -> None:
    with open(f"{root}/log/audit.jsonl", "ab") as stream:
        stream.write(b"x\n")
    assert main(["audit", "show"]) == 0
    assert "1 lines are no audit events, the first at" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["0", "-1", "x", "1.5", "٣", "9" * 30])
def test_numbers(root: Path, capsys: Capture, value: str) -> None:
    assert main(["audit", "show", "--last", value]) == 2
    assert "--last: not a number from 1" in capsys.readouterr().err


def test_verify_says_so_and_mirrors_the_head(root: Path, capsys: Capture) -> None:
    assert main(["audit", "verify"]) == 0
    assert f"verified: {root}/log/audit.jsonl: 4 events, sequence 1 to 4" in capsys.readouterr().out
    with sqlite3.connect(f"{root}/state/state.db") as connection:
        assert connection.execute("SELECT log, seq FROM audit_head").fetchall() == [(f"{root}/log/audit.jsonl", 4)]
    connection.close()
    assert os.stat(f"{root}/state/state.db").st_mode & 0o777 == 0o600


def test_tampering_is_exit_status_1(root: Path, capsys: Capture) -> None:
    with open(f"{root}/log/audit.jsonl", "r+b") as stream:
        data = stream.read().replace(b"alice", b"mally", 1)
        stream.seek(0)
        stream.write(data)
    assert main(["audit", "verify", "--json"]) == 1
    data_out = json.loads(capsys.readouterr().out)
    assert data_out["ok"] is False
    assert data_out["problems"][0].startswith(f"{root}/log/audit.jsonl:2: does not follow")
    assert main(["audit", "verify"]) == 1
    assert "NOT VERIFIED" in capsys.readouterr().out
    assert not os.path.exists(f"{root}/state/state.db")


def test_log_and_head_put_back_are_found_by_the_database(root: Path, capsys: Capture) -> None:
    paths = [f"{root}/log/audit.jsonl", f"{root}/state/audit.head"]
    copies = [Path(path).read_bytes() for path in paths]
    AuditLog.at(AuditFiles(*paths)).append([event("launch", "policy")])
    assert main(["audit", "verify"]) == 0
    for path, data in zip(paths, copies, strict=True):
        with open(path, "wb") as stream:
            stream.write(data)
    assert main(["audit", "verify"]) == 1
    assert "sequence 5 is missing, which the state database names" in capsys.readouterr().out


def test_checkpoint_and_verify_against_a_copy(root: Path, capsys: Capture, key: str) -> None:
    assert main(["audit", "checkpoint", "--key", key]) == 0
    copy = root / "copy"
    copy.write_text(capsys.readouterr().out)
    assert main(["audit", "verify", "--public-key", key, "--against", str(copy)]) == 0
    assert "2 checkpoints" in capsys.readouterr().out
    assert main(["audit", "checkpoint"]) == 2
    assert "openssl genpkey" in capsys.readouterr().err
    assert main(["audit", "verify", "--public-key", str(copy)]) == 125
    assert "public key cannot be read" in capsys.readouterr().err


def test_rotate(root: Path, capsys: Capture) -> None:
    assert main(["audit", "rotate", "--at-least", "1000000"]) == 0
    assert "too small" in capsys.readouterr().out
    assert main(["audit", "rotate", "--keep", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["closed"] == f"{root}/log/audit.jsonl.1"
    assert main(["audit", "rotate", "--keep", "0"]) == 2
    assert main(["audit", "verify"]) == 0


def test_a_broken_configuration_is_an_error_with_its_place(root: Path, capsys: Capture) -> None:
    (root / "config.yaml").write_text("audit:\n  pth: /x\n")
    assert main(["audit", "verify"]) == 125
    printed = capsys.readouterr().err
    assert f"{root}/config.yaml:2:" in printed
    assert "path" in printed


def test_a_moved_log_is_read_where_the_configuration_says(root: Path, capsys: Capture) -> None:
    (root / "config.yaml").write_text(f"audit:\n  path: {root}/elsewhere.jsonl\n")
    assert main(["audit", "show"]) == 0
    assert capsys.readouterr().out == ""
