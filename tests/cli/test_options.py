from __future__ import annotations

import contextlib
import io
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from launcher.cli.options import Arguments, Command, Dashed, Option, Positional, Rest, parse
from launcher.cli.usage import built
from launcher.errors import UsageError

LAUNCH = Command(
    "launch",
    help="Run a job.",
    options=(
        Option("--user", "-u", metavar="NAME", help="for whom"),
        Option("--env", "-e", metavar="K=V", repeat=True, help="set a variable"),
        Option("--dry-run", "-n", flag=True, help="only say what would be done"),
        Option("--verbose", "-v", flag=True, help="more"),
        Option("--mode", choices=("fast", "safe"), help="how"),
        Positional("job", required=False, help="the program"),
        Rest("arguments", help="its arguments"),
        Dashed("command", help="any command"),
    ),
)
PLAIN = Command(
    "plain",
    help="Options and words.",
    options=(
        Option("--user", "-u", help="for whom"),
        Option("--env", "-e", repeat=True, help="a variable"),
        Option("--quick", "-q", flag=True, help="quick"),
        Positional("first", help="the first"),
        Positional("more", required=False, many=True, help="the rest"),
    ),
)


def launch(*words: str) -> dict[str, Any]:
    return {name: value for name, value in vars(parse(LAUNCH, words)).items() if value not in (None, False, [])}


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ([], {}),
        (["job.ml"], {"job": "job.ml"}),
        (["--user", "alice", "job.ml"], {"user": "alice", "job": "job.ml"}),
        (["--user=alice", "job.ml"], {"user": "alice", "job": "job.ml"}),
        (["-u", "alice"], {"user": "alice"}),
        (["-ualice"], {"user": "alice"}),
        (["-nv"], {"dry_run": True, "verbose": True}),
        (["-nualice"], {"dry_run": True, "user": "alice"}),
        (["-e", "A=1", "--env=B=2"], {"env": ["A=1", "B=2"]}),
        (["--user="], {"user": ""}),
        (["-"], {"job": "-"}),
        (["-n", "-n"], {"dry_run": True}),
        (["--user=--", "job.ml"], {"user": "--", "job": "job.ml"}),
        (["--user", "-x"], {"user": "-x"}),
        (["job.ml", "-v", "--", "--user", "x"], {"job": "job.ml", "arguments": ["-v", "--", "--user", "x"]}),
        (["--", "pytest", "-q", "--", "x"], {"command": ["pytest", "-q", "--", "x"]}),
        (["-u", "alice", "--", "job.ml"], {"user": "alice", "command": ["job.ml"]}),
        (["--user", "two\nlines $(x) %s"], {"user": "two\nlines $(x) %s"}),
        (["\udcff.ml"], {"job": "\udcff.ml"}),
        (["--mode", "safe"], {"mode": "safe"}),
    ],
    ids=str,
)
def test_what_words_mean(words: list[str], meant: dict[str, Any]) -> None:
    assert launch(*words) == meant


def test_no_command_and_an_empty_command_differ() -> None:
    assert parse(LAUNCH, []).command is None
    assert parse(LAUNCH, ["--"]).command == []


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["--usr", "x"], "there is no option --usr", "did you mean --user?"),
        (["--us", "x"], "there is no option --us", "did you mean --user?"),  # nothing is abbreviated
        (["-x"], "there is no option -x", ""),
        (["-nx"], "there is no option -nx", ""),
        (["--user"], "--user needs a value", "write --user NAME"),
        (["--user", "--"], "--user needs a value before --", "--user=--"),
        (["--user", "--env=x"], "--user needs a value before --env=x", "--user=--env=x"),
        (["-u", "-n"], "-u needs a value before -n", "-u-n"),
        (["--dry-run=yes"], "--dry-run takes no value", "write --dry-run"),
        (["--user", "a", "--user", "b"], "--user is given twice", "leave one"),
        (["--mode", "sfae"], "--mode: 'sfae' is none of fast, safe", "did you mean safe?"),
    ],
    ids=str,
)
def test_errors_say_what_and_what_to_do(words: list[str], message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        launch(*words)
    assert caught.value.message == message
    assert hint in caught.value.hint


def test_positionals() -> None:
    assert parse(PLAIN, ["a", "-q", "b", "c"]).more == ["b", "c"]
    assert parse(PLAIN, ["--", "-a", "--quick"]).first == "-a"
    with pytest.raises(UsageError, match="FIRST is missing"):
        parse(PLAIN, ["-q"])
    with pytest.raises(UsageError, match="one word too many: b"):
        parse(Command("x", help="", options=(Positional("a", help=""),)), ["a", "b"])


def test_help_is_given_whatever_else_is_missing() -> None:
    assert parse(PLAIN, ["--help"]).help is True


WORDS = st.sampled_from(
    ["a", "b c", "", "-", "--", "-q", "--quick", "-u", "--user", "--user=x", "-ux", "-qux", "-e", "--env", "--env=A=1",
     "-eB", "--nope", "-z", "--user=", "--json", "x\ny", "--quick=1", "--use"]
)  # fmt: skip


def by_argparse(words: list[str]) -> dict[str, Any] | None:
    """What argparse makes of the same table; None where it refuses."""
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            return vars(built("plain", PLAIN).parse_args(words))
    except SystemExit:
        return None


def ours(words: list[str]) -> dict[str, Any] | None:
    try:
        return vars(parse(PLAIN, words))
    except UsageError:
        return None


@given(st.lists(WORDS, max_size=6))
def test_it_agrees_with_argparse(words: list[str]) -> None:
    """Where both accept, both mean the same. They differ only in what they refuse: an option given twice, `-u` before
    another option, and options between the words of one list, which argparse cannot read."""
    assume(words.count("--") < 2)  # CPython's argparse drops every `--`, not only the first (bpo-13922)
    theirs, mine = by_argparse(words), ours(words)
    if theirs is not None and mine is not None:
        assert mine == theirs
    if theirs is not None and mine is None:
        values = [word for word in words if word.startswith(("-u", "--user", "-qu"))]
        assert len(values) > 1


@given(st.lists(st.text(st.characters()), max_size=8))
def test_any_words_are_arguments_or_a_usage_error(words: list[str]) -> None:
    with contextlib.suppress(UsageError):
        assert isinstance(parse(LAUNCH, words), Arguments)


@given(st.lists(st.text(st.characters()), max_size=6))
def test_the_words_of_a_command_are_untouched(words: list[str]) -> None:
    assert parse(LAUNCH, ["-u", "alice", "--", *words]).command == words
    assert parse(LAUNCH, ["job.ml", *words]).arguments == words
