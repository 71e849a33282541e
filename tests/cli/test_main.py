"""The program as a user meets it: real processes, exit statuses, and never a traceback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from launcher.cli import main as boundary
from launcher.cli.main import available_verbs, main
from launcher.cli.options import Arguments, Command
from launcher.errors import EnforcementError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
START = f"import sys; sys.path.insert(0, {ROOT!r}); from launcher.cli.main import main; sys.exit(main(sys.argv[1:]))"


def run(tmp_path: Path, *words: str | bytes, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", "-c", START, *words],
        capture_output=True, text=True, timeout=30, check=False, errors="surrogateescape",
        env={"PATH": "/usr/bin:/bin", "MLSANDBOX_ROOT": str(tmp_path), "HOME": str(tmp_path), **environment},
    )  # fmt: skip


def test_no_words_show_the_help_and_fail(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("usage: mlsandbox")


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["help"]])
def test_help_lists_the_verbs_that_exist(tmp_path: Path, words: list[str]) -> None:
    done = run(tmp_path, *words)
    assert (done.returncode, done.stderr) == (0, "")
    for verb, text in available_verbs().items():
        assert f"  {verb}" in done.stdout
        assert text in done.stdout


@pytest.mark.parametrize("words", [["audit", "--help"], ["audit", "show", "--help"], ["help", "audit", "show"],
                                   ["audit", "show", "-h"], ["audit", "-h"]])  # fmt: skip
def test_every_help_has_an_example(tmp_path: Path, words: list[str]) -> None:
    done = run(tmp_path, *words)
    assert done.returncode == 0
    assert "examples:\n  mlsandbox audit" in done.stdout


def test_version(tmp_path: Path) -> None:
    done = run(tmp_path, "--version")
    assert done.returncode == 0
    assert done.stdout.split()[0] == "mlsandbox"
    assert done.stdout.split()[1][0].isdigit()


@pytest.mark.parametrize(
    ("words", "stderr"),
    [
        (["adit"], "mlsandbox: error: there is no verb adit\nhint: did you mean audit? Try `mlsandbox --help`\n"),
        (
            ["audit", "verfy"],
            "mlsandbox audit: error: `mlsandbox audit` has no command verfy\nhint: did you mean verify? Try `mlsandbox audit --help`\n",
        ),
        (
            ["audit", "show", "--sinc", "1h"],
            "mlsandbox audit: error: there is no option --sinc\nhint: did you mean --since? Try `mlsandbox audit show --help`\n",
        ),
        (["--root"], "mlsandbox: error: --root needs a value\nhint: write --root DIR\n"),
        (["os"], "mlsandbox: error: there is no verb os\nhint: did you mean ps? Try `mlsandbox --help`\n"),
        (["../../x"], "mlsandbox: error: there is no verb ../../x\nhint: Try `mlsandbox --help`\n"),
        (["options"], "mlsandbox: error: there is no verb options\nhint: Try `mlsandbox --help`\n"),
    ],
    ids=str,
)
def test_wrong_words(tmp_path: Path, words: list[str], stderr: str) -> None:
    done = run(tmp_path, *words)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", stderr)


@pytest.mark.parametrize(
    "word", ["a\nmlsandbox: error: forged", "\x1b]52;c;eA==\x07", b"\xff\xfe", "\u202ex", "%s%(prog)s"]
)
def test_words_from_outside_do_not_reach_the_terminal_raw(tmp_path: Path, word: str | bytes) -> None:
    done = run(tmp_path, word)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 3
    assert all(char.isprintable() or char == "\n" for char in done.stderr)


def test_an_error_for_programs(tmp_path: Path) -> None:
    done = run(tmp_path, "audit", "show", "--since", "soon", "--json")
    error = json.loads(done.stdout)["error"]
    assert (done.returncode, error["status"], error["ended_by"]) == (2, 2, "launcher")
    assert error["message"] == "not a time: 'soon'"


def test_root_before_and_after_the_verb(tmp_path: Path) -> None:
    for words in (["--root", str(tmp_path / "r"), "audit", "verify"], ["audit", "verify", f"--root={tmp_path}/r"]):
        done = run(tmp_path, *words)
        assert done.returncode == 0
        assert f"{tmp_path}/r/log/audit.jsonl" in done.stdout


def verb(act: Callable[[Arguments], int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a verb of the test in the place of `launch`."""
    monkeypatch.setattr(boundary, "command_of", lambda name: Command(name, help="a verb of this test", run=act))


def raising(error: BaseException) -> Callable[[Arguments], int]:
    def act(arguments: Arguments) -> int:
        raise error

    return act


