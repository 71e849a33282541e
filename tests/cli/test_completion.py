"""The completion scripts, run by the shells that they are for."""

from __future__ import annotations

import os
import subprocess

import pytest

from launcher.cli.completion import SHELLS, places
from launcher.cli.main import available_verbs, main

# What each shell would offer for the words "$@", the last of which is being written.
BASH = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_mlsandbox
printf '%s\\n' "${COMPREPLY[@]}"
"""
# The completion system's own functions only work in an interactive line: these print what they are given.
ZSH = """
compdef() { : }
compadd() { print -l -- "${(P@)2}" }
_describe() { print -l -- "${(P@)2%%:*}" }
_files() { : }
_normal() { print -- normal "${words[@]}" }
source "$1"; shift
words=("$@"); CURRENT=$#
_mlsandbox
"""
FISH = """
source $argv[1]
complete -C "$argv[2..]" | string replace -r '\\t.*' ''
true
"""


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    directory = tmp_path_factory.mktemp("completion")
    found = {}
    for shell, write in SHELLS.items():
        path = directory / shell
        path.write_text(write(places()), encoding="utf-8")
        found[shell] = str(path)
    return found


def offered(shell: str, script: str, *words: str) -> list[str]:
    code = {"bash": BASH, "zsh": ZSH, "fish": FISH}[shell]
    name = [] if shell == "fish" else [shell]
    done = subprocess.run(
        [shell, "-c", code, *name, script, *words], capture_output=True, text=True, check=True, timeout=30,
        cwd=os.path.dirname(__file__), env={"PATH": os.environ["PATH"], "HOME": os.path.dirname(script), "TERM": "dumb"},
    )  # fmt: skip
    assert done.stderr == ""
    # zsh leaves the choosing of what fits to compadd, which is ours here
    return [line for line in done.stdout.splitlines() if line.startswith(words[-1])]


@pytest.mark.parametrize("shell", SHELLS)
class TestEachShell:
    def test_verbs(self, shell: str, scripts: dict[str, str]) -> None:
        assert set(available_verbs()) <= set(offered(shell, scripts[shell], "mlsandbox", ""))
        assert offered(shell, scripts[shell], "mlsandbox", "laun") == ["launch"]

    def test_words_below_a_verb(self, shell: str, scripts: dict[str, str]) -> None:
        assert {"create", "list", "show", "delete"} <= set(
            offered(shell, scripts[shell], "mlsandbox", "admin", "policy", "")
        )

    def test_options_of_the_verb_that_was_written(self, shell: str, scripts: dict[str, str]) -> None:
        assert "--workspace" in offered(shell, scripts[shell], "mlsandbox", "launch", "--")
        assert "--workspace" not in offered(shell, scripts[shell], "mlsandbox", "audit", "show", "--")

    def test_values_that_are_known(self, shell: str, scripts: dict[str, str]) -> None:
        assert set(offered(shell, scripts[shell], "mlsandbox", "completion", "")) >= set(SHELLS)


def test_a_command_of_the_users_own_is_completed_as_such(scripts: dict[str, str]) -> None:
    done = subprocess.run(["zsh", "-c", ZSH, "zsh", scripts["zsh"], "mlsandbox", "launch", "--", "git", "st"],
                          capture_output=True, text=True, check=True, timeout=30)  # fmt: skip
    assert done.stdout == "normal git st\n"


def test_the_verb_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bash"]) == 0
    assert capsys.readouterr().out.startswith("# mlsandbox completion for bash")
    assert main(["completion", "csh"]) == 2
    assert "none of bash, zsh, fish" in capsys.readouterr().err
