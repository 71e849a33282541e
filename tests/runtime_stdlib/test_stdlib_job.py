"""`env`, `keychain`, `args` and `log`: what the job was given, by name, and what it writes."""

from __future__ import annotations

import json
import os
import re

import pytest

from launcher.runtime.errors import CapabilityError
from launcher.runtime.job import Job
from launcher.runtime.scratch import original_names
from tests.runtime_stdlib.conftest import Workbench


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLX_OPEN", "open")
    monkeypatch.setenv("MLX_SECRET", "hidden")
    monkeypatch.setenv("MLX_NUMBER", "12x")


def test_variables_are_granted_by_name(bench: Workbench) -> None:
    bench.hold("env.read MLX_O*")
    assert bench.call("env.get", "MLX_OPEN") == "open"
    for function in ("get", "require", "has", "get_int", "get_bool", "get_float"):
        with pytest.raises(CapabilityError):
            bench.call(f"env.{function}", "MLX_SECRET")
    shown = bench.call("env.all")
    assert shown["MLX_OPEN"] == "open"
    assert "MLX_SECRET" not in shown


def test_what_the_program_sets_is_its_own(bench: Workbench) -> None:
    bench.hold()
    bench.call("env.set", "MLX_MINE", 5)
    assert bench.call("env.get", "MLX_MINE") == "5"
    assert bench.call("env.all") == {"MLX_MINE": "5"}
    bench.call("env.delete", "MLX_MINE")
    with pytest.raises(CapabilityError):
        bench.call("env.get", "MLX_MINE")
    assert "MLX_MINE" not in os.environ


def test_a_bad_number_is_the_default(bench: Workbench) -> None:
    bench.hold("env.read *")
    assert bench.call("env.get_int", "MLX_NUMBER", 7) == 7
    assert bench.call("env.get_float", "MLX_NUMBER") == 0.0


@pytest.mark.parametrize("name", [5, None])
def test_names_are_text(bench: Workbench, name: object) -> None:
    bench.hold("env.read *")
    for function in ("get", "delete"):
        with pytest.raises(TypeError):
            bench.call(f"env.{function}", name)


def test_secrets_are_granted_by_name(bench: Workbench) -> None:
    secrets = {"github/token": "t0ken", "aws/key": "k3y"}
    bench.hold("keychain.read github/*", secrets=secrets)
    assert bench.call("keychain.get", "github/token") == "t0ken"
    assert bench.call("keychain.list") == ["github/token"]
    assert bench.call("keychain.has", "github/token") is True
    assert bench.call("keychain.has", "aws/key") is False
    with pytest.raises(CapabilityError):
        bench.call("keychain.get", "aws/key")
    with pytest.raises(KeyError):
        bench.call("keychain.get", "github/other")
    told = str(bench.claims())
    assert "t0ken" not in told
    assert "aws/key" in told
    assert "t0ken" not in repr(Job("n", secrets=secrets))


def test_job_from_the_context_json() -> None:
    job = Job.from_data({"name": "j.ml", "args": ["a"], "staged": ["/s"], "keychain": {"k": "v"}, "packages": ["/p"]})
    assert (job.name, job.arguments, job.staged, job.secret("k"), job.packages) == (
        "j.ml",
        ("a",),
        ("/s",),
        "v",
        ("/p",),
    )
    assert Job.from_data({}).secret("k") is None
    assert Job.from_data({"loopback": True}).loopback is True
    assert Job.from_data({"loopback": "yes"}).loopback is False


def test_log_text(bench: Workbench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.hold("file.append logs/*")
    bench.call("log.add_file", "logs/a.log")
    bench.call("log.info", "hello", {"a": 1, "b": "x"})
    bench.call("log.warn", "careful")
    bench.call("log.debug", "hidden")
    out = capsys.readouterr().out
    stamp = r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\] "
    assert re.fullmatch(f"{stamp}INFO: hello \\| a=1, b=x\n{stamp}WARNING: careful\n", out)
    with open(bench.path("logs/a.log")) as stream:
        assert stream.read() == out


def test_log_levels_and_json(bench: Workbench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.hold()
    logger = bench.call("log.create_logger", "app")
    logger.set_level("warn")
    logger.set_format("json")
    for level in ("debug", "info", "warn", "error", "critical"):
        getattr(logger, level)(level, {"n": 1})
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["level"] for line in lines] == ["WARNING", "ERROR", "CRITICAL"]
    assert list(lines[0]) == ["message", "level", "logger", "timestamp", "data"]


def test_a_log_file_must_be_granted(bench: Workbench) -> None:
    bench.hold()
    with pytest.raises(CapabilityError):
        bench.call("log.create_logger", "x").add_file("logs/a.log")


ORIGINALS = [
    ("report.txt", []), ("report.txt.tmp", ["report.txt"]), (".report.txt.TMP", [".report.txt", "report.txt"]),
    ("report.txt~", ["report.txt"]), (".report.txt.Ab3dE9", [".report.txt", "report.txt"]), ("a.abcdef", []),
    ("#a#", ["a"]), (".#a", ["a"]), ("~", []), (".tmp", []), ("", []), ("a.tmp", ["a"]), ("archive.tar.gz", []),
]  # fmt: skip


@pytest.mark.parametrize(("name", "originals"), ORIGINALS)
def test_temporary_names(name: str, originals: list[str]) -> None:
    assert original_names(name) == originals