@pytest.mark.parametrize(
    ("error", "status", "stderr"),
    [
        (
            RefusedError("alice may not read /data", hint="ask for file.read", place="p.yaml:3:7"),
            126,
            "mlsandbox launch: error: p.yaml:3:7: alice may not read /data\nhint: ask for file.read\nended_by: policy\n",
        ),
        (
            EnforcementError("mount", "/proc", 1),
            125,
            "mlsandbox launch: error: cannot mount /proc: Operation not permitted (errno 1)\nended_by: launcher\n",
        ),
        (KeyboardInterrupt(), 130, ""),
        (BrokenPipeError(), 141, ""),
    ],
    ids=["refused", "enforcement", "interrupted", "pipe"],
)
def test_the_boundary(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], error: BaseException, status: int, stderr: str
) -> None:
    verb(raising(error), monkeypatch)
    assert main(["launch"]) == status
    assert capfd.readouterr().err == stderr


def test_a_bug_is_one_paragraph(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    verb(raising(ZeroDivisionError("one\x1b[2J")), monkeypatch)
    monkeypatch.delenv(boundary.DEBUG, raising=False)
    assert main(["launch"]) == 125
    printed = capfd.readouterr().err
    assert "internal error: ZeroDivisionError: one\\x1b[2J" in printed
    assert "MLSANDBOX_DEBUG=1" in printed
    assert "Traceback" not in printed
    assert printed.endswith("ended_by: launcher\n")
    monkeypatch.setenv(boundary.DEBUG, "1")
    assert main(["launch"]) == 125
    assert "Traceback" in capfd.readouterr().err


def test_a_message_keeps_its_lines_and_a_forged_one_does_not_pass(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    verb(raising(RefusedError("two\nlines and C:\\x \x07", place="a\nb:1:1")), monkeypatch)
    main(["launch"])
    assert capfd.readouterr().err.startswith("mlsandbox launch: error: a\\nb:1:1: two\nlines and C:\\x \\x07\n")


def test_a_reader_that_goes_away(tmp_path: Path) -> None:
    """`mlsandbox audit show | head -1`: no traceback, and the status of SIGPIPE."""
    from launcher.audit.event import event
    from launcher.audit.files import AuditFiles
    from launcher.audit.log import AuditLog

    log = AuditLog.at(AuditFiles(f"{tmp_path}/log/audit.jsonl", f"{tmp_path}/state/audit.head"))
    log.append([event("launch", "policy", "ALLOWED", resource="x" * 500)] * 2000)
    log.close()
    process = subprocess.Popen(
        [sys.executable, "-I", "-c", START, "audit", "show"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={"MLSANDBOX_ROOT": str(tmp_path)},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(20) == 141
    process.stderr.close()


def test_a_full_disk_is_no_success(tmp_path: Path) -> None:
    with open("/dev/full", "w", encoding="ascii") as full:
        done = subprocess.run(
            [sys.executable, "-I", "-c", START, "--help"], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert (done.returncode, done.stderr) == (
        125,
        b"mlsandbox: error: cannot write the output: No space left on device\n",
    )


def test_closed_descriptors_are_not_the_audit_log(tmp_path: Path) -> None:
    """Started with 1 and 2 closed, the next files opened would get these numbers, and what a child prints would land
    in them."""
    script = START.replace(
        "sys.exit",
        "import launcher.cli.main as m, os\nm._run = lambda *_: int(os.open(os.devnull, os.O_RDONLY) < 3)\nsys.exit",
    )
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-I", "-c", script, "x"], check=False
    )
    assert done.returncode == 0
    words = ["audit", "verify", "--root", str(tmp_path)]
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-I", "-c", START, *words], check=False
    )
    assert done.returncode == 0


def test_control_c(tmp_path: Path) -> None:
    script = START.replace(
        "sys.exit",
        "import launcher.cli.main as m, signal, time\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # ignored where a shell started us in the background
        "m._run = lambda *_: (print('on', flush=True), time.sleep(20))\nsys.exit",
    )
    process = subprocess.Popen(
        [sys.executable, "-I", "-c", script, "audit"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=20)
    assert (process.returncode, stderr) == (130, b"")


FORBIDDEN = {"typing", "dataclasses", "enum", "re", "json", "collections", "functools", "contextlib", "argparse",
             "logging", "subprocess", "socket", "signal", "datetime", "hashlib", "sqlite3", "ctypes", "threading", "pathlib",
             "shutil", "tempfile", "inspect", "difflib", "importlib.metadata"}  # fmt: skip


def test_the_way_to_a_verb_imports_nothing_heavy() -> None:
    script = (
        f"import sys; sys.path.insert(0, {ROOT!r}); from launcher.cli import main, options, output\n"
        "c = options.Command('x', help='', options=(options.Option('--user', help=''), options.Dashed('c', help='')), "
        "run=lambda a: print(' '.join(sys.modules)) or 0)\n"
        "main.command_of = lambda name: c\n"
        "main.main(['launch', '--user', 'a', '--', 'b'])"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) & FORBIDDEN == set()
    assert "launcher.cli.options" in done.stdout


def test_a_mistyped_root_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    missing = tmp_path / "mistyped"
    done = run(tmp_path, "launch", "--root", str(missing), "--", "true")
    assert done.returncode == 125
    assert f"there is no directory {missing}" in done.stderr
    assert not missing.exists()
