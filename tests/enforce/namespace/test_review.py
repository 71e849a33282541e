"""`launch --review`: the change set on the caller's terminal, and a question, before anything reaches the host."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import Any

import pytest

from tests.sandboxed import Host
from tests.terminal import Terminal

pytestmark = pytest.mark.kernel

_WRITES = [{"patterns": ["*.txt"], "operations": ["read", "write"]}]
_JOB = "open('a.txt', 'w').write('one\\nthree\\n'); open('new.txt', 'w').write('x'); open('no.log', 'w').write('y')"
_QUESTION = b"[y/N] "


def prepared(host: Host) -> None:
    host.policy({"py": True, "file": _WRITES})
    host.write("a.txt", "one\ntwo\n")


def asked(host: Host, code: str = _JOB) -> Terminal:
    result = f"{host.top}/result.json"
    open(result, "w", encoding="utf-8").close()
    os.chmod(host.top, 0o777)
    terminal = Terminal(host, "launch", "--review", "--result", result, "--", "python3", "-I", "-c", code)
    terminal.until(_QUESTION)
    return terminal


def result_of(host: Host) -> dict[str, Any]:
    with open(f"{host.top}/result.json", encoding="utf-8") as file:
        document: dict[str, Any] = json.load(file)
    return document


def test_yes_commits_what_was_shown(host: Host) -> None:
    prepared(host)
    terminal = asked(host)
    assert host.read("a.txt") == "one\ntwo\n", "nothing is committed before the answer"
    shown = terminal.seen
    assert b"-two" in shown
    assert b"+three" in shown
    assert f"refused  + {host.workspace}/no.log".encode() in shown
    assert b"commit 2 changes to the host (1 refused)?" in shown
    terminal.type(b"yes\n")
    terminal.until(b"ended_by: job")
    assert terminal.close() == 0
    assert host.read("a.txt") == "one\nthree\n"
    assert host.read("new.txt") == "x"
    assert not os.path.exists(f"{host.workspace}/no.log")
    assert result_of(host)["review"] == "accepted"


@pytest.mark.parametrize("answer", [b"\n", b"\x04", b"\x03", b"\x1b]lyes\x1b\\\n"])
def test_anything_else_leaves_the_host_as_it_was(host: Host, answer: bytes) -> None:
    prepared(host)
    terminal = asked(host)
    terminal.type(answer)
    terminal.until(b"ended_by: job")
    assert terminal.close() == 0, "the job's own status: it did end well"
    assert host.read("a.txt") == "one\ntwo\n"
    assert not os.path.exists(f"{host.workspace}/new.txt")
    result = result_of(host)
    assert result["review"] == "declined"
    assert not result["committed"]
    reasons = {row["path"].rpartition("/")[2]: row["reason"] for row in result["refused"]}
    assert reasons["a.txt"] == reasons["new.txt"] == "declined at the review"
    assert "no grant" in reasons["no.log"]
    events = host.audit()
    assert [event["outcome"] for event in events if event["event"] == "review"] == ["DENIED"]
    declined = [event for event in events if event["detail"].get("reason") == "declined at the review"]
    assert sorted(event["resource"].rpartition("/")[2] for event in declined) == ["a.txt", "new.txt"]


def test_a_terminal_that_goes_away_is_a_no(host: Host) -> None:
    prepared(host)
    terminal = asked(host)
    os.close(terminal.master)
    terminal.process.wait(20)
    os.close(terminal.slave)
    assert host.read("a.txt") == "one\ntwo\n"


def test_a_signal_at_the_question_is_a_no(host: Host) -> None:
    prepared(host)
    terminal = asked(host)
    terminal.process.send_signal(signal.SIGTERM)
    terminal.until(b"ended_by: job")
    terminal.close()
    assert host.read("a.txt") == "one\ntwo\n"
    assert result_of(host)["review"] == "declined"


def test_a_job_cannot_answer_by_typing_ahead(host: Host) -> None:
    """Attack 90, and terminals that report what they are told to: what was sent before the question is thrown away."""
    prepared(host)
    result = f"{host.top}/result.json"
    open(result, "w", encoding="utf-8").close()
    os.chmod(host.top, 0o777)
    code = _JOB + "; print('written', flush=True); import time; time.sleep(1)"
    terminal = Terminal(host, "launch", "--review", "--result", result, "--", "python3", "-I", "-c", code)
    terminal.until(b"written")
    terminal.type(b"yes\nyes\nyes\n")
    terminal.until(_QUESTION)
    time.sleep(0.5)
    assert terminal.process.poll() is None, "the question still waits"
    terminal.type(b"n\n")
    terminal.close()
    assert host.read("a.txt") == "one\ntwo\n"


def test_names_and_contents_reach_the_terminal_without_what_it_would_obey(host: Host) -> None:
    """Attack 91: a file name or a line that writes the clipboard, hides what follows, or forges the next line."""
    host.policy({"py": True, "file": _WRITES})
    code = (
        "open('e\\x1b]52;c;evil\\x07\\rcommit.txt', 'w').write('a\\x1b[8mb\\rc\\u202ed\\n');"
        "print('\\x1b[8m\\x1b[?1049h\\x0e', end='', flush=True)"
    )
    terminal = asked(host, code)
    shown = terminal.seen[terminal.seen.rindex(b"\x1b(B") :]
    settled = terminal.seen[: terminal.seen.rindex(b"commit  ")]
    for sequence in (b"\x1b[?1049l", b"\x1b[!p", b"\x1b[0m", b"\x0f"):
        assert settled.rindex(sequence) > settled.rindex(b"\x1b[?1049h"), "the terminal is settled after the job"
    assert b"e\\x1b]52;c;evil\\x07\\rcommit.txt" in shown
    assert b"+a\\x1b[8mb\\rc\\u202ed" in shown
    assert shown.count(b"\x1b") <= 2, shown
    terminal.type(b"n\n")
    terminal.close()


def test_nothing_to_commit_is_no_question(host: Host) -> None:
    prepared(host)
    terminal = Terminal(host, "launch", "--review", "--", "python3", "-I", "-c", "print('done')")
    terminal.until(b"ended_by: job")
    assert terminal.close() == 0
    assert b"[y/N]" not in terminal.seen


def test_a_shell_can_be_reviewed(host: Host) -> None:
    host.policy({"sh": True, "file": _WRITES})
    terminal = Terminal(host, "shell", "--review")
    terminal.type(b"echo from the shell > s.txt; exit\n")
    terminal.until(_QUESTION)
    terminal.type(b"y\n")
    terminal.close()
    assert host.read("s.txt") == "from the shell\n"


@pytest.mark.parametrize("options", [["--review"], ["--review", "--json"]])
def test_without_anybody_to_ask_nothing_is_started(host: Host, options: list[str]) -> None:
    prepared(host)
    ran = host.launch("python3", "-I", "-c", _JOB, options=options)
    assert ran.status == 2, ran
    assert "--review" in ran.err
    assert host.read("a.txt") == "one\ntwo\n"
    assert not ran.result
