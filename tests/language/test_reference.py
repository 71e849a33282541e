"""Every example of docs/reference/ml-language.md prints what the page says."""

import re
from pathlib import Path

import pytest

from launcher.language.catalogue import BUILTINS
from launcher.language.printer import format_source
from launcher.language.source import Source
from launcher.runtime.errors import KINDS
from tests.corpus.runner import run

PAGE = (Path(__file__).resolve().parents[2] / "docs/reference/ml-language.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```ml\n(.*?)```\n\n```text\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize(("source", "expected"), EXAMPLES, ids=range(len(EXAMPLES)))
def test_example(source: str, expected: str, tmp_path: Path) -> None:
    outcome = run({"source": source}, tmp_path)
    assert (outcome.refused, outcome.error) == (None, None)
    assert outcome.output == expected


def test_every_example_has_an_output() -> None:
    assert PAGE.count("```ml\n") == len(EXAMPLES) >= 13


@pytest.mark.parametrize("source", [source for source, _ in EXAMPLES], ids=range(len(EXAMPLES)))
def test_examples_can_be_formatted(source: str) -> None:
    assert format_source(Source(source))


def test_the_page_names_every_builtin() -> None:
    section = PAGE.partition("## Builtin functions")[2].partition("```")[0]
    assert set(section.replace("`", " ").split()) == BUILTINS


def test_the_kinds_on_the_page_exist() -> None:
    words = set(re.findall(r"\b[A-Z]\w+Error\b", PAGE)) - {"CapabilityError", "SecurityError"}
    assert words <= KINDS
