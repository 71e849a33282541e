"""`process`: what is judged is what is started; no text is ever a command line; output and time are bounded."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import pytest

from launcher.runtime.errors import CapabilityError
from launcher.runtime.stdlib import _child
from tests.runtime_stdlib.conftest import Workbench

VERDICTS = [
    ("cmd.execute echo", ["echo", "a"], True),
    ("cmd.execute echo", ["/bin/echo", "a"], True),
    ("cmd.execute /usr/bin/echo", ["echo", "a"], True),
    ("cmd.execute echo", ["cat"], False),
    ("cmd.execute echo", ["env", "echo"], False),
    ("cmd.execute cat", ["sh", "-c", "cat"], False),
    ("cmd.execute *", ["sh", "-c", "echo"], False),
    ("cmd.execute *", ["bash", "-c", "echo"], False),
    ("cmd.execute *", ["true"], True),
    ("sh.execute", ["true"], False),
]


@pytest.mark.parametrize(("grant", "words", "allowed"), VERDICTS)
def test_verdicts(bench: Workbench, grant: str, words: list[str], allowed: bool) -> None:
    bench.hold(grant)
    try:
        bench.call("process.run", words, {"timeout": 10})
        ran = True
    except CapabilityError:
        ran = False
    assert ran is allowed


def test_arguments_are_judged(bench: Workbench) -> None:
    echo_a = bench.grant("cmd.execute")
    echo_a.patterns = (("echo", "a"),)
    bench.hold(echo_a)
    assert bench.call("process.output", ["echo", "a"]) == "a\n"
    for words in (["echo", "b"], ["echo"], ["echo", "a", "b"], ["echo", "a b"]):
        with pytest.raises(CapabilityError):
            bench.call("process.run", words)


def test_a_denied_program_is_denied_behind_a_wrapper(bench: Workbench) -> None:
    bench.hold("cmd.execute *", denies=("cmd.execute cat",))
    for words in (["cat"], ["/usr/bin/cat"], ["env", "cat"], ["nice", "-n", "5", "cat"], ["timeout", "5", "cat"]):
        with pytest.raises(CapabilityError):
            bench.call("process.run", words)


def test_no_text_is_taken_apart(bench: Workbench) -> None:
    bench.hold("cmd.execute echo")
    assert bench.call("process.output", ["echo", "$HOME;ls|cat", "`id`", "a\nb"]) == "$HOME;ls|cat `id` a\nb\n"
    with pytest.raises(CapabilityError):
        bench.call("process.run", "echo a")


def test_the_shell_is_its_own_capability(bench: Workbench) -> None:
    bench.hold("cmd.execute *")
    with pytest.raises(CapabilityError):
        bench.call("process.sh", "echo a")
    bench.hold("sh.execute")
    assert bench.call("process.sh", "echo a | cat")["stdout"] == "a\n"
    assert bench.claims()[-1]["capability"] == "sh"


def test_results(bench: Workbench) -> None:
    bench.hold("sh.execute")
    result = bench.call("process.sh", "echo out; echo err >&2; exit 5")
    assert result == {
        "code": 5, "signal": None, "ok": False, "stdout": "out\n", "stderr": "err\n", "timedOut": False,
        "truncated": False,
    }  # fmt: skip
    killed = bench.call("process.sh", "kill -TERM $$")
    assert (killed["code"], killed["signal"]) == (143, 15)


def test_the_whole_group_ends_with_the_time(bench: Workbench) -> None:
    bench.hold("sh.execute")
    began = time.monotonic()
    result = bench.call("process.sh", "sleep 30 & echo $!; sleep 30", {"timeout": 0.3})
    assert time.monotonic() - began < 3
    assert result["timedOut"] is True
    assert not result["ok"]
    time.sleep(0.05)
    assert not runs(int(result["stdout"]))


def runs(pid: int) -> bool:
    """Whether the process is there and no zombie (who reaps it is the machine's affair)."""
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except FileNotFoundError:
        return False


def test_a_grandchild_that_keeps_the_pipe_does_not_hold_us(bench: Workbench) -> None:
    bench.hold("sh.execute")
    began = time.monotonic()
    result = bench.call("process.sh", "sleep 20 & echo $!", {"timeout": 0.5})
    assert time.monotonic() - began < 3
    assert result["timedOut"]
    time.sleep(0.05)
    assert not runs(int(result["stdout"]))


def test_output_is_bounded(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_child, "MAX_OUTPUT", 1000)
    bench.hold("cmd.execute head")
    result = bench.call("process.run", ["head", "-c", "500000", "/dev/zero"])
    assert (len(result["stdout"]), result["truncated"], result["code"]) == (1000, True, 0)


def test_input_that_is_not_read(bench: Workbench) -> None:
    before = signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        bench.hold("cmd.execute true cat")
        assert bench.call("process.run", ["true"], {"input": "x" * 1_000_000})["code"] == 0
        assert len(bench.call("process.output", ["cat"], {"input": "y" * 1_000_000})) == 1_000_000
    finally:
        signal.signal(signal.SIGPIPE, before)


BAD: list[tuple[Any, type[Exception]]] = [
    ([], TypeError), (None, TypeError), ({"a": 1}, TypeError), ([1], TypeError), (["a\0b"], ValueError),
    ([""], ValueError), (5, TypeError),
]  # fmt: skip


@pytest.mark.parametrize(("words", "error"), BAD)
def test_what_is_no_command(bench: Workbench, words: Any, error: type[Exception]) -> None:
    bench.hold("cmd.execute *")
    with pytest.raises(error):
        bench.call("process.run", words)


@pytest.mark.parametrize("options", [{"shell": True}, {"timeout": -1}, {"timeout": "x"}, {"input": 5}])
def test_options_are_checked(bench: Workbench, options: Any) -> None:
    bench.hold("cmd.execute cat")
    with pytest.raises((ValueError, TypeError)):
        bench.call("process.run", ["cat"], options)


def test_the_report_pipe_is_not_inherited(bench: Workbench) -> None:
    bench.hold("cmd.execute ls")
    assert bench.call("process.output", ["ls", "/proc/self/fd"]).split() == ["0", "1", "2", "3"]
