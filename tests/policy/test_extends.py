"""`extends`: merged once, in any shape but a circle."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from launcher.errors import DocumentError
from launcher.policy.extends import expand
from launcher.policy.policy_document import read_policy

if TYPE_CHECKING:
    from launcher.policy.model import Policy


def policies(**texts: str) -> dict[str, Policy]:
    """Policies by handle, each given as the members of its document."""
    return {
        handle: read_policy(f"policy: {{{text}}}".encode(), f"{handle}.yaml", handle) for handle, text in texts.items()
    }


def test_rules_come_with_the_place_they_stand_at() -> None:
    found = expand(
        policies(
            child="extends: [parent], capabilities: [js], limits: {max_jobs: 5}",
            parent="extends: [old], capabilities: ['file.read:/p'], deny: [sh], limits: {max_jobs: 2}, run_with: declared",
            old="commit: success, applies_to: {users: [alice]}",
        )
    )["child"]
    assert [(str(grant), grant.policy, grant.place.file) for grant in found.grants] == [
        ("js.execute", "child", "child.yaml"),
        ("file.read /p", "parent", "parent.yaml"),
    ]
    assert [deny.policy for deny in found.denies] == ["parent"]
    assert (found.limits.max_jobs, found.run_with, found.commit) == (2, "declared", "success")
    assert found.applies_to.users == ()


def test_a_diamond_brings_each_rule_once() -> None:
    found = expand(policies(a="extends: [b, c]", b="extends: [d]", c="extends: [d]", d="capabilities: [js]"))["a"]
    assert len(found.grants) == 1


def test_the_digest_covers_what_is_extended() -> None:
    one = expand(policies(a="extends: [b]", b="capabilities: [js]"))["a"]
    two = expand(policies(a="extends: [b]", b="capabilities: [py]"))["a"]
    assert one.digest != two.digest


@pytest.mark.parametrize(
    ("texts", "message", "hint"),
    [
        ({"a": "extends: [b]", "b": "extends: [c]", "c": "extends: [a]"}, "a extends b extends c extends a", ""),
        ({"a": "extends: [a]"}, "a extends a", ""),
        ({"first": "extends: [secnd]", "second": ""}, "'secnd', which does not exist", "'second'"),
        (
            {"a": "extends: [b, c]", "b": "base: batch", "c": "base: parser"},
            "different bases: batch, parser",
            "name one",
        ),
    ],
)
def test_what_cannot_be_followed_is_refused(texts: dict[str, str], message: str, hint: str) -> None:
    with pytest.raises(DocumentError) as caught:
        expand(policies(**texts))
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert caught.value.place


def test_a_base_is_inherited_and_can_be_replaced() -> None:
    found = expand(policies(a="extends: [b]", b="base: batch", c="extends: [b], base: parser"))
    assert (found["a"].base, found["c"].base) == ("batch", "parser")
