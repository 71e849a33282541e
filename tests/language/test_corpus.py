"""The conformance corpus: programs as data. See tests/corpus/README.md."""

from pathlib import Path
from typing import Any

import pytest

from launcher.runtime.machine import NOTHING
from tests.corpus.runner import cases, run, text

CASES = cases()


@pytest.mark.parametrize("case", CASES, ids=[f"{case['file']}: {case['name']}" for case in CASES])
def test_program(case: dict[str, Any], tmp_path: Path) -> None:
    outcome = run(case, tmp_path)
    if "refused" in case:
        assert outcome.refused is not None, f"it ran and printed {outcome.output!r}"
        assert any(case["refused"] in message for message in outcome.refused), outcome.refused
        return
    assert outcome.refused is None, outcome.refused
    if "error" in case or "kind" in case:
        assert outcome.error is not None, f"it ended well and printed {outcome.output!r}"
        kind, message = outcome.error
        assert case.get("error", "") in message
        assert case.get("kind", kind) == kind
    else:
        assert outcome.error is None, (outcome.error, outcome.output)
    assert outcome.output == text(case.get("output", ""), newline=True)
    assert (None if outcome.result is NOTHING else outcome.result) == case.get("result")


def test_names_are_unique() -> None:
    names = [(case["file"], case["name"]) for case in CASES]
    assert len(names) == len(set(names))
