"""The documents: every page is in the index, no link is dead, every command in an example is one that exists."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from launcher.cli.main import available_verbs
from launcher.cli.options import parse
from launcher.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
LINK = re.compile(r"(?<!!)\[[^\]\n]*(?:\n[^\]\n]*)?\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?:^(?: {4}[^\n]*)?\n)+", re.MULTILINE)
# Examples of a shell; in a `console` block only what stands behind the prompt is a command.
SHELLS = ("", "sh", "bash", "yaml")


def generator() -> ModuleType:
    """script/gen_cli_doc.py as a module."""
    spec = importlib.util.spec_from_file_location("gen_cli_doc", ROOT / "script" / "gen_cli_doc.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def names(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


def without_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", FENCE.sub("", text))


def links(page: Path) -> list[str]:
    return LINK.findall(without_code(page.read_text(encoding="utf-8")))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and GitLab make them."""
    headings = HEADING.findall(FENCE.sub("", page.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


# -- the index and the links ------------------------------------------------------------------------------------------


def test_every_page_is_in_the_index() -> None:
    linked = {(DOCS / link.partition("#")[0]).resolve() for link in links(DOCS / "README.md")}
    pages = {page.resolve() for page in DOCS.rglob("*") if page.is_file()} - {(DOCS / "README.md").resolve()}
    assert sorted(names([page for page in pages if page not in linked])) == []


def test_every_decision_is_in_the_index_of_decisions() -> None:
    folder = DOCS / "decisions"
    linked = set(links(folder / "README.md"))
    assert sorted(page.name for page in folder.glob("*.md") if page.name not in linked | {"README.md"}) == []


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_no_link_is_dead(page: Path) -> None:
    dead = []
    for link in links(page):
        path, _, anchor = link.partition("#")
        if path.startswith(("http:", "https:", "mailto:")):
            continue
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            dead.append(link)
    assert dead == []


def test_a_dead_link_would_be_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One two\n[a](other.md), `[b](code.md)` and [two\nlines](#one-two)\n```\n[c](fence.md)\n```\n")
    assert links(page) == ["other.md", "#one-two"]
    assert anchors(page) == {"one-two"}


# -- the examples -----------------------------------------------------------------------------------------------------


class Example(NamedTuple):
    page: str
    words: list[str]


def lines_of_code(text: str) -> Iterator[str]:
    for kind, block in FENCE.findall(text):
        if kind == "console":
            yield from (line[2:] for line in joined(block) if line.startswith(("$ ", "# ")))
        elif kind in SHELLS:
            yield from joined(block)
    for block in INDENTED.findall(FENCE.sub("", text)):
        yield from joined(block)


def joined(block: str) -> list[str]:
    return re.sub(r"\\\n\s*", " ", block).splitlines()


def calls(line: str) -> Iterator[list[str]]:
    """The calls of mlsandbox in one line of a shell, as words: what stands behind blanks or `#` is an explanation."""
    lexer = shlex.shlex(re.split(r" {3,}(?=\S)", line.strip())[0], posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    try:
        words = list(lexer)
    except ValueError:  # a quote alone: this is no line of a shell
        return
    for is_operator, group in groupby(words, key=lambda word: bool(word) and not word.strip("();<>|&")):
        part = list(group)
        if not is_operator and "mlsandbox" in part:
            call = part[part.index("mlsandbox") + 1 :]
            if call and not call[0].endswith(":"):
                yield call


EXAMPLES = [
    Example(str(page.relative_to(ROOT)), call)
    for page in PAGES
    for line in lines_of_code(page.read_text(encoding="utf-8"))
    for call in calls(line)
]


def refusal(words: list[str]) -> str:
    """Why the command line does not take `words`; "" where it does."""
    line = shlex.join(words)
    while words and words[0].startswith("--root"):
        words = words[1 if "=" in words[0] else 2 :]
    if words and words[0] in {"--help", "--version", "help"}:
        return ""
    if not words or words[0] not in available_verbs():
        return f"no verb: {line}"
    command = generator().command_of(words[0])
    words = words[1:]
    while command.commands and words and not words[0].startswith("-"):
        if words[0] not in command.commands:
            return f"no command {words[0]}: {line}"
        command, words = command.commands[words[0]], words[1:]
    try:
        parse(command, words)
    except UsageError as error:
        return f"{error}: {line}"
    return ""


def test_there_are_examples() -> None:
    assert len(EXAMPLES) > 50
    assert {"README.md", "docs/tutorial/first-job.md"} <= {example.page for example in EXAMPLES}


def test_every_example_is_one_that_the_command_line_takes() -> None:
    assert [f"{page}: {why}" for page, words in EXAMPLES if (why := refusal(words))] == []


@pytest.mark.parametrize(
    "line",
    ["mlsandbox lunch job.ml", "mlsandbox launch --usr alice job.ml", "mlsandbox admin policy make x.yaml"],
)
def test_an_example_with_a_mistake_would_be_found(line: str) -> None:
    assert refusal(*calls(line))


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("- run: mlsandbox audit show --json | grep x && mlsandbox whoami # me", ["audit show --json", "whoami"]),
        ("T=$(cat t) mlsandbox launch -- sh -c 'a; b' > out", ["launch -- sh -c a; b"]),
        ("mlsandbox doctor          what this host can enforce", ["doctor"]),
        ("mlsandbox launch: error: no", []),
        ("don't call mlsandbox", []),
    ],
)
def test_calls_are_found(line: str, found: list[str]) -> None:
    assert [" ".join(words) for words in calls(line)] == found


def test_the_reference_of_the_command_line_is_current() -> None:
    done = subprocess.run(
        [sys.executable, "script/gen_cli_doc.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
