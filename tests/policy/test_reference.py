"""docs/reference/policy.md: its examples are read, its errors are what it says, and no key is missing from its tables."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from launcher.capability.kinds import KINDS
from launcher.capability.limits import TABLE
from launcher.errors import DocumentError
from launcher.policy.config_document import KEYS, read_config
from launcher.policy.constraints import READERS
from launcher.policy.policy_document import POLICY_KEYS, read_policy

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "policy.md").read_text()
FENCES = re.findall(r"^```yaml ([^\n]*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def fences(kind: str) -> list[tuple[str, str]]:
    """The examples whose first word is `kind`: the rest of the words, and the text."""
    return [(info.partition(" ")[2], text) for info, text in FENCES if info.split()[0] == kind]


def test_every_example_is_one_that_is_tested() -> None:
    assert len(FENCES) == PAGE.count("```yaml")
    assert {info.split()[0] for info, _ in FENCES} == {"policy", "config", "error"}


@pytest.mark.parametrize("text", [text for _, text in fences("policy")])
def test_a_policy_is_read(text: str) -> None:
    read_policy(text.encode(), "policy.yaml", "policy")


@pytest.mark.parametrize("text", [text for _, text in fences("config")])
def test_a_configuration_is_read(text: str) -> None:
    read_config(text.encode(), "config.yaml")


def test_the_three_notations_are_the_same() -> None:
    found = {
        (tuple(map(str, policy.grants)), tuple(map(str, policy.denies)))
        for mark, text in fences("policy")
        if mark == "same"
        for policy in [read_policy(text.encode(), "policy.yaml", "policy")]
    }
    assert found == {(("file.read data/*.csv", "cmd.execute git status"), ("sh.execute",))}


@pytest.mark.parametrize(("said", "text"), fences("error"))
def test_an_error_is_what_the_page_says(said: str, text: str) -> None:
    with pytest.raises(DocumentError) as caught:
        read_policy(text.encode(), "policy.yaml", "policy")
    assert said == f"{caught.value.place} {caught.value.message}" + (
        f"; {caught.value.hint}" if caught.value.hint else ""
    )


def section(title: str) -> str:
    """The text of one section."""
    return PAGE.split(f"# {title}\n", 1)[1].split("\n#", 1)[0]


def test_the_tables_have_every_key() -> None:
    for title, keys in (
        ("Keys", POLICY_KEYS),
        ("Capabilities", KINDS),
        ("Constraints", READERS),
        ("Limits", TABLE),
        ("The configuration", KEYS),
    ):
        table = section(title)
        assert [key for key in keys if f"`{key}`" not in table] == []
    for kind in KINDS.values():
        for operation in kind.operations:
            assert f"`{operation}`" in section("Capabilities")
        assert set(kind.constraints) <= set(READERS), kind.name
