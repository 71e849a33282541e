from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from launcher.capability import Permissions
from launcher.enforce.staging.changes import Change
from launcher.enforce.staging.judge import Verdict, all_or_nothing, judge
from tests.enforce.staging.stage import allow

HOST = "/w"


def change(text: str, size: int = 1, flaw: str = "") -> Change:
    kind, _, inside = text.partition(" ")
    return Change(kind, "area0", HOST, inside, size=size, flaw=flaw)


def verdicts(rules: list[str], *found: str | Change) -> dict[str, bool]:
    made = [change(item) if isinstance(item, str) else item for item in found]
    return _flat(judge(made, allow(HOST, *rules)))


def _flat(verdict: Verdict) -> dict[str, bool]:
    both = [(item, True) for item in verdict.accepted] + [(item, False) for item in verdict.refused]
    return {f"{item.change.kind} {item.change.inside}": accepted for item, accepted in both}


def test_each_change_needs_its_operation() -> None:
    table = {
        "file.write": {"created", "modified", "appended"},
        "file.append": {"created", "appended"},
        "file.delete": {"removed"},
        "path.write": {"mkdir", "rmdir"},
        "file.read": set(),
        "path.read": set(),
    }
    for rule, granted in table.items():
        for kind in ("created", "modified", "appended", "removed", "mkdir", "rmdir", "mode", "special"):
            assert verdicts([f"{rule}:x"], f"{kind} x") == {f"{kind} x": kind in granted}, (rule, kind)


def test_a_name_that_may_not_be_written_is_not_made_by_appending() -> None:
    rules = ["file.append:*", "!file.write:k"]
    assert verdicts(rules, "created k", "appended k", "created o") == {
        "created k": False, "appended k": True, "created o": True,
    }  # fmt: skip


def test_missing_parents_of_granted_files_are_granted_and_no_others() -> None:
    found = verdicts(
        ["file.write:a/b/*.txt", "file.write:z/*"],
        "mkdir a", "mkdir a/b", "created a/b/x.txt", "mkdir a/c", "created a/c/x.txt", "mkdir z", "mkdir q", "mkdir q/r",
    )  # fmt: skip
    assert found == {
        "mkdir a": True, "mkdir a/b": True, "created a/b/x.txt": True, "mkdir a/c": False, "created a/c/x.txt": False,
        "mkdir z": False, "mkdir q": False, "mkdir q/r": False,
    }  # fmt: skip


def test_nothing_is_made_below_a_refused_directory() -> None:
    rules = ["file.write:**", "path.write:**", "!path.write:d"]
    assert verdicts(rules, "mkdir d", "mkdir d/e", "created d/e/f", "created g") == {
        "mkdir d": False, "mkdir d/e": False, "created d/e/f": False, "created g": True,
    }  # fmt: skip


def test_a_directory_stays_where_something_in_it_stays() -> None:
    rules = ["file.delete:d/a", "file.delete:d/e/*", "path.write:**"]
    assert verdicts(rules, "removed d/a", "removed d/b", "removed d/e/x", "rmdir d/e", "rmdir d", "created d") == {
        "removed d/a": True, "removed d/b": False, "removed d/e/x": True, "rmdir d/e": True, "rmdir d": False,
        "created d": False,
    }  # fmt: skip


def test_a_flaw_is_never_accepted() -> None:
    assert verdicts(["file.write:**"], change("modified x", flaw="written in part")) == {"modified x": False}


def test_sizes_are_of_the_grant_that_decides() -> None:
    small = allow(HOST, "file.write:*", max_file_size=5)
    large = allow(HOST, "file.write:big*", max_file_size=9)
    allowed = Permissions([*small.grants, *large.grants], (), small.limits, small.scope)
    found = judge([change("created a", 6), change("created big", 9), change("created big2", 10)], allowed)
    assert _flat(found) == {"created a": False, "created big": True, "created big2": False}
    assert "max_file_size of 9" in found.refused[1].reason


def test_the_sum_is_bounded() -> None:
    found = judge([change(f"created f{n}", 4) for n in range(4)], allow(HOST, "file.write:*"), max_total=9)
    assert (len(found.accepted), len(found.refused)) == (2, 2)


def test_expired_grants_commit_nothing() -> None:
    allowed = allow(HOST, "file.write:*", expires_at=100)
    assert judge([change("created a")], allowed, now=99).accepted
    assert judge([change("created a")], allowed, now=101).refused


def test_all_or_nothing() -> None:
    allowed = allow(HOST, "file.write:a")
    good, bad, mode = change("created a"), change("created b"), change("mode a")
    assert all_or_nothing(judge([good, mode], allowed), succeeded=True).accepted
    assert not all_or_nothing(judge([good], allowed), succeeded=False).accepted
    assert not all_or_nothing(judge([good, bad], allowed), succeeded=True).accepted


KINDS = st.sampled_from(["created", "modified", "appended", "removed", "mkdir", "rmdir", "mode", "special"])
PATHS = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map("/".join)
CHANGES = st.lists(st.tuples(KINDS, PATHS), max_size=12, unique_by=lambda item: item[1])
RULES = st.lists(
    st.tuples(st.sampled_from(["file.write", "file.append", "file.delete", "path.write"]), PATHS | st.just("**")).map(
        ":".join
    ),
    max_size=5,
)


@given(CHANGES, RULES, RULES)
def test_laws(found: list[tuple[str, str]], rules: list[str], denies: list[str]) -> None:
    """Every change has one verdict; more grants accept more; a deny accepts less; nothing new is below a refused one."""
    made = [change(f"{kind} {path}") for kind, path in sorted(found, key=lambda item: item[1])]
    narrow = _flat(judge(made, allow(HOST, *rules)))
    assert len(narrow) == len(made)
    wide = _flat(judge(made, allow(HOST, *rules, "file.write,delete:**", "path.write:**")))
    denied = _flat(judge(made, allow(HOST, *rules, *[f"!{rule}" for rule in denies])))
    for name, accepted in narrow.items():
        assert not accepted or wide[name]
        assert accepted or not denied[name]
    refused = {item.change.path for item in judge(made, allow(HOST, *rules)).refused if item.change.kind == "mkdir"}
    for item in judge(made, allow(HOST, *rules)).accepted:
        assert not any(item.change.path.startswith(f"{path}/") for path in refused) or item.change.kind in (
            "removed", "rmdir", "modified", "appended",
        )  # fmt: skip


def test_a_hundred_thousand_changes_are_judged_in_time() -> None:
    """The count is the job's choice: nothing may be quadratic in it."""
    made = [change(f"mkdir d{n}") for n in range(20_000)] + [change(f"created d{n}/f") for n in range(20_000)]
    made += [change(f"removed g/{n}") for n in range(20_000)] + [change("rmdir g")]
    start = time.process_time()
    judge(made, allow(HOST, "file.write,delete:**", "!file.delete:g/7"))
    assert time.process_time() - start < 10
